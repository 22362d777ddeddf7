"""The shipped models; data only."""
