"""How good a recording is beside its clean reference: levels, perception, recognition, and how sure the means are."""
