"""Columns of the figures that papers publish of networks."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchbox.records import Record

# Column in a file -> field of a record's `paper`.
COLUMNS = {
    "published_params_m": "params_m",
    "published_macs_m": "macs_m",
    "published_top1_percent": "top1_percent",
    "published_map_percent": "map_percent",
}


def columns(records: Sequence[Record]) -> list[str]:
    """The columns that these records need: none where no paper prints any, mAP for detectors."""
    papers = [record.paper for record in records if record.paper]
    has_map = any("map_percent" in paper for paper in papers)
    *others, of_detectors = COLUMNS
    return [*others, *([of_detectors] if has_map else [])] if papers else []


def cells(record: Record) -> dict[str, float | None]:
    """The cells of a record."""
    return {column: record.paper.get(name) for column, name in COLUMNS.items()}


def notes(papers: Sequence[Mapping[str, Any]]) -> list[str]:
    """The footnote with the sources."""
    sources = dict.fromkeys(str(paper["source"]) for paper in papers if paper.get("source"))
    return [f"published figures: {'; '.join(sources)}"] if sources else []
