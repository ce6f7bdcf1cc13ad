"""Whether the first table of a busy machine is a good one: whole runs of `benchbox run g2`.

The gate, which earlier versions used, is read from the same samples.
"""

import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchbox.analysis import latency
from benchbox.analysis.latency import GOOD, Latency
from benchbox.analysis.stats import Interval
from benchbox.records import Record, Run
from tools.bench.common import UNLIMITED, Row, counted, recorded
from tools.bench.neighbours import busy

SPEC = "g2"
IDLE_S = 60.0
MOVED = 0.04


@dataclass(frozen=True)
class Table:
    """A run from start to end, and the seconds that it took."""

    run: Run
    seconds: float


def tables(repetitions: int) -> Iterator[Row]:
    """Runs alone, beside one busy processor, and beside two neighbours, each half as often."""
    with tempfile.TemporaryDirectory() as folder:
        cache = {**os.environ, "BENCHBOX_CACHE_DIR": f"{folder}/cache"}
        some = max(1, repetitions // 2)

        def runs(
            what: str, times: int, beside: Callable[[], AbstractContextManager[None]]
        ) -> list[Table]:
            found = []
            for index in counted(f"tables, {what}", times):
                with beside():
                    found.append(table(Path(folder) / f"{what}{index}", cache))
            return found

        alone = runs("alone", some, nullcontext)
        for each in alone:
            yield narrow(each)
        one = runs("one", max(1, some - 1), lambda: busy(1, duty=1.0))
        two = runs("two", max(1, some - 1), busy)
    for each in two:
        yield complete(each)
    together = [*alone[: len(one)], *one]
    who = f"{len(together)} runs, half beside a busy processor"
    yield from spreads(who, together, (1.025, 1.06, 1.02, 1.05))
    yield from spreads(f"{len(alone)} runs alone", alone, (1.03, 1.06, 1.02, 1.05))
    yield from spreads(f"{len(two)} runs with two neighbours", two, (1.06, 1.1, 1.03, 1.06))
    yield moved(alone, two)


def table(results: Path, env: dict[str, str]) -> Table:
    """Run benchbox and read what it recorded."""
    start = time.perf_counter()
    run = recorded("run", SPEC, "--device", "cpu", results=results, env=env)
    return Table(run, time.perf_counter() - start)


def narrow(one: Table) -> Row:
    """How many rows of a run are precise, and how long it took."""
    new = [width(record.latency) for record in one.run.records]
    old = [width(by_gate(record)) for record in one.run.records]
    both = [(found, limit) for found in (new, old) for limit in (0.03, 0.02)]
    counts = [sum(each <= limit for each in found) for found, limit in both]
    held = counts[0] >= 11 and counts[1] >= 8 and one.seconds <= IDLE_S
    text = f"{counts[0]} / {counts[1]}, gate {counts[2]} / {counts[3]}; {one.seconds:.0f} s"
    return "alone: of 12 rows within 3% / 2%; time", text, ">= 11 / 8; <= 60 s", held


def complete(one: Table) -> Row:
    """How many rows of a run have figures, beside neighbours."""
    found = one.run.records
    figures = sum(record.latency is not None for record in found)
    ratios = sum(record.relative is not None or record.case == record.reference for record in found)
    within = sum(width(record.latency) <= 0.05 for record in found)
    held = figures == ratios == len(found) and within >= 10
    text = f"{figures} / {ratios} / {within}"
    return "two neighbours: rows with figure / ratio / within 5%", text, "12 / 12 / >= 10", held


def spreads(who: str, runs: Sequence[Table], limits: Sequence[float]) -> Iterator[Row]:
    """How far apart runs are, by the adjusted figures and by the gate."""
    for name, p50, ratio in (("adjusted", own_p50, own_ratio), ("gate", gate_p50, gate_ratio)):
        counts = limits if name == "adjusted" else ()
        for what, value, bounds in (("p50", p50, counts[:2]), ("ratio", ratio, counts[2:])):
            found = [apart(each) for each in values(runs, value)] or [math.inf]
            middle, worst = median(found), max(found)
            held = not bounds or (middle <= bounds[0] and worst <= bounds[1])
            limit = f"<= {bounds[0]} / {bounds[1]}" if bounds else UNLIMITED
            text = f"{middle:.3f} / {worst:.3f}"
            yield f"{who}: spread of {what}, median / worst, {name}", text, limit, held


def values(
    runs: Sequence[Table], value: Callable[[Run, Record], float | None]
) -> Iterator[list[float]]:
    """The values of each row in those runs that have one."""
    for rows in zip(*(each.run.records for each in runs), strict=True):
        pairs = zip(runs, rows, strict=True)
        found = [value(each.run, record) for each, record in pairs]
        if known := [each for each in found if each is not None]:
            yield known


def apart(found: Sequence[float]) -> float:
    return max(found) / min(found)


def own_p50(_: Run, record: Record) -> float | None:
    return record.latency.p50_s if record.latency else None


def own_ratio(_: Run, record: Record) -> float | None:
    return record.relative.value if record.relative else None


def gate_p50(_: Run, record: Record) -> float | None:
    found = by_gate(record)
    return found.p50_s if found and found.basis in GOOD else None


def gate_ratio(run: Run, record: Record) -> float | None:
    reference = run.record(f"{record.spec}:{record.reference}")
    if reference is None or reference is record:
        return None
    found, basis = latency.ratio(record.bursts, reference.bursts, record.gate)
    return found.value if found and basis in GOOD else None


def by_gate(record: Record) -> Latency | None:
    """The figure by the calls in one state of the processor."""
    return latency.estimate(record.bursts, record.gate)


def width(found: Latency | None) -> float:
    interval: Interval | None = found.interval if found and found.basis in GOOD else None
    return interval.half_width if interval else 1.0


def moved(alone: Sequence[Table], beside: Sequence[Table]) -> Row:
    """How far neighbours move the p50 of the row that they move most."""
    pairs = zip(values(alone, own_p50), values(beside, own_p50), strict=True)
    worst = max((median(b) / median(a) - 1 for a, b in pairs), key=abs)
    what, limit = "p50 with two neighbours over alone, worst row", f"within {MOVED:.0%}"
    return what, f"{worst:+.1%}", limit, abs(worst) <= MOVED
