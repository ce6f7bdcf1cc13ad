"""Table of `benchbox show`: the cost of cases on paper, nothing timed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchbox.records import known_macs, uncounted
from benchbox.report import footnotes, formatting, published
from benchbox.report.table import Column, Table
from benchbox.report.tables import (
    by_group,
    flops,
    heading,
    memory,
    short_case,
)
from benchbox.report.text import by_text
from benchbox.specs.labels import label_text

PAPER = (
    ("params_m", "params, paper (M)", formatting.as_printed),
    ("macs_m", "FLOPs, paper (M)", formatting.as_printed),
    ("top1_percent", "top-1, paper (%)", formatting.accuracy),
    ("map_percent", "mAP, paper (%)", formatting.accuracy),
)


@dataclass(frozen=True, slots=True)
class CostRow:
    """A case that was built but not timed; `cost` is None, and `reason` says why, if it was not."""

    case: str
    group: str
    reference: str
    inputs: Sequence[str]
    cost: Mapping[str, Any] | None
    args: Mapping[str, Any]
    published: float | None = None
    published_unit: str | None = None
    paper: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    reason: str = ""


def cost_table(title: str, rows: Sequence[CostRow]) -> Table:
    """The table of costs; further lines of `title` stand under its first."""
    first, *about = title.splitlines() or [""]
    ordered = [rows[index] for index in by_group([row.group for row in rows])]
    return Table(
        title=first,
        about=tuple(about),
        columns=tuple(_columns(ordered)),
        groups=tuple(heading(row.group) for row in ordered),
        failures=tuple(f"{row.case}: {row.reason}" for row in ordered if row.reason),
        notes=tuple(_notes(ordered)),
        elsewhere="a wider terminal or a pipe gets all",
    )


def _columns(rows: Sequence[CostRow]) -> list[Column]:
    references = {row.case: known_macs(row.cost) for row in rows}
    unit = next((row.published_unit for row in rows if row.published is not None), None)
    columns = [
        Column("case", tuple(short_case(row.case, row.group) for row in rows), text=True),
        Column("input", tuple(", ".join(row.inputs) for row in rows), True, 4),
        Column("arguments", tuple(_arguments(row) for row in rows), True, 1),
        Column("FLOPs (M)", tuple(flops(row.cost) for row in rows)),
        Column("params", tuple(_params(row) for row in rows)),
        Column("memory (MB)", tuple(memory(row.cost) for row in rows), drop=3),
        Column(
            "relative FLOPs",
            tuple(_relative(row, references.get(row.reference)) for row in rows),
        ),
        Column(
            f"paper ({formatting.per_second(unit)})", tuple(_published(row) for row in rows), drop=5
        ),
        *_papers(rows),
        Column("operators", tuple(_operators(row) for row in rows), True, 2),
    ]
    return [column for column in columns if column.known or not column.drop]


def _params(row: CostRow) -> str:
    return formatting.scaled(row.cost["params"] if row.cost else None)


def _relative(row: CostRow, reference: int | None) -> str:
    macs = known_macs(row.cost)
    return (
        formatting.UNKNOWN if macs is None or not reference else formatting.ratio(macs / reference)
    )


def _published(row: CostRow) -> str:
    return formatting.as_printed(row.published)


def _papers(rows: Sequence[CostRow]) -> list[Column]:
    """Columns of the networks' published figures."""
    cells = [(header, [cell(row.paper.get(name)) for row in rows]) for name, header, cell in PAPER]
    return [Column(header, tuple(column), drop=6) for header, column in cells]


def _operators(row: CostRow) -> str:
    counts = row.cost.get("ops", {}) if row.cost else {}
    return ", ".join(f"{name} {n}" for name, n in counts.items()) or formatting.UNKNOWN


def _arguments(row: CostRow) -> str:
    """The arguments that are not part of the case's name."""
    named = row.case.split(",")
    texts = (f"{name}={label_text(value)}" for name, value in row.args.items())
    return ", ".join(text for text in texts if text not in named) or formatting.UNKNOWN


def _notes(rows: Sequence[CostRow]) -> list[str]:
    first = [footnotes.FLOPS_NOTE] if any(row.cost is not None for row in rows) else []
    names = [row.case for row in rows]
    return [
        *first,
        *by_text(names, [footnotes.lower_bound(uncounted(row.cost)) for row in rows]),
        *by_text(names, [row.note for row in rows]),
        *published.notes([row.paper for row in rows]),
    ]
