"""From options to a run that is done; the command line and Python's functions are built on it."""
