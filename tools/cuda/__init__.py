"""Checks on a real GPU, for `make test-cuda`: they need benchbox's libraries, and no pytest."""
