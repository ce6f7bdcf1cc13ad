"""History of a case on a machine: its p50 from run to run, its steps, and what changed there."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchbox.analysis import controls, set_back, steps
from benchbox.analysis.set_back import Series
from benchbox.analysis.stats import Interval
from benchbox.analysis.steps import Level
from benchbox.errors import RecordError
from benchbox.records import differences, names
from benchbox.records.differences import Difference
from benchbox.records.index import DatedRun, Index
from benchbox.records.model import Context, Run
from benchbox.records.names import Wanted
from benchbox.records.past import CaseRows, Past, Places, by_machine

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
class History:
    """A case, as in `g2:groups=1`, on a machine; `context` is of the newest run.

    `back` sets its figures back to the newest run: by the sentinels and, where it `has_controls`,
    by other cases, whose steps in common are those of the `machine`. `levels` and `steps` are what
    is between and at its changes, `overall` gives the ratio of the newest level to the first. The
    newest graph, where it has too few runs to judge, is a level without a step: `changed` there.
    """

    name: str
    context: Context
    past: Past
    rows: CaseRows
    back: NDArray[np.float64]
    has_controls: bool = False
    levels: Sequence[Level] = ()
    steps: Sequence[LevelStep] = ()
    overall: Callable[[], Interval | None] = lambda: None
    changed: Change | None = None
    machine: Sequence[LevelStep] = ()

    @property
    def set_back_s(self) -> list[float]:
        """The figures set back, of which there may be many."""
        found: list[float] = (self.rows.figures[:, 0] * self.back).tolist()
        return found

    def point(self, index: int) -> Point:
        """A run's figure."""
        run = self.past.runs[self.rows.runs[index]]
        p50, low, high = self.rows.figures[index, :3].tolist()
        return Point(
            *(run.number, run.created, self.past.folder / os.fsdecode(run.path)),
            *(self.past.graphs[self.rows.graphs[index]], p50),
            Interval(p50, low, high) if low == low and high == high else None,
            float(self.back[index]),
        )


def histories(index: Index, cases: Sequence[str], wanted: Wanted) -> list[History]:
    """The histories of cases by name, glob or spec, of all where none is named.

    Raises RecordError for a name that no run has.
    """
    since = f"{wanted.since:%Y-%m-%dT%H:%M:%SZ}" if wanted.since else ""
    runs = index.dated(since)
    asked = _asked(index.names(), cases, wanted)
    found = []
    past, machines = by_machine(runs, index.texts(), wanted.results, index.context)
    for by_case in machines:
        context = index.context(runs[next(iter(by_case.values())).runs[0]].number)
        if wanted.device is None or fnmatchcase(context.device, wanted.device):
            found += _of_machine(past, by_case, [name for name in asked if name in by_case])
    if not found:
        if since and not runs and (newest := index.runs()):
            text = f"{wanted.results}: no run since {since[:16].replace('T', ' ')} UTC"
            raise RecordError(f"{text}; the newest is of {newest[0].created[:10]}")
        devices = ", ".join(dict.fromkeys(Path(os.fsdecode(run.path)).parent.name for run in runs))
        on = f" of {wanted.device}, but of {devices}" if wanted.device and devices else ""
        raise RecordError(
            f"{wanted.results}: no figures{on} here; `benchbox report --list` shows all"
        )
    return sorted(found, key=lambda each: each.name)


def of_runs(runs: Sequence[Run]) -> list[History]:
    """The histories of the cases that several of these runs timed on one machine, set alike."""
    from benchbox.records import indexed_line as line  # here, as it takes a tenth of a history

    numbers = {"": 0}
    dated = [
        DatedRun(
            *(run.context.created, os.fsencode(run.path), number, number),
            line.number(differences.followed(run.context), numbers),
            line.conditions(run.context),
            line.packed(map(line.entry, run.records), numbers),
        )
        for number, run in enumerate(runs)
    ]
    texts = {number: text for text, number in numbers.items()}
    past, machines = by_machine(sorted(dated), texts, Path(), lambda number: runs[number].context)
    return [
        history
        for by_case in machines
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


def _of_machine(past: Past, by_case: Mapping[str, CaseRows], asked: Sequence[str]) -> list[History]:
    """The histories of some cases of a machine, of which each is a control of the others."""
    cases = [*by_case.values()]
    figures = np.concatenate([rows.figures for rows in cases])
    timed, runs = np.unique(np.concatenate([rows.runs for rows in cases]), return_inverse=True)
    alone = [set_back.by_sentinels(rows.figures) for rows in cases]
    values = np.concatenate([series.values for series in alone])
    each_run, others = controls.common(values, runs, _graphs(past, cases, timed, runs))
    machine = _machine_steps(past, timed, set_back.of_machine(figures, runs, each_run))
    ends = np.cumsum([0, *map(len, cases)])
    found = []
    for (name, rows), series, part in zip(by_case.items(), alone, pairwise(ends), strict=True):
        if name in asked:
            without = series.without(others.of(slice(*part)))
            history = _history(name, past, rows, without or series)
            found.append(replace(history, has_controls=without is not None, machine=machine))
    return found


def _graphs(past: Past, cases: Sequence[CaseRows], timed: Places, runs: Places) -> Places:
    """A number for each graph of each case, under each set of versions and settings.

    `timed` are the runs of the cases, `runs` the places in it of the figures.
    """
    case = np.repeat(np.arange(len(cases)), [len(rows) for rows in cases])
    graphs = np.concatenate([rows.graphs for rows in cases])
    # What is not known to be one graph is another in each run.
    graphs = np.where(graphs == 0, graphs.max() + 1 + runs, graphs)
    found, under = np.unique([past.runs[n].conditions for n in timed], return_inverse=True)
    graphs = (case * (graphs.max() + 1) + graphs) * len(found) + under[runs]
    numbers: Places = np.unique(graphs, return_inverse=True)[1]
    return numbers


def _machine_steps(past: Past, runs: Places, figures: NDArray[np.float64]) -> Sequence[LevelStep]:
    """The steps of what all cases of a machine have in common that its sentinels do not explain."""
    known = np.flatnonzero(~np.isnan(figures[:, 0]))
    if not len(known):
        return ()
    rows = CaseRows(runs[known], np.zeros(len(known), int), figures[known])
    series = set_back.by_sentinels(rows.figures)  # for its doubts: these are set back
    series = replace(series, values=series.values - series.back)
    return _history("all cases", past, rows, series).steps


def _history(name: str, past: Past, rows: CaseRows, series: Series) -> History:
    newest = past.context(past.runs[rows.runs[-1]].number)
    bare = History(name, newest, past, rows, np.exp(series.back))
    judged = _judged(rows.graphs)
    part = series.part(0, judged)
    levels = steps.levels(*part)
    found = [_step(bare, before, after) for before, after in pairwise(levels)]
    overall = partial(steps.overall, levels, *part)
    whole = replace(bare, levels=levels, steps=found, overall=overall)
    if judged == len(rows):
        return whole
    (level,) = steps.levels(*series.part(judged, len(rows)))
    level = replace(level, start=judged, end=len(rows))
    return replace(whole, levels=[*levels, level], changed=_change(bare, judged))


def _judged(graphs: Places) -> int:
    """The number of runs before the newest graph, where that has too few; of all others all."""
    others = np.flatnonzero(graphs != graphs[-1])
    place = int(others[-1]) + 1 if len(others) else 0
    is_known = place and graphs[-1] and graphs[place - 1]
    return place if is_known and len(graphs) - place < steps.FEWEST else len(graphs)


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
