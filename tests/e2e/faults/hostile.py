"""Hostile input: graphs, specs, configuration, names and texts that aim at memory or terminal."""
