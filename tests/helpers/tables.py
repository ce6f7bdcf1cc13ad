"""Records of G2 as the paper might have measured it, and the tables printed of them."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchbox.analysis.latency import Latency
from benchbox.analysis.stats import Interval
from benchbox.records import Record, Run, SpecFacts
from benchbox.report.console import show_tables
from benchbox.report.multi_device import tables_of
from benchbox.report.table import Table
from benchbox.specs.labels import case_name
from tests.helpers import record_files

G2 = SpecFacts(
    "g2",
    "G2: group convolution costs memory access",
    "0" * 64,
    guideline="G2",
    source="ShuffleNet V2, Table 2",
    group_by="scale",
    claim={
        "slower": {"groups": 8},
        "than": {"groups": 1},
        "subject": "8 groups",
        "than_subject": "1",
    },
    published_unit="images_per_s",
    published_device="Snapdragon 810, one thread",
)

# What stands under and over these tables.
MACHINE = "ONNX Runtime 1.29.0, benchbox 0.1.0, 2026-05-09"
COST_NOTES = """\
FLOPs are multiply-accumulates, as the papers count them
memory is what is accessed: every tensor read and written once, with weights"""
PAPER_NOTE = "paper: ratios of its images/s on Snapdragon 810, one thread (ShuffleNet V2, Table 2)"
G2_HOLDS = (
    "G2 holds here: 8 groups cost 2.31x and 1.90x the latency of 1 at 0.99x to 1.03x the FLOPs "
    "(scale 1, 2; paper, ARM: 1.44x and 1.36x)."
)

# groups, scale, c, macs, memory access, p50 in ms, ratio to 1 group, the paper's images per second
G2_CASES = [
    (1, 1, 64, 128_450_560, 16_220_160, 1.0, None, 40.0),
    (2, 1, 90, 127_008_000, 22_734_000, 1.42, 1.42, 35.0),
    (8, 1, 184, 132_715_520, 46_331_520, 2.31, 2.31, 27.8),
    (1, 2, 128, 513_802_240, 32_768_000, 4.0, None, 10.2),
    (2, 2, 180, 508_032_000, 45_813_600, 5.2, 1.3, 9.5),
    (8, 2, 360, 508_032_000, 90_964_800, 7.6, 1.9, 7.5),
]


def cost(macs: int, memory: int | None, *uncounted: str) -> dict[str, Any]:
    return {
        "macs": macs,
        "params": 40_960,
        "memory_access_bytes": memory,
        "weight_bytes": 163_840,
        "peak_activation_bytes": 1_605_632,
        "ops": {"Conv": 10},
        "uncounted": list(uncounted),
    }


def latency(p50_ms: float, half: float | None = 0.004) -> Latency:
    """A p50 with an interval of that relative half-width, None for one without an interval."""
    p50 = p50_ms / 1e3
    return Latency(
        p50_s=p50,
        ci_low_s=None if half is None else p50 * (1 - half),
        ci_high_s=None if half is None else p50 * (1 + half),
        p90_s=p50 * 1.1,
        p99_s=None,
        raw_p50_s=p50 * 1.01,
        min_s=p50 * 0.98,
        samples=480,
        quiet_share=0.975,
        rounds=24,
    )


def ratio(value: float, half: float = 0.01) -> Interval:
    return Interval(value, value * (1 - half), value * (1 + half))


def record(labels: Mapping[str, Any], p50_ms: float | None = 1.0, **changes: Any) -> Record:
    name = case_name(labels) or "net"
    bare = record_files.record(
        case=name,
        labels=labels,
        args=labels,
        group=f"scale={labels['scale']}" if "scale" in labels else "",
        reference=name,
        cost=cost(128_450_560, 16_220_160),
        latency=None if p50_ms is None else latency(p50_ms),
    )
    return replace(bare, **changes)


def g2_records() -> list[Record]:
    return [
        record(
            {"groups": groups, "scale": scale},
            p50,
            args={"repeat": 10, "groups": groups, "c": c},
            reference=f"groups=1,scale={scale}",
            channels="arm",
            published=paper,
            cost=cost(macs, memory),
            relative=None if over is None else ratio(over),
            load_s=0.0123,
            first_call_s=0.00456,
            warmup_calls=25,
        )
        for groups, scale, c, macs, memory, p50, over, paper in G2_CASES
    ]


def run_of(records: Sequence[Record], specs: Sequence[SpecFacts] = (G2,), threads: int = 1) -> Run:
    context = record_files.context(
        created="2026-05-09T10:00:00Z",
        benchbox="0.1.0",
        threads=threads,
        plan={},
        specs=list(specs),
        host={"cpu": "Cortex-A76"},
        versions={"onnxruntime": "1.29.0"},
        cpus=(),
        affinity=None,
    )
    return Run(Path("run.jsonl"), context, list(records))


def with_changes(case: str, **changes: Any) -> list[Record]:
    """The six records of G2, the one of that name with these fields instead."""
    return [replace(r, **changes) if r.case == case else r for r in g2_records()]


def cells_of(table: Table) -> list[list[str]]:
    """The cells of a table, row by row."""
    return [list(cells) for cells in zip(*(column.cells for column in table.columns), strict=True)]


def printed(*runs: Run, width: int | None = None, verbose: bool = False) -> str:
    """What a terminal of that width shows, or a pipe if there is none."""
    file = io.StringIO()
    terminal = width is not None
    console = Console(file=file, force_terminal=terminal, width=width or 80, color_system=None)
    show_tables(tables_of(runs, verbose=verbose), console)
    return file.getvalue()
