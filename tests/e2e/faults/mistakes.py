"""Broken input that must end in one line: records, caches, options, replies, environments."""

from tests.e2e.faults import broken_records, broken_replies

__all__ = ["broken_records", "broken_replies"]
