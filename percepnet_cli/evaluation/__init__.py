"""How good: scores of pairs, oracle stages, what 8 bits change."""
