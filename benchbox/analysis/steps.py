"""Steps of a series of runs: where the level of a figure changed for good, and by how much.

The values are logarithms, one for each run, weighted by their own intervals. From a step on, the
mean of the next few runs is further from the level before it than noise explains, and by more than
MARGIN. The noise is that of the intervals or, where neighbours differ by more, in proportion to
them, by what these do, as they know nothing of steps. Neighbours are runs and, of many, the means
of some in a row: where runs are correlated these differ by more. What is found so counts as a step
where there is evidence beside noise that is correlated. A single run that is far off is none: each
is drawn in to CLIP standard deviations of its neighbours.

Values that were set back by something are in doubt by what is uncertain of that, which is the same
in all runs: `doubts` has a column for each such thing, its standard error times what it did.
"""

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchbox.analysis import evidence, stats
from benchbox.analysis.adjusted import RUN_SD, Z95
from benchbox.analysis.stats import MARGIN, Interval

WINDOWS = (3, 8, 20)  # runs after a step: few find a large one at once, many a small one
FEWEST = 3  # runs that make a level
SURE = 2.4  # times ln of the number of runs: the square of so many standard errors
PASSES = 4  # to find steps that larger ones hide
NEAR = 2  # runs to each side that a run is compared with
CLIP = 2.0  # standard deviations
# Runs whose means are compared, in a series of so many at least: else a step is in most pairs.
BLOCKS = {1: 2, 2: 18, 4: 36, 8: 56, 16: 112}
SOUGHT = {1: 2, 8: 112, 16: 224}  # the same where steps are looked for: evidence has the rest

Floats = NDArray[np.float64]
Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Level:
    """A level from run `start` to before run `end`: ln of it, and its standard error.

    `doubt` is the mean of the doubts of its runs.
    """

    start: int
    end: int
    value: float
    error: float
    doubt: tuple[float, ...] = ()

    @property
    def interval(self) -> Interval:
        """The level itself with its 95% interval."""
        return _interval(self.value, math.hypot(self.error, *self.doubt))

    def over(self, before: "Level") -> Interval:
        """The ratio to an earlier level, with its 95% interval."""
        doubt = map(operator.sub, self.doubt, before.doubt)
        return _interval(self.value - before.value, math.hypot(self.error, before.error, *doubt))


def _interval(value: float, error: float) -> Interval:
    more = math.exp(Z95 * error)
    return Interval(math.exp(value), math.exp(value) / more, math.exp(value) * more)


def levels(series: Floats, sds: Floats, doubts: Floats | None = None) -> list[Level]:
    """The levels between the steps of a series; `sds` are the runs' own, 0 where not known.

    Steps that are found are taken out of what noise is told by, which may show smaller ones.
    """
    doubts = np.zeros((len(series), 0)) if doubts is None else doubts
    found = _between(series, sds, np.zeros(len(series)))
    for _ in range(PASSES if len(found) > 1 else 0):
        flat = np.repeat([each.value for each in found], [each.end - each.start for each in found])
        more = _between(series, sds, flat)
        if len(more) < len(found):
            break
        is_all, found = len(more) == len(found), more
        if is_all:
            break
    starts = _kept(series, _own(sds), doubts, [each.start for each in found])
    return _sure(series, sds, doubts, starts)


def _kept(series: Floats, own: Floats, doubts: Floats, starts: Sequence[int]) -> list[int]:
    """The starts of the levels that there is evidence for, without the least likely one by one."""
    kept = list(starts)

    @cache
    def lack(before: int, at: int, end: int) -> float:
        within = slice(before, end)
        return evidence.lack(series[within], own[within], doubts[within], at - before)

    while len(kept) > 1:
        ends = [*kept[2:], len(series)]
        lacks = list(map(lack, kept[:-1], kept[1:], ends))
        if max(lacks) <= 0:
            break
        del kept[1 + lacks.index(max(lacks))]
    return kept


def _sure(series: Floats, sds: Floats, doubts: Floats, starts: Sequence[int]) -> list[Level]:
    """The levels from these starts, but for those whose ratio to the one before may be 1."""
    ends = [*starts[1:], len(series)]
    means = [float(series[start:end].mean()) for start, end in zip(starts, ends, strict=True)]
    flat = np.repeat(means, np.subtract(ends, starts))
    found = _levels(_sums(series, _noise(series - flat, sds)), starts, ends, doubts)
    ratios = [after.over(before) for before, after in pairwise(found)]
    unsure = [
        at for at, ratio in zip(starts[1:], ratios, strict=True) if ratio.low <= 1 <= ratio.high
    ]
    left = [start for start in starts if start != min(unsure, default=None)]
    return _sure(series, sds, doubts, left) if unsure else found


def _between(series: Floats, sds: Floats, flat: Floats) -> list[Level]:
    """The levels by the noise of a series without those that are known."""
    sums, starts = _sums(series, _noise(series - flat, sds, SOUGHT)), [0]
    while (step := _next(sums, starts[-1])) is not None:
        starts.append(step)
    return _levels(sums, starts, [*starts[1:], len(series)], np.zeros((len(series), 0)))


def overall(
    found: Sequence[Level], series: Floats, sds: Floats, doubts: Floats | None = None
) -> Interval | None:
    """The newest of the levels over the first one: what several steps, each small, add up to.

    Of one level its last runs over its first, as a drift is no step; None for too few.
    """
    if len(found) > 1:
        return found[-1].over(found[0])
    count, runs = min(len(series) // 3, WINDOWS[-1]), len(series)
    if count < FEWEST:
        return None
    doubts = np.zeros((runs, 0)) if doubts is None else doubts
    sums = _sums(series, _noise(series, sds))
    first, last = _levels(sums, [0, runs - count], [count, runs], doubts)
    return last.over(first)


def _sums(series: Floats, noise: Floats) -> "Sums":
    weights = 1 / noise**2
    return Sums(_summed(weights), _summed(weights * _drawn_in(series, noise)))


def _levels(
    sums: "Sums", starts: Sequence[int], ends: Sequence[int], doubts: Floats
) -> list[Level]:
    means = zip(*sums.mean(np.array(starts), np.array(ends)), strict=True)
    return [
        Level(
            start, end, float(value), float(error), tuple(doubts[start:end].mean(axis=0).tolist())
        )
        for start, end, (value, error) in zip(starts, ends, means, strict=True)
    ]


class Sums(NamedTuple):
    """The sums of weights, and of weighted values, before each run of a series."""

    weights: Floats
    values: Floats

    def mean(self, start: Places, end: Places) -> tuple[Floats, Floats]:
        """The means from some runs to before others, and their standard errors."""
        weight = self.weights[end] - self.weights[start]
        return (self.values[end] - self.values[start]) / weight, 1 / np.sqrt(weight)


def _summed(values: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(values)])


def _own(sds: Floats) -> Floats:
    """The standard deviation of each run by its own interval, the usual one where it has none."""
    known = sds[sds > 0]
    usual = stats.middle(known) if len(known) else RUN_SD
    return np.maximum(np.where(sds > 0, sds, usual), usual / 2)


def _noise(series: Floats, sds: Floats, blocks: Mapping[int, int] = BLOCKS) -> Floats:
    """The standard deviation of each run: its own, times what neighbours differ by beyond it."""
    own = _own(sds)
    values, squares = _summed(series), _summed(own**2)
    found = [_excess(values, squares, n) for n, least in blocks.items() if len(series) >= least]
    return own * max([1.0, *found])


def _excess(values: Floats, squares: Floats, block: int) -> float:
    """How many times as far apart the means of blocks side by side are as they should be.

    `values` and `squares` are the sums before each run, of the series and of its own variances.
    Runs that are correlated, as in states that last for nights, show in the longer ones. Steps
    are in few of the pairs, which the median leaves out.
    """
    apart = values[2 * block :] - 2 * values[block:-block] + values[: -2 * block]
    error = np.sqrt(squares[2 * block :] - squares[: -2 * block])
    return stats.SD_OF_MAD * stats.middle(np.abs(apart) / error)


def _drawn_in(series: Floats, noise: Floats) -> Floats:
    """The series without single runs that are far off their neighbours."""
    if len(series) <= NEAR:
        return series
    padded = np.pad(series, NEAR, mode="reflect")
    near = _middles(*np.lib.stride_tricks.sliding_window_view(padded, 2 * NEAR + 1).T)
    return np.clip(series, near - CLIP * noise, near + CLIP * noise)


def _middles(a: Floats, b: Floats, c: Floats, d: Floats, e: Floats) -> Floats:
    """The medians of five: without the least and the most of four of them, that of three."""
    low = np.maximum(np.minimum(a, b), np.minimum(c, d))
    high = np.minimum(np.maximum(a, b), np.maximum(c, d))
    found: Floats = np.maximum(np.minimum(low, high), np.minimum(np.maximum(low, high), e))
    return found


def _next(sums: Sums, start: int) -> int | None:
    """The first step after the beginning of a level."""
    runs = len(sums.weights) - 1
    sure = math.sqrt(SURE * math.log(max(runs, 2)))
    ends = []
    for window in WINDOWS:
        at = np.arange(start + FEWEST, runs - window + 1)
        change, error = _apart(sums, np.full(len(at), start), at, at + window)
        steps = at[(change > sure * error) & (change > MARGIN)]
        ends += [int(steps[0]) + window] if len(steps) else []
    if not ends:
        return None
    at = np.arange(start + FEWEST, min(ends))
    change, error = _apart(sums, np.full(len(at), start), at, np.full(len(at), min(ends)))
    return int(at[np.argmax(change / error)])


def _apart(sums: Sums, start: Places, at: Places, end: Places) -> tuple[Floats, Floats]:
    """The distance of the means before and after each place, with its error."""
    before, after = sums.mean(start, at), sums.mean(at, end)
    return np.abs(after[0] - before[0]), np.hypot(before[1], after[1])
