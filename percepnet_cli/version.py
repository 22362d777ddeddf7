"""The version of this package; nothing else, so that everything can ask for it."""

__version__ = "0.1.0"
