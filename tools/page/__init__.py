"""Checks of a page in a real Chromium: `make test-page`."""
