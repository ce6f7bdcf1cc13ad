"""Columns of the figures that papers publish of networks."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchbox.records import Record

# Column in a file -> field of a record's `paper`.
COLUMNS = {
    "published_params_m": "params_m",
    "published_macs_m": "macs_m",
    "published_top1_percent": "top1_percent",
}


def columns(records: Sequence[Record]) -> list[str]:
    """The columns that these records need: all of them or none."""
    return list(COLUMNS) if any(record.paper for record in records) else []


def cells(record: Record) -> dict[str, float | None]:
    """The cells of a record."""
    return {column: record.paper.get(name) for column, name in COLUMNS.items()}


def notes(papers: Sequence[Mapping[str, Any]]) -> list[str]:
    """The footnote with the sources."""
    sources = dict.fromkeys(str(paper["source"]) for paper in papers if paper.get("source"))
    return [f"published figures: {'; '.join(sources)}"] if sources else []
