"""Page of runs: one HTML file with charts, table and text; it asks nothing of a network."""

from benchbox.report.page.page import page

__all__ = ["page"]
