"""Past of a folder: the figures of all cases by machine and case, in the order of their runs."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchbox.records.index import DatedRun
from benchbox.records.model import Context

Floats = NDArray[np.float64]
Places = NDArray[np.intp]
Figures = tuple[str, int, str, bytes]  # as Index.figures has them


@dataclass(frozen=True, slots=True)
class Past:
    """The runs that histories are of, the oldest first: their folder, graphs and contexts."""

    runs: Sequence[DatedRun]
    folder: Path
    graphs: Sequence[str]
    context: Callable[[int], Context]


@dataclass(frozen=True, slots=True)
class CaseRows:
    """The rows of a case: the places of run and graph in the past, and the figures of its index."""

    runs: Places
    graphs: Places
    figures: Floats

    def __len__(self) -> int:
        return len(self.runs)


def by_machine(
    runs: Sequence[DatedRun],
    rows: Sequence[Figures],
    folder: Path,
    context: Callable[[int], Context],
) -> tuple[Past, list[dict[str, CaseRows]]]:
    """The rows of these runs by machine and case, each in the order of the runs."""
    place = {run.number: place for place, run in enumerate(runs)}
    kept = [row for row in rows if row[1] in place]
    if not kept:
        return Past(runs, folder, [], context), []
    names, graphs, machines = _Numbers(), _Numbers({"": 0}), _Numbers()
    of_run = np.array([machines[run.machine] for run in runs], int)
    at = np.array([place[row[1]] for row in kept], int)
    named = np.array([names[row[0]] for row in kept], int)
    timed = np.array([graphs[row[2]] for row in kept], int)
    figures = np.frombuffer(b"".join(row[3] for row in kept)).reshape(len(kept), -1)
    order = np.lexsort((at, named, of_run[at]))
    ends = np.flatnonzero(np.diff(of_run[at[order]]) | np.diff(named[order])) + 1
    found: dict[int, dict[str, CaseRows]] = defaultdict(dict)
    every = [*names]
    for part in np.split(order, ends):
        of_case = CaseRows(at[part], timed[part], figures[part])
        found[of_run[at[part[0]]]][every[named[part[0]]]] = of_case
    return Past(runs, folder, [*graphs], context), [*found.values()]


class _Numbers(dict[str, int]):
    """A number for each text, in the order in which they are first asked for."""

    def __missing__(self, text: str) -> int:
        self[text] = number = len(self)
        return number
