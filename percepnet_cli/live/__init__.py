"""Live: microphone to speaker through the denoiser, over PortAudio."""
