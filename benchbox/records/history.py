"""History of a case on a machine: its p50 from run to run, its steps, and what changed there."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchbox.analysis import controls, set_back, steps
from benchbox.analysis.adjusted import Z95
from benchbox.analysis.controls import Common
from benchbox.analysis.set_back import Series
from benchbox.analysis.stats import Interval
from benchbox.analysis.steps import Level
from benchbox.errors import RecordError
from benchbox.records import differences, names
from benchbox.records.differences import Difference
from benchbox.records.index import DatedRun, Index, conditions
from benchbox.records.indexed_line import NOT_ADJUSTED, figures
from benchbox.records.model import Context, Run
from benchbox.records.names import Wanted

Row = tuple[Any, ...]  # run, sha256, and indexed_line.COLUMNS
ByCase = dict[str, list[Row]]
NEAR = 2  # runs to each side of a step
FEW = 3  # cases that are named


@dataclass(frozen=True, slots=True)
class Point:
    """A run's figure in seconds with its interval, as recorded.

    `back` times that is the figure set back to the state of the machine in the newest run.
    """

    run: int
    created: str
    path: Path
    sha256: str
    p50_s: float
    interval: Interval | None
    back: float

    @property
    def set_back(self) -> Interval:
        """The figure set back, with its interval as recorded, of none its value alone."""
        found = self.interval or Interval(*(self.p50_s,) * 3)
        return Interval(*(end * self.back for end in (found.value, found.low, found.high)))


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
class Past:
    """The runs that histories are of: by their numbers, their folder, and their contexts."""

    runs: Mapping[int, DatedRun]
    folder: Path
    context: Callable[[int], Context]


@dataclass(frozen=True, slots=True)
class History:
    """A case, as in `g2:groups=1`, on a machine; `context` is of the newest run.

    `back` sets its figures back to the newest run: by the sentinels and, where it `has_controls`,
    by other cases, whose steps in common are those of the `machine`. `levels` and `steps` are what
    is between and at its changes, `overall` is the ratio of the newest level to the first. The
    newest graph, where it has too few runs to judge, is a level without a step: `changed` there.
    """

    name: str
    context: Context
    past: Past
    rows: Sequence[Row]
    back: Sequence[float]
    has_controls: bool = False
    levels: Sequence[Level] = ()
    steps: Sequence[LevelStep] = ()
    overall: Interval | None = None
    changed: Change | None = None
    machine: Sequence[LevelStep] = ()

    @property
    def set_back_s(self) -> list[float]:
        """The figures set back, of which there may be many."""
        return [row[2] * factor for row, factor in zip(self.rows, self.back, strict=True)]

    def point(self, index: int) -> Point:
        """A run's figure."""
        number, sha256, p50, low, high, _ = self.rows[index]
        run = self.past.runs[number]
        interval = None if None in (low, high) else Interval(p50, low, high)
        path = self.past.folder / run.path
        return Point(number, run.created, path, sha256, p50, interval, self.back[index])


def histories(index: Index, cases: Sequence[str], wanted: Wanted) -> list[History]:
    """The histories of cases by name, glob or spec, of all where none is named.

    Raises RecordError for a name that no run has.
    """
    runs = index.dated(f"{wanted.since:%Y-%m-%dT%H:%M:%SZ}" if wanted.since else "")
    asked = _asked(index.names(), cases, wanted)
    past = Past(runs, wanted.results, index.context)
    by_machine: dict[str, ByCase] = defaultdict(lambda: defaultdict(list))
    for name, *row in index.figures():
        if row[0] in runs:
            by_machine[runs[row[0]].machine][name].append(tuple(row))
    found = []
    for by_case in by_machine.values():
        context = index.context(next(iter(by_case.values()))[0][0])
        if wanted.device is None or fnmatchcase(context.device, wanted.device):
            found += _of_machine(past, by_case, [name for name in asked if name in by_case])
    if not found:
        devices = ", ".join(dict.fromkeys(Path(run.path).parent.name for run in runs.values()))
        on = f" of {wanted.device}, but of {devices}" if wanted.device and devices else ""
        raise RecordError(
            f"{wanted.results}: no figures{on} here; `benchbox report --list` shows all"
        )
    return sorted(found, key=lambda each: each.name)


def of_runs(runs: Sequence[Run]) -> list[History]:
    """The histories of the cases that several of these runs timed on one machine, set alike."""
    contexts = dict(enumerate(run.context for run in runs))
    dated = {
        number: DatedRun(
            *(differences.followed(run.context), conditions(run.context)),
            *(run.context.created, str(run.path)),
        )
        for number, run in sorted(enumerate(runs), key=lambda each: each[1].context.created)
    }
    by_machine: dict[str, ByCase] = defaultdict(lambda: defaultdict(list))
    for number in dated:
        for record in runs[number].records:
            if record.latency and record.latency.p50_s and record.status in ("ok", "imprecise"):
                row = (number, record.sha256, *figures(record))
                by_machine[dated[number].machine][record.key].append(row)
    past = Past(dated, Path(), contexts.__getitem__)
    return [
        history
        for by_case in by_machine.values()
        for history in _of_machine(past, by_case, [*by_case])
        if len(history.rows) > 1
    ]


def _asked(known: Sequence[str], cases: Sequence[str], wanted: Wanted) -> list[str]:
    for case in cases:
        if not any(_is_asked(name, case) for name in known):
            raise RecordError(f"{wanted.results}: no run has a case {case}{_known(case, known)}")
    return [name for name in known if not cases or any(_is_asked(name, c) for c in cases)]


def _known(case: str, known: Sequence[str]) -> str:
    """Which cases there are, those of alike names if some have any."""
    near = get_close_matches(case, known, n=FEW, cutoff=0.3) or known[:FEW]
    more = f", {len(known) - len(near)} more" if len(known) > len(near) else ""
    return f"; there are {', '.join(near)}{more}" if near else ""


def _is_asked(name: str, case: str) -> bool:
    spec, _, short = name.partition(":")
    if names.is_glob(case):
        return fnmatchcase(name, case) or fnmatchcase(short, case)
    return case in (name, spec, short)


def _of_machine(past: Past, by_case: ByCase, asked: Sequence[str]) -> list[History]:
    """The histories of some cases of a machine, of which each is a control of the others."""
    order = {number: place for place, number in enumerate(past.runs)}
    for rows in by_case.values():
        rows.sort(key=lambda row: order[row[0]])
    timed = sorted({row[0] for rows in by_case.values() for row in rows}, key=order.__getitem__)
    alone = {name: _series(rows) for name, rows in by_case.items()}
    of_runs, others = _common(past, by_case, timed, alone)
    machine = _machine_steps(past, timed, of_runs)
    found = []
    for name in asked:
        history = _history(name, past, by_case[name], alone[name].without(others[name]))
        is_known = not np.isnan(others[name].values).all()
        found.append(replace(history, has_controls=is_known, machine=machine))
    return found


def _series(rows: Sequence[Row]) -> Series:
    _, _, *latencies, adjustments = zip(*rows, strict=True)
    return set_back.by_sentinels(
        np.array(latencies, float).T,  # None becomes NaN
        np.frombuffer(b"".join(adjustments)).reshape(len(rows), -1),
    )


def _common(
    past: Past, by_case: ByCase, timed: Sequence[int], alone: Mapping[str, Series]
) -> tuple[Common, dict[str, Common]]:
    """What figures of a machine have in common in each run, and for each case by the others."""
    place = {number: index for index, number in enumerate(timed)}
    numbers: dict[object, int] = {}
    runs, graphs = list[int](), list[int]()
    for name, rows in by_case.items():
        for number, sha256, *_ in rows:
            runs.append(place[number])
            graph = (name, sha256 or number, past.runs[number].conditions)
            graphs.append(numbers.setdefault(graph, len(numbers)))
    values = np.concatenate([alone[name].values for name in by_case])
    every, others = controls.common(values, np.array(runs), np.array(graphs))
    ends = np.cumsum([len(rows) for rows in by_case.values()])[:-1]
    parts = zip(*(np.split(each, ends) for each in (others.values, others.errors)), strict=True)
    return every, {name: Common(*each) for name, each in zip(by_case, parts, strict=True)}


def _machine_steps(past: Past, timed: Sequence[int], common: Common) -> Sequence[LevelStep]:
    """The steps of what all cases of a machine have in common."""
    half = Z95 * common.errors
    ends = np.exp([common.values, common.values - half, common.values + half]).T.tolist()
    known = zip(timed, ends, strict=True)
    rows = [(run, "", *each, NOT_ADJUSTED) for run, each in known if not math.isnan(each[0])]
    return _history("all cases", past, rows, _series(rows)).steps if rows else ()


def _history(name: str, past: Past, rows: Sequence[Row], series: Series) -> History:
    bare = History(name, past.context(rows[-1][0]), past, rows, np.exp(series.back).tolist())
    judged = _judged(rows)
    levels = steps.levels(*series.part(0, judged))
    found = [_step(bare, before, after) for before, after in pairwise(levels)]
    whole = replace(
        bare, levels=levels, steps=found, overall=steps.overall(levels, *series.part(0, judged))
    )
    if judged == len(rows):
        return whole
    (newest,) = steps.levels(*series.part(judged, len(rows)))
    newest = replace(newest, start=judged, end=len(rows))
    return replace(whole, levels=[*levels, newest], changed=_change(bare, judged))


def _judged(rows: Sequence[Row]) -> int:
    """The number of runs before the newest graph, where that has too few; of all others all."""
    newest = rows[-1][1]
    place = next((n for n in range(len(rows), 0, -1) if rows[n - 1][1] != newest), 0)
    has_few = 0 < len(rows) - place < steps.FEWEST
    return place if place and has_few and newest and rows[place - 1][1] else len(rows)


def _step(history: History, before: Level, after: Level) -> LevelStep:
    places = range(
        max(before.start + 1, after.start - NEAR), min(after.end, after.start + 1 + NEAR)
    )
    changes = {place: _change(history, place) for place in places}
    own = changes.pop(after.start)
    nearby = [each for each in changes.values() if each.what or not each.is_same_graph]
    return LevelStep(after.over(before), own, nearby)


def _change(history: History, place: int) -> Change:
    """The change from the run before to a run."""
    before, after = history.point(place - 1), history.point(place)
    contexts = map(history.past.context, (before.run, after.run))
    return Change(before, after, differences.between(*contexts))
