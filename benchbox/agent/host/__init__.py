"""The host as its system tells of it: machine, clusters, counters, heat and settings."""
