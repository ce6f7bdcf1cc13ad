"""Table of `benchbox show`: the cost of cases on paper, nothing timed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchbox.records import known_macs, uncounted
from benchbox.report import files, footnotes, formatting, published, quantised
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

if TYPE_CHECKING:
    import pandas as pd

COSTS = ("params", "graph_params", "memory_access_bytes", "weight_bytes", "peak_activation_bytes")
# Column of a file -> pandas dtype, nullable as in the table of a run.
COLUMNS = {
    **dict.fromkeys(("spec", "case", "group", "inputs", "dtype"), "string"),
    **dict.fromkeys(("batch", "macs", *COSTS), "Int64"),
    **dict.fromkeys(("operators", "status", "reason"), "string"),
}


@dataclass(frozen=True, slots=True)
class CostRow:
    """A case that was built but not timed; `cost` is None, and `reason` says why, if it was not."""

    case: str
    group: str
    reference: str
    inputs: Sequence[str]
    cost: Mapping[str, Any] | None
    args: Mapping[str, Any]
    spec: str = ""
    dtype: str = "float32"
    batch: int = 1
    published: float | None = None
    published_unit: str | None = None
    paper: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    reason: str = ""


def to_csv(rows: Sequence[CostRow]) -> str:
    """A row for each case, numbers as numbers."""
    return files.to_csv(_frame(rows))


def to_json(rows: Sequence[CostRow]) -> str:
    """A list of row objects; what is not known is null."""
    return files.to_json(_frame(rows))


def _frame(rows: Sequence[CostRow]) -> "pd.DataFrame":
    import pandas as pd

    names = dict.fromkeys(name for row in rows for name in row.args)
    dtypes = COLUMNS | {f"arg_{name}": "string" for name in names}
    # As objects first: pandas would make floats of whole numbers beside a missing one.
    cells = [_file_cells(row) for row in rows]
    return pd.DataFrame(cells, columns=list(dtypes), dtype=object).astype(dtypes)


def _file_cells(row: CostRow) -> dict[str, object]:
    cost = row.cost or {}
    missing = footnotes.lower_bound(uncounted(row.cost))
    return {
        "spec": row.spec,
        "case": row.case,
        "group": row.group,
        "inputs": ", ".join(row.inputs),
        "dtype": row.dtype,
        "batch": row.batch,
        "macs": known_macs(row.cost),
        **{name: cost.get(name) for name in COSTS},
        "operators": None if row.cost is None else _operators(row),
        "status": "failed" if row.cost is None else "ok",
        "reason": "; ".join(filter(None, (row.reason, missing, _other_params(cost), row.note))),
        **{f"arg_{name}": label_text(value) for name, value in row.args.items()},
    }


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
        *published.printed([row.paper for row in rows], 6, sizes=True),
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


def _operators(row: CostRow) -> str:
    counts = row.cost.get("ops", {}) if row.cost else {}
    return ", ".join(f"{name} {n}" for name, n in counts.items()) or formatting.UNKNOWN


def _arguments(row: CostRow) -> str:
    """The arguments that are not part of the case's name."""
    named = row.case.split(",")
    texts = (f"{name}={label_text(value)}" for name, value in row.args.items())
    return ", ".join(text for text in texts if text not in named) or formatting.UNKNOWN


def _other_params(cost: Mapping[str, Any]) -> str:
    """The note where params are not those of the graph, or may not be those of its module."""
    params, own, tables = (cost.get(n) for n in ("params", "graph_params", "table_params"))
    if own is None and tables:
        return "params count tables of constants, which a module may have as buffers (anchor grids)"
    if own is None or own == params:
        return ""
    others = "fewer: norms are folded, or parts unused" if own < params else "more: baked tables"
    return f"params are the module's; its graph holds {others}"


def _notes(rows: Sequence[CostRow]) -> list[str]:
    first = [footnotes.FLOPS_NOTE] if any(row.cost is not None for row in rows) else []
    names = [row.case for row in rows]
    return [
        *first,
        *by_text(names, [footnotes.lower_bound(uncounted(row.cost)) for row in rows]),
        *by_text(names, [_other_params(row.cost or {}) for row in rows]),
        *by_text(names, [row.note for row in rows]),
        *quantised.about(row.dtype for row in rows),
        *published.notes([row.paper for row in rows]),
    ]
