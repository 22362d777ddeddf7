"""The network: 8-bit layers, the graph built from them, and its file."""
