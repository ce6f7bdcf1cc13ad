"""Insight: why a graph takes its time, as numbers; the words for them are in `report`."""
