"""Where bytes go: files that appear whole or not at all, and object stores."""
