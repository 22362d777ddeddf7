"""How fast: time and memory of the denoiser on this machine."""
