"""One channel of a stream: the signal path around a network, whichever that is."""
