"""Pictures of sound and of what the signal path sees in it."""
