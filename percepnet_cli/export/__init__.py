"""The signal path outside Python: objects and libraries for any target that LLVM knows, with the weights inside."""
