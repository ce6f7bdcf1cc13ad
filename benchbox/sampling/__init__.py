"""Rounds, warm-up and stopping rules over a session and a clock that are handed in."""
