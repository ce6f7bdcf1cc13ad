"""Injected faults: kinds that are tried with random choices, and what must hold after each."""
