/* What Windows and LLVM ask of a library that is linked without a C library's beginning, on 64-bit PCs. */

/* LLVM names it in code with floats; nobody reads it. */
int _fltused;

/* Nothing to do when a program or a thread comes or goes. */
int DllMainCRTStartup(void *module, unsigned long reason, void *reserved) {
    (void)module, (void)reason, (void)reserved;
    return 1;
}

/* Functions with more than a page of variables call this first, with their size in rax. The stack grows page by page:
   each has to be touched before the next. All registers stay as they are. */
__attribute__((naked)) void ___chkstk_ms(void) {
    __asm__("pushq %rcx\n"
            "pushq %rax\n"
            "leaq 24(%rsp), %rcx\n" /* where the caller's stack ends: before the return address and two registers */
            "1: cmpq $4096, %rax\n"
            "jbe 2f\n"
            "subq $4096, %rcx\n"
            "orq $0, (%rcx)\n"
            "subq $4096, %rax\n"
            "jmp 1b\n"
            "2: subq %rax, %rcx\n"
            "orq $0, (%rcx)\n"
            "popq %rax\n"
            "popq %rcx\n"
            "retq\n");
}
