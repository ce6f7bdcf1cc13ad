"""Estimators side by side on the samples of the reference runs: the gate, adjusted latencies."""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median

from benchbox import records
from benchbox.analysis import adjusted, latency
from benchbox.analysis.adjusted import Adjusted
from benchbox.analysis.levels import MemoryLevels
from benchbox.analysis.samples import NS, Burst
from benchbox.records import Run
from tools.bench.common import UNLIMITED, Row

REFERENCE = Path("results/reference/cpu")
PRECISION = 0.03
LEAST_COVERAGE, MOST_S = 0.9, 2.0


def estimators() -> Iterator[Row]:
    """How many cases of each run have a half-width within PRECISION, by either estimator.

    Memory-bound cases of these runs carry no readings of the compute sentinel, so they are not
    adjusted.
    """
    for path in sorted(REFERENCE.glob("*.jsonl")):
        run = records.read(path)
        found = [latency.estimate(record.bursts, record.gate) for record in run.records]
        gate = [each.interval for each in found if each and each.basis == "quiet"]
        by_gate = sum(each is not None and each.half_width <= PRECISION for each in gate)
        by_slopes = sum(width <= PRECISION for width in half_widths(run))
        measured = f"gate {by_gate}, adjusted {by_slopes}"
        name = path.stem.partition("-")[2]
        yield f"{name}: of {len(run.records)} within 3%", measured, UNLIMITED, True
        if seconds := seconds_needed(run):
            what = f"{name}: seconds of its own bursts for 3%, median case"
            yield what, f"{median(seconds):.2f}", f"<= {MOST_S}", median(seconds) <= MOST_S
        covered, predictions = coverage(run)
        if predictions:
            share = covered / predictions
            what = f"{name}: two processes predict the third, of {predictions}"
            yield what, f"{share:.1%}", f">= {LEAST_COVERAGE:.0%}", share >= LEAST_COVERAGE


def half_widths(run: Run) -> list[float]:
    """The relative half-width of each case that has one: rounds, slopes and processes."""
    cases = adjust(run, [record.bursts for record in run.records])
    tau = spread(cases)
    intervals = [adjusted.interval(case, tau) for case in cases]
    return [widths.total for _, widths in filter(None, intervals)]


def seconds_needed(run: Run) -> list[float]:
    """How long each case has to be timed for PRECISION, by the scatter that it has.

    What processes differ by stays; the rest falls with the square root of the time.
    """
    cases = adjust(run, [record.bursts for record in run.records])
    tau, found = spread(cases), []
    for record, case in zip(run.records, cases, strict=False):
        lasted_s = sum(burst.duration_ns for burst in record.bursts) * NS
        if known := adjusted.interval(case, tau):
            rest = PRECISION**2 - known[1].processes ** 2
            found.append(lasted_s * known[1].within ** 2 / rest if rest > 0 else math.inf)
    return found


def coverage(run: Run) -> tuple[int, int]:
    """How often the figure of one process lies in the interval by the two others; and the tries.

    The two have their own slopes and the spread between processes that they show; the interval is
    that of the difference, in which both are uncertain.
    """
    covered = tries = 0
    sessions = sorted({burst.session for record in run.records for burst in record.bursts})
    for left_out in sessions if len(sessions) == 3 else ():
        bursts = [record.bursts for record in run.records]
        two = adjust(run, [[b for b in each if b.session != left_out] for each in bursts])
        one = adjust(run, [[b for b in each if b.session == left_out] for each in bursts])
        tau = spread(two)
        for pair in zip(two, one, strict=True):
            known, seen = (adjusted.interval(case, tau) for case in pair)
            if known and seen:
                width = math.hypot(known[1].total, seen[1].total)
                tries += 1
                covered += abs(math.log(seen[0].value / known[0].value)) <= width
    return covered, tries


def adjust(run: Run, cases: Sequence[Sequence[Burst]]) -> list[Adjusted]:
    """Cases set back to the state that was usual in their run."""
    levels = MemoryLevels(burst for record in run.records for burst in record.bursts)
    state = next((r.gate.compute for r in run.records if r.gate.compute), None)
    usual = levels.usual(state.centre_ns) if state else None
    if usual is None:
        return []
    return [adjusted.adjust(bursts, levels, usual) for bursts in cases]


def spread(cases: Iterable[Adjusted]) -> float:
    """What processes differ by."""
    found = [adjusted.process_variance(case.rounds) for case in cases]
    return adjusted.between([each for each in found if each])
