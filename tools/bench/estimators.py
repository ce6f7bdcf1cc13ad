"""Estimators side by side on the samples of the reference runs: the gate, adjusted latencies."""

import math
from collections.abc import Iterator
from pathlib import Path

from benchbox import records
from benchbox.analysis import adjusted
from benchbox.analysis.adjusted import Levels, Usual
from benchbox.records import Run
from tools.bench.common import UNLIMITED, Row

REFERENCE = Path("results/reference/cpu")
PRECISION = 0.03


def estimators() -> Iterator[Row]:
    """How many cases of each run have a half-width within PRECISION, by either estimator.

    Memory-bound cases of these runs carry no readings of the compute sentinel, so they are not
    adjusted.
    """
    for path in sorted(REFERENCE.glob("*.jsonl")):
        run = records.read(path)
        gate = [record.latency.interval for record in run.records if record.latency]
        by_gate = sum(each is not None and each.half_width <= PRECISION for each in gate)
        by_slopes = sum(width <= PRECISION for width in half_widths(run))
        measured = f"gate {by_gate}, adjusted {by_slopes}"
        name = path.stem.partition("-")[2]
        yield f"{name}: of {len(run.records)} within 3%", measured, UNLIMITED, True


def half_widths(run: Run) -> list[float]:
    """The relative half-width of each case that has one: rounds, slopes and processes."""
    levels = Levels(burst for record in run.records for burst in record.bursts)
    state = next((r.gate.compute for r in run.records if r.gate.compute), None)
    level = levels.mean()
    if state is None or level is None:
        return []
    usual = Usual(state.centre_ns, math.exp(level))
    cases = [adjusted.adjust(record.bursts, levels, usual) for record in run.records]
    found = [adjusted.process_variance(case.rounds) for case in cases]
    tau = adjusted.between([each for each in found if each])
    intervals = [adjusted.interval(case, tau) for case in cases]
    return [widths.total for _, widths in filter(None, intervals)]
