"""The machine: the door to numba, the CPU's instruction set, LLVM vectors, the delay line."""
