"""Timed calls on a processor: bursts, arrivals, and the sentinel between them."""
