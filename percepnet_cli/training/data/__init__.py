"""From recordings to shards: corpus, mixtures, targets."""
