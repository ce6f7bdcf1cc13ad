"""Broken input that must end in one line: records, caches, options, replies, environments."""
