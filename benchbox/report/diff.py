"""Difference of two runs: case by case how much slower the second is, and what else changed."""

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import get_args

from benchbox.analysis.adjusted import Z95
from benchbox.analysis.between_runs import UNKNOWN_SPREAD
from benchbox.analysis.samples import NS
from benchbox.analysis.stats import Verdict
from benchbox.records import Context, Record, Run
from benchbox.records.diff import CasePair, RunDiff
from benchbox.report import conditions, formatting
from benchbox.report.changes import SHOWN, changes
from benchbox.report.table import Column, Table
from benchbox.report.tables import measured_by
from benchbox.report.text import few, listed

EQUAL_FLOPS = 0.005  # FLOPs that differ by less are called equal
SHIFTED = 0.01  # ln of what the machine's usual state changed that is worth a note
CLOCK = 0.03  # ln of readings that say that the processor itself is another speed
FEW = 3  # graphs whose sha256 are printed
HELP = (
    "runs share no round, so what changes from minute to minute does not cancel; "
    "benchbox compare times cases beside each other and tells smaller differences"
)


def table(found: RunDiff) -> Table:
    """The table of a difference."""
    pairs = found.pairs

    def column(header: str, cells: Sequence[str], drop: int = 0, *, text: bool = False) -> Column:
        return Column(header, tuple(cells), text, drop)

    graphs = [_graph(pair) for pair in pairs]
    specs = [found.b.context.spec(pair.b.spec).title for pair in pairs]
    return Table(
        title=_title(found),
        about=(*_machines(found), _about("A", found.a), _about("B", found.b)),
        columns=(
            column("case", [pair.b.case for pair in pairs], text=True),
            column("A (ms)", [_p50(pair.a) for pair in pairs], 3),
            column("B (ms)", [_p50(pair.b) for pair in pairs], 2),
            column("B/A", [_ratio_text(pair) for pair in pairs]),
            column("95% interval", [_bounds(pair) for pair in pairs]),
            column("verdict", [found.verdict(p) or formatting.UNKNOWN for p in pairs], text=True),
            *([column("graph", graphs, 1, text=True)] if {*graphs} - {"same"} else []),
        ),
        groups=tuple(specs) if len(set(specs)) > 1 else (),
        failures=tuple(_failures(found)),
        sentences=(_summary(found), _what_changed(found)),
        notes=tuple(_notes(found)),
        elsewhere="--format csv has all",
    )


def rows(found: RunDiff) -> list[dict[str, object]]:
    """The rows of a file."""
    return [
        {
            "spec": pair.b.spec,
            "case": pair.b.case,
            "run_a": found.a.context.run,
            "run_b": found.b.context.run,
            "a_p50_ms": pair.a.latency.p50_s * formatting.MILLI if pair.a.latency else None,
            "b_p50_ms": pair.b.latency.p50_s * formatting.MILLI if pair.b.latency else None,
            "ratio": pair.ratio.interval.value if pair.ratio else None,
            "ratio_ci_low": pair.ratio.interval.low if pair.ratio else None,
            "ratio_ci_high": pair.ratio.interval.high if pair.ratio else None,
            "verdict": found.verdict(pair),
            "relative_macs": pair.relative_macs,
            "a_status": pair.a.status,
            "b_status": pair.b.status,
            "a_graph_sha256": pair.a.sha256 or None,
            "b_graph_sha256": pair.b.sha256 or None,
            "same_machine": found.is_one_machine,
        }
        for pair in found.pairs
    ]


def _title(found: RunDiff) -> str:
    a, b = found.a, found.b
    if found.is_one_machine:
        return f"{b.stem} (B) over {a.stem} (A)"
    a_name, b_name = (f"{run.context.device}/{run.stem}" for run in (a, b))
    return f"DIFFERENT MACHINES: {b_name} (B) over {a_name} (A)"


def _about(letter: str, run: Run) -> str:
    context = run.context
    threads = formatting.threads(context.threads)
    where = f"{context.device}, {context.provider}, {threads}"
    return f"{letter}: {where}; {measured_by(context)}"


def _p50(record: Record) -> str:
    """The median latency in ms to the digit that its interval, which the ratio's has, leaves."""
    if record.latency is None:
        return formatting.UNKNOWN
    value, width = record.latency.p50_s, formatting.width(record.latency.interval)
    figure = formatting.figure(value * formatting.MILLI, width * formatting.MILLI)
    return formatting.mark(record.latency.basis) + figure


def _ratio_text(pair: CasePair) -> str:
    if pair.ratio is None:
        return formatting.UNKNOWN
    value = pair.ratio.interval.value
    if not pair.ratio.is_usual:  # its interval says nothing of the usual state
        return f"~{formatting.ratio(value)}"
    return formatting.ratio(value, formatting.width(pair.ratio.interval))


def _bounds(pair: CasePair) -> str:
    if pair.ratio is None or not pair.ratio.is_usual:
        return formatting.UNKNOWN
    return formatting.bounds(pair.ratio.interval)


def _graph(pair: CasePair) -> str:
    """Whether the graph is another, and how much more it costs then."""
    if not (pair.a.sha256 and pair.b.sha256):
        return formatting.UNKNOWN
    if pair.is_same_graph:
        return "same"
    macs = pair.relative_macs
    is_equal = macs is None or abs(macs - 1) <= EQUAL_FLOPS
    return "changed" if is_equal else f"changed, {formatting.ratio(macs or 0)} FLOPs"


def _machines(found: RunDiff) -> list[str]:
    if found.is_one_machine:
        return []
    a, b = (f"{run.context.device}: {machine(run.context)}" for run in (found.a, found.b))
    return [f"A ran on {a}, B on {b}; each ratio is of both, machine and graph"]


def machine(context: Context) -> str:
    """The machine of a run in words."""
    host = context.host
    count = f"{host['cpus']} processors" if "cpus" in host else ""
    virtual = "virtual" if host.get("virtual") else ""
    parts = (context.processor, conditions.kind(context), count, virtual)
    return ", ".join(filter(None, parts)) or "unknown"


def _failures(found: RunDiff) -> list[str]:
    return [
        f"{record.case}: {record.status} in {letter}{f': {record.reason}' if record.reason else ''}"
        for pair in found.pairs
        for letter, record in (("A", pair.a), ("B", pair.b))
        if record.status in ("failed", "skipped")
    ]


def _summary(found: RunDiff) -> str:
    counts = Counter(filter(None, map(found.verdict, found.pairs)))
    if not counts:
        return "No case has a figure in both."
    words = [f"{counts[each]} {each}" for each in get_args(Verdict) if counts[each]]
    total = counts.total()
    return f"Of {total} case{'' if total == 1 else 's'} in B: {listed(words)}."


def _what_changed(found: RunDiff) -> str:
    graphs = [p for p in found.pairs if p.a.sha256 and p.b.sha256 and not p.is_same_graph]
    parts = changes(found.changed)
    if 0 < len(graphs) <= FEW:
        parts += [
            f"graph of {p.b.case} {p.a.sha256[:SHOWN]} -> {p.b.sha256[:SHOWN]}" for p in graphs
        ]
    elif graphs:
        parts.append(f"the graphs of {len(graphs)} of {len(found.pairs)} cases")
    if parts:
        return f"Changed from A to B: {'; '.join(parts)}."
    return "Nothing else that records tell has changed."


def _notes(found: RunDiff) -> list[str]:
    return [
        *_controls(found),
        *_carried(found),
        *_clock(found),
        *_disturbed(found),
        *_alone(found),
        f"verdict, by the whole 95% interval and a margin of {100 * found.margin:g}%: {HELP}",
    ]


def _controls(found: RunDiff) -> list[str]:
    """The widening of intervals for the spread between runs, and its source."""
    same = [p.ratio.interval.value for p in found.pairs if p.ratio and p.is_same_graph]
    wider = f"each interval has ±{Z95 * found.spread:.1%} for what two runs differ by"
    if found.spread == UNKNOWN_SPREAD or not same:
        return [wider]
    low, high = (formatting.ratio(each) for each in (min(same), max(same)))
    what = f"{len(same)} graphs are the same, nothing else changed, and B took {low} to {high}"
    return [f"{what}: {wider}"]


def _carried(found: RunDiff) -> list[str]:
    shifts = [-pair.ratio.carried for pair in found.pairs if pair.ratio]
    if not shifts or max(map(abs, shifts)) < SHIFTED:
        return []
    ends = " to ".join(dict.fromkeys(f"{each:+.1%}" for each in (min(shifts), max(shifts))))
    return [f"for ratios B is set back to A's usual state of the machine, by {ends}"]


def _clock(found: RunDiff) -> list[str]:
    """The note on a processor that was itself faster or slower, by the compute sentinel."""
    readings = [
        (a.centre_ns, b.centre_ns)
        for pair in found.pairs
        if (a := pair.a.gate.compute) and (b := pair.b.gate.compute)
    ]
    if not (found.is_one_machine and readings):
        return []
    before, after = (median(each) for each in zip(*readings, strict=True))
    if abs(math.log(after / before)) < CLOCK:
        return []
    ends = " -> ".join(formatting.duration(ns * NS) for ns in (before, after))
    raw = any(pair.ratio and not pair.ratio.carried for pair in found.pairs)
    rest = ", which ratios have in them" if raw else ""
    return [f"the processor took {formatting.ratio(after / before)} as long in B ({ends}){rest}"]


def _disturbed(found: RunDiff) -> list[str]:
    if all(pair.ratio is None or pair.ratio.is_usual for pair in found.pairs):
        return []
    return ["~ where a figure is of disturbed calls, or of no usual state: nothing is decided"]


def _alone(found: RunDiff) -> list[str]:
    """The cases of one run only."""
    paired = {letter: {id(getattr(p, letter)) for p in found.pairs} for letter in ("a", "b")}
    lines = []
    for letter, run in (("a", found.a), ("b", found.b)):
        only = [record.case for record in run.records if id(record) not in paired[letter]]
        if only:
            lines.append(f"only in {letter.upper()}: {few(only)}")
    return lines
