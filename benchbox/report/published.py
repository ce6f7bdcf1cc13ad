"""Columns of the figures that papers publish of networks."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchbox.records import Record
from benchbox.report import formatting
from benchbox.report.table import Column

# Field of a record's `paper`, the header of its column, and how its figures are printed.
SIZES = (
    ("params_m", "params, paper (M)", formatting.as_printed),
    ("macs_m", "FLOPs, paper (M)", formatting.as_printed),
)
OTHERS = (
    ("top1_percent", "top-1, paper (%)", formatting.accuracy),
    ("map_percent", "mAP, paper (%)", formatting.accuracy),
    ("cpu_onnx_ms", "CPU, paper (ms)", formatting.as_printed),
    ("t4_tensorrt_ms", "T4, paper (ms)", formatting.as_printed),
)
SOURCES = "published figures"
COLUMNS = {f"published_{name}": name for name, *_ in (*SIZES, *OTHERS)}


def cells(record: Record) -> dict[str, float | None]:
    """The cells of a record in a file."""
    return {column: record.paper.get(name) for column, name in COLUMNS.items()}


def printed(papers: Sequence[Mapping[str, Any]], drop: int, *, sizes: bool) -> list[Column]:
    """The columns of a table, with the published `sizes` or without."""
    return [
        Column(header, tuple(text(paper.get(name)) for paper in papers), drop=drop, note=SOURCES)
        for name, header, text in (*(SIZES if sizes else ()), *OTHERS)
    ]


def notes(papers: Sequence[Mapping[str, Any]]) -> list[str]:
    """The footnote with the sources."""
    sources = dict.fromkeys(str(paper["source"]) for paper in papers if paper.get("source"))
    return [f"{SOURCES}: {'; '.join(sources)}"] if sources else []
