"""The network in torch, and its kernels for training on a CPU."""
