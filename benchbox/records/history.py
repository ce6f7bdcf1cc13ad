"""History of a case on a machine: its p50 from run to run, its steps, and what changed there."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchbox.analysis import steps
from benchbox.analysis.adjusted import WIDEST, Z95
from benchbox.analysis.stats import Interval
from benchbox.analysis.steps import Level
from benchbox.errors import RecordError
from benchbox.records import differences, names
from benchbox.records.differences import Difference
from benchbox.records.index import Index
from benchbox.records.indexed_line import figures
from benchbox.records.model import Context, Run
from benchbox.records.names import Wanted

Row = tuple[Any, ...]  # of Index.figures
NEAR = 2  # runs to each side of a step


@dataclass(frozen=True, slots=True)
class Point:
    """A run's figure in seconds, set back to the machine's usual state in the newest run."""

    run: int
    created: str
    path: Path
    sha256: str
    p50_s: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Change:
    """What changed from a run to the next one."""

    before: Point
    after: Point
    what: Sequence[Difference]

    @property
    def is_same_graph(self) -> bool:
        """Whether both timed one graph."""
        return self.before.sha256 == self.after.sha256


@dataclass(frozen=True, slots=True)
class LevelStep:
    """A change of the level at a run, and the changes there: its own, and those nearby.

    A step is at its place to within NEAR runs.
    """

    ratio: Interval
    own: Change
    nearby: Sequence[Change] = ()

    @property
    def after(self) -> Point:
        """The first run of the new level."""
        return self.own.after


@dataclass(frozen=True, slots=True)
class History:
    """A case, as in `g2:groups=1`, on a machine; `context` is of the newest run.

    `p50_s` are its figures, `levels` and `steps` what is between and at their changes, `overall`
    the ratio of the newest to the first.
    """

    name: str
    context: Context
    rows: Sequence[Row]
    factors: Sequence[float]
    place: Callable[[int], tuple[str, Path]]
    levels: Sequence[Level] = ()
    steps: Sequence[LevelStep] = ()
    overall: Interval | None = None

    @property
    def p50_s(self) -> list[float]:
        """The figures alone, of which there may be many."""
        return [row[2] * factor for row, factor in zip(self.rows, self.factors, strict=True)]

    def point(self, index: int) -> Point:
        """A run's figure."""
        run, sha256, p50, low, high, _ = self.rows[index]
        factor = self.factors[index]
        is_known = None not in (low, high)
        interval = Interval(p50 * factor, low * factor, high * factor) if is_known else None
        return Point(run, *self.place(run), sha256, p50 * factor, interval)


def histories(index: Index, cases: Sequence[str], wanted: Wanted) -> list[History]:
    """The histories of cases by name, glob or spec, of all where none is named.

    Raises RecordError for a name that no run has.
    """
    runs = index.dated(f"{wanted.since:%Y-%m-%dT%H:%M:%SZ}" if wanted.since else "")
    order = {number: place for place, number in enumerate(runs)}

    def place(run: int) -> tuple[str, Path]:
        _, created, path = runs[run]
        return created, wanted.results / path

    found = []
    for name in _asked(index.names(), cases, wanted):
        by_machine: dict[str, list[Row]] = defaultdict(list)
        rows = [row for row in index.figures(name) if row[0] in order]
        for row in sorted(rows, key=lambda row: order[row[0]]):
            by_machine[runs[row[0]][0]].append(row)
        for own in by_machine.values():
            context = index.context(own[-1][0])
            if wanted.device is None or fnmatchcase(context.device, wanted.device):
                found.append(_with_steps(name, context, own, place, index.context))
    if not found:
        raise RecordError(f"{wanted.results}: no figures here; `benchbox report --list` shows all")
    return found


def of_runs(runs: Sequence[Run]) -> list[History]:
    """The histories of the cases that several of these runs timed on one machine, set alike."""
    ordered = sorted(runs, key=lambda run: run.context.created)
    contexts = [run.context for run in ordered]
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for number, run in enumerate(ordered):
        machine = differences.followed(run.context)
        for record in run.records:
            if record.latency and record.latency.p50_s and record.status in ("ok", "imprecise"):
                found[record.key, machine].append((number, record.sha256, *figures(record)))

    def place(number: int) -> tuple[str, Path]:
        return contexts[number].created, ordered[number].path

    return [
        _with_steps(name, contexts[rows[-1][0]], rows, place, contexts.__getitem__)
        for (name, _), rows in found.items()
        if len(rows) > 1
    ]


def _asked(known: Sequence[str], cases: Sequence[str], wanted: Wanted) -> list[str]:
    for case in cases:
        if not any(_is_asked(name, case) for name in known):
            raise RecordError(f"{wanted.results}: no run has a case {case}; names are g2:groups=1")
    return [name for name in known if not cases or any(_is_asked(name, c) for c in cases)]


def _is_asked(name: str, case: str) -> bool:
    spec, _, short = name.partition(":")
    if names.is_glob(case):
        return fnmatchcase(name, case) or fnmatchcase(short, case)
    return case in (name, spec, short)


def _with_steps(
    name: str,
    context: Context,
    rows: Sequence[Row],
    place: Callable[[int], tuple[str, Path]],
    context_of: Callable[[int], Context],
) -> History:
    _, _, *latencies, adjustments = zip(*rows, strict=True)
    p50, low, high = np.array(latencies, float)  # None becomes NaN
    adjusted = np.frombuffer(b"".join(adjustments)).reshape(-1, 6)
    carried = _carried(adjusted[:, :3], adjusted[:, 3:])
    sds = np.nan_to_num(np.log(high / low) / 2 / Z95, posinf=0.0)
    series = np.log(p50) + carried
    levels = steps.levels(series, sds)
    bare = History(name, context, rows, np.exp(carried).tolist(), place)
    found = [_step(context_of, bare, before, after) for before, after in pairwise(levels)]
    return replace(bare, levels=levels, steps=found, overall=steps.overall(series, sds, levels))


def _step(
    context_of: Callable[[int], Context], history: History, before: Level, after: Level
) -> LevelStep:
    places = range(
        max(before.start, after.start - 1 - NEAR), min(after.end, after.start + 1 + NEAR)
    )
    points = [history.point(place) for place in places]
    changes = [
        Change(a, b, differences.between(context_of(a.run), context_of(b.run)))
        for a, b in pairwise(points)
    ]
    own = changes.pop(after.start - 1 - places.start)
    nearby = [each for each in changes if each.what or not each.is_same_graph]
    return LevelStep(after.over(before), own, nearby)


def _carried(slopes: NDArray[Any], usual: NDArray[Any]) -> NDArray[Any]:
    """Ln of what takes each figure to the usual state of the newest that has one."""
    known = np.flatnonzero(~np.isnan(usual[:, 0]))
    if not len(known):
        return np.zeros(len(usual))
    apart = np.log(usual[known[-1]] / usual)
    carried: NDArray[Any] = (np.nan_to_num(slopes) * np.nan_to_num(apart)).sum(axis=1)
    return carried.clip(-WIDEST, WIDEST)
