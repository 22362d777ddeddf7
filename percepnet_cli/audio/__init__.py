"""Sound in files, pipes and arrays: formats, decoders, resampling."""
