"""Records: runs as JSON Lines files that are only ever appended to."""

from benchbox.records.model import (
    SCHEMA,
    Context,
    Record,
    Run,
    SpecFacts,
    Status,
    known_macs,
    ordered,
    uncounted,
)
from benchbox.records.reader import latest, newest_first, read, read_all
from benchbox.records.writer import Writer, check_writable, compact, create, now, reopen

__all__ = [
    "SCHEMA",
    "Context",
    "Record",
    "Run",
    "SpecFacts",
    "Status",
    "Writer",
    "check_writable",
    "compact",
    "create",
    "known_macs",
    "latest",
    "newest_first",
    "now",
    "ordered",
    "read",
    "read_all",
    "reopen",
    "uncounted",
]
