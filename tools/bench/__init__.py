"""`make bench`: what benchbox costs, and how well its figures repeat."""
