"""From recordings to a float network: corpus, mixtures, targets, training."""
