"""Sentences and footnotes of `benchbox compare`."""

import math
from collections.abc import Sequence

from benchbox.analysis.stats import Interval
from benchbox.records import Record, Run
from benchbox.report import comparison, formatting
from benchbox.report.text import listed

EQUAL_FLOPS = 0.005  # FLOPs that differ by less are called equal
UNCLEAR_HELP = "UNCLEAR: more time (--max-time) narrows the interval, a wider --margin decides"


def sentences(run: Run, records: Sequence[Record]) -> list[str]:
    """A line per case but the reference: its latency by FLOPs, and as measured.

    None of it for a run that is no comparison, or in which no two cases were measured together.
    """
    if comparison.margin(run.context) is None:
        return []
    return [
        _line(run, record, record.relative)
        for record in records
        if record.relative is not None and comparison.verdict(run, record)
    ]


def notes(run: Run, records: Sequence[Record]) -> list[str]:
    """The footnotes on verdicts."""
    margin = comparison.margin(run.context)
    if margin is None or not any(comparison.verdict(run, record) for record in records):
        return []
    references = list(dict.fromkeys(record.reference for record in records))
    by_graph: dict[tuple[str, ...], list[str]] = {}
    for record in records:
        if record.graph:
            what = (str(record.graph["sha256"]), *record.inputs, str(record.threads))
            by_graph.setdefault(what, []).append(record.case)
    return [
        f"relative is the latency over that of {' or '.join(references)}, below 1 it is faster; "
        f"verdict, by its whole 95% interval: {_bounds(margin)}; UNCLEAR where it lies across a "
        "bound",
        *(
            f"{listed(same)} are the same graph: what differs is chance"
            for same in by_graph.values()
            if same[1:]
        ),
        *([UNCLEAR_HELP] if comparison.is_unclear(run) else []),
    ]


def verdict(run: Run, record: Record) -> str:
    """The verdict in capitals, a dash for the reference and for a case without figures."""
    return comparison.verdict(run, record) or formatting.UNKNOWN


def _line(run: Run, record: Record, ratio: Interval) -> str:
    case, reference, device = record.case, record.reference, run.context.device
    text = verdict(run, record)
    if text == "UNCLEAR":
        text += f": {formatting.bounds(ratio)}"
    inverse = Interval(1 / ratio.value, 1 / ratio.high, 1 / ratio.low)
    mark = formatting.mark(record.relative_basis)
    latency, takes = mark + _times(inverse), f"takes {mark}{_times(ratio)} ({text})"
    macs = comparison.relative_macs(run, record)
    if not macs:
        return f"{reference} has {latency} the latency of {case} on {device}: {case} {takes}."
    if abs(macs - 1) <= EQUAL_FLOPS:
        flops, alone = f"the FLOPs of {case}", "they would take the same time"
    else:
        flops = f"{formatting.ratio(1 / macs)} the FLOPs of {case}"
        alone = f"{case} would take {formatting.ratio(macs)} the time"
    has = f"{reference} has {flops} and {latency} its latency on {device}"
    return f"{has}. By FLOPs alone {alone}; {case if alone.startswith('they') else 'it'} {takes}."


def _bounds(margin: float) -> str:
    exact = next((d for d in range(2, 7) if math.isclose(round(margin, d), margin)), 7)
    decimals = max(exact, 1 - math.floor(math.log10(margin)))
    low, high = (f"{bound:.{decimals}f}x" for bound in (1 / (1 + margin), 1 + margin))
    return f"FASTER below {low}, SLOWER above {high}, SAME between"


def _times(ratio: Interval) -> str:
    return formatting.ratio(ratio.value, formatting.width(ratio))
