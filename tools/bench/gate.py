"""Alarms of a gate on latency: of a graph and its copy, of graphs with more work, and of the gate
that holds the median of 100 calls to a stored one. Always with busy neighbours.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from statistics import median

from benchbox.analysis import limits
from benchbox.api.plan import COMPARED
from benchbox.sampling.sampler import Sampler
from tools.bench import verdicts
from tools.bench.common import UNLIMITED, Row, counted
from tools.bench.neighbours import busy
from tools.bench.verdicts import COPIES, COPY_S, measured, ratio, stack

PLAN = replace(verdicts.PLAN, precision=COMPARED.precision)  # as `benchbox compare` has it
CALLS = 100  # of the usual gate
LIMIT = 1.03
RESERVE_S = 5.0  # of the time to find more work in: for the process and the loading


@dataclass(frozen=True, slots=True)
class More:
    """A graph with more rows than the base, to be found over a limit, in so many seconds."""

    rows: int
    more_rows: int
    limit: float
    within_s: float
    least: float


FIVE, THREE = More(40, 42, LIMIT, 60.0, 0.95), More(66, 68, 1.01, 90.0, 0.9)


def gate(repetitions: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder, busy():
        base, other = (Path(folder) / f"{name}.onnx" for name in ("base", "other"))
        stack(base, FIVE.rows)
        shutil.copyfile(base, other)
        yield from copies(base, other, COPIES * repetitions)
        yield from found(base, other, FIVE, 2 * repetitions)
        yield from found(base, other, THREE, repetitions)


def copies(base: Path, copy: Path, times: int) -> Iterator[Row]:
    """A/A: every alarm is false."""
    alarms, medians = 0, list[float]()
    for seed in counted("gate, A/A", times):
        sampler = measured(base, copy, replace(PLAN, max_time_s=COPY_S, limits=(LIMIT,), seed=seed))
        alarms += limits.kept(ratio(sampler, copy, base), LIMIT) == "over"
        medians.append(usual(sampler, copy))
    limit = times // 100
    yield (
        f"A/A with neighbours: alarms of slower>{LIMIT - 1:.0%}",
        f"{alarms} of {times}",
        f"<= {limit}",
        alarms <= limit,
    )
    stored, *later = medians
    false = sum(each > LIMIT * stored for each in later)
    yield (
        f"  the median of {CALLS} calls held to that of the first run",
        f"{false} of {len(later)}",
        UNLIMITED,
        True,
    )


def found(base: Path, other: Path, more: More, times: int) -> Iterator[Row]:
    """A/B: more work has to be over the limit, and in time."""
    work = stack(other, more.more_rows) / stack(base, more.rows)
    plan = replace(PLAN, max_time_s=more.within_s - RESERVE_S, limits=(more.limit,))
    caught, longest = 0, 0.0
    for seed in counted("gate, A/B", times):
        start = time.monotonic()
        sampler = measured(base, other, replace(plan, seed=seed))
        seconds = time.monotonic() - start
        is_over = limits.kept(ratio(sampler, other, base), more.limit) == "over"
        caught += is_over and seconds <= more.within_s
        longest = max(longest, seconds)
    yield (
        f"A/B: {work - 1:.1%} more work over slower>{more.limit - 1:.0%} in {more.within_s:.0f} s",
        f"{caught} of {times}; {longest:.1f} s",
        f">= {more.least:.0%}",
        caught >= more.least * times,
    )


def usual(sampler: Sampler, graph: Path) -> float:
    """The figure of the usual gate: the median of the first calls, disturbed or not."""
    calls = chain.from_iterable(b.latencies_ns for b in sampler.cases[graph.stem].bursts)
    return median(islice(calls, CALLS))
