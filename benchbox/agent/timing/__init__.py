"""Timed calls on a processor: bursts, arrivals, the sentinel between them, denormals."""
