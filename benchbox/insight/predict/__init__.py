"""Prediction: the latency of graphs that nobody timed, from graphs that were."""
