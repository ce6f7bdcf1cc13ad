"""Controls: what all cases of a machine have in common from run to run, by unchanged graphs.

A machine that slows down does so to all that it runs, and by more than its sentinels show. So ln of
a figure is taken as that of its graph, and that of its run, and noise, fitted so that a case that
goes its own way counts little. What a case has in common with others is told by the others alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchbox.analysis import stats
from benchbox.analysis.adjusted import RUN_SD

FEWEST = 3  # other cases
ITERATIONS, CONVERGED = 20, 1e-5
FAR = 2.4  # standard deviations: Cauchy's weights, 95% efficient where no case is far off
UNLIKE = 0.2  # of what is common: what cases follow it by more or less, as a standard deviation
BESIDE = 3  # runs to each side of a change of most graphs

Floats = NDArray[np.float64]
Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Common:
    """Ln of what is common to some figures, with standard errors; NaN where it is not known.

    Only within a part, of runs that enough graphs go through, is it known how it changed.
    """

    values: Floats
    errors: Floats
    parts: Places

    def of(self, figures: slice) -> "Common":
        """The same of some of the figures."""
        return Common(self.values[figures], self.errors[figures], self.parts[figures])


def common(values: Floats, runs: Places, graphs: Places) -> tuple[Common, Common]:
    """What ln of figures have in common: in each run, and for each figure by the others of its run.

    `runs` and `graphs` number them, runs in their order. A graph is one under one set of versions,
    as what those change is nothing of the machine.
    """
    counted = (np.bincount(graphs) > 1)[graphs].astype(float)
    of_run, weights, sd = np.zeros(runs.max() + 1), counted, RUN_SD
    apart = values
    for _ in range(ITERATIONS):
        before = of_run
        apart = values - _means(values - of_run[runs], weights, graphs)[graphs]
        of_run = _means(apart, weights, runs)
        if np.abs(of_run - before).max() < CONVERGED:
            break
        left = apart - of_run[runs]
        if counted.any():
            sd = max(stats.SD_OF_MAD * stats.middle(np.abs(left[counted > 0])), RUN_SD)
        weights = counted / (1 + (left / FAR / sd) ** 2)
    cuts = _cuts(runs, graphs)
    level = _moved(of_run, cuts)
    parts = np.searchsorted(cuts, np.arange(len(of_run)), side="right")
    total, sums, count = (np.bincount(runs, each) for each in (weights, weights * apart, counted))
    found = np.where(count > FEWEST, of_run + level, np.nan)
    every = Common(found, sd / np.sqrt(_some(total)), parts)
    rest = _some(total[runs] - weights)
    others = (sums[runs] - weights * apart) / rest
    is_known = count[runs] - counted >= FEWEST
    # Drawn to the middle where runs differ by no more than noise, which setting back would add.
    errors = sd / np.sqrt(rest)
    spread = max(0.0, float(np.var(of_run)) - float(np.mean(errors**2)))
    others *= spread / (spread + errors**2)
    return every, Common(np.where(is_known, others + level[runs], np.nan), errors, parts[runs])


def _cuts(runs: Places, graphs: Places) -> list[int]:
    """The runs that too few graphs go on to from before, the first and the end among them."""
    count = runs.max() + 1
    ends = np.zeros(count + 1)
    first, last = np.full(graphs.max() + 1, count), np.zeros(graphs.max() + 1, np.intp)
    np.minimum.at(first, graphs, runs)
    np.maximum.at(last, graphs, runs)
    np.add.at(ends, first + 1, 1)
    np.add.at(ends, last + 1, -1)
    through = np.cumsum(ends)[1:-1]
    return [0, *(np.flatnonzero(through < FEWEST) + 1).tolist(), count]


def _moved(of_run: Floats, cuts: Sequence[int]) -> Floats:
    """What takes the runs before each cut to those after it, as other cases do not tell it."""
    moved = np.zeros(len(of_run))
    for start, cut, end in zip(cuts[:-2], cuts[1:-1], cuts[2:], strict=True):
        after = of_run[cut : min(cut + BESIDE, end)].mean()
        moved[cut - 1] = after - of_run[max(start, cut - BESIDE) : cut].mean()
    return moved[::-1].cumsum()[::-1]


def _means(values: Floats, weights: Floats, places: Places) -> Floats:
    found: Floats = np.bincount(places, weights * values) / _some(np.bincount(places, weights))
    return found


def _some(weights: NDArray[np.number[Any]]) -> Floats:
    """The weights, none of them nothing."""
    found: Floats = np.maximum(weights.astype(float), 1e-9)
    return found
