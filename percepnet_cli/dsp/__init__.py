"""Signal processing: one stage of the signal path per file, streaming over a leading hops axis."""
