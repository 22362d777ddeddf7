"""The machine: the door to numba, the form of code this CPU runs fastest, LLVM vectors, the delay line."""
