"""Past of a folder: the figures of all cases by machine and case, in the order of their runs."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchbox.records.index import DatedRun
from benchbox.records.model import Context

Floats = NDArray[np.float64]
Places = NDArray[np.intp]
ROW = np.dtype([("name", "q"), ("graph", "q"), ("figures", "12d")])  # as indexed_line packs it


@dataclass(frozen=True, slots=True)
class Past:
    """The runs that histories are of, the oldest first: their folder, graphs and contexts."""

    runs: Sequence[DatedRun]
    folder: Path
    graphs: Mapping[int, str]
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
    texts: Mapping[int, str],
    folder: Path,
    context: Callable[[int], Context],
) -> tuple[Past, list[dict[str, CaseRows]]]:
    """The rows of these runs by machine and case, each in the order of the runs."""
    past = Past(runs, folder, texts, context)
    packed = b"".join(run.packed for run in runs)
    if not packed:
        return past, []
    rows = np.frombuffer(packed, ROW)
    at = np.repeat(np.arange(len(runs)), [len(run.packed) // ROW.itemsize for run in runs])
    numbers = {each: n for n, each in enumerate(dict.fromkeys(run.machine for run in runs))}
    machine = np.array([numbers[run.machine] for run in runs])[at]
    order = np.lexsort((rows["name"], machine))
    ends = np.flatnonzero(np.diff(machine[order]) | np.diff(rows["name"][order])) + 1
    found: dict[int, dict[str, CaseRows]] = defaultdict(dict)
    for part in np.split(order, ends):
        name = texts[rows["name"][part[0]]]
        of_case = CaseRows(at[part], rows["graph"][part], rows["figures"][part])
        found[machine[part[0]]][name] = of_case
    return past, [*found.values()]
