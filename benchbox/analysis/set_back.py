"""Figures of a case from run to run set back to the machine as it is in the newest run.

By its sentinels, with the middle slopes of all runs, and then by what other cases tell.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchbox.analysis import controls, stats
from benchbox.analysis.adjusted import WIDEST, Z95
from benchbox.analysis.controls import Common

Floats = NDArray[np.float64]
Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Series:
    """Figures set back, as ln, and their standard deviations, 0 where not known.

    `back` is ln of what they were set back by, `doubts` are those of steps.levels.
    """

    values: Floats
    sds: Floats
    back: Floats
    doubts: Floats

    def part(self, start: int, end: int) -> tuple[Floats, Floats, Floats]:
        """Values, standard deviations and doubts of some runs."""
        return self.values[start:end], self.sds[start:end], self.doubts[start:end]

    def without(self, common: Common) -> "Series | None":
        """The series without what is common to other cases; None where most runs have too few.

        Where it is not known what is common, it is taken as nearby. The sentinels' doubts are left
        from one part to another alone.
        """
        known = np.flatnonzero(~np.isnan(common.values))
        if 2 * len(known) < len(self.values):
            return None
        filled = np.interp(np.arange(len(self.values)), known, common.values[known])
        errors = np.full(len(filled), common.values[known].std())
        errors[known] = common.errors[known]
        back = filled[-1] - filled
        return Series(
            self.values + back,
            np.where(self.sds > 0, np.hypot(self.sds, errors), 0.0),
            self.back + back,
            np.column_stack([controls.UNLIKE * (self.back + back), self._between(common.parts)]),
        )

    def _between(self, parts: Places) -> Floats:
        """The mean doubts of each part, over those of the newest."""
        sums = np.stack([np.bincount(parts, column) for column in self.doubts.T], axis=1)
        means = sums / np.maximum(np.bincount(parts), 1)[:, None]
        found: Floats = means[parts] - means[parts[-1]]
        return found


def by_sentinels(figures: Floats) -> Series:
    """Figures set back by the usual readings of their sentinels.

    Of each run they are p50 and its interval, and of three sentinels slopes, their errors and usual
    readings; what is not known is NaN.
    """
    _, slopes, errors, usual = np.split(figures, 4, axis=1)
    known = np.flatnonzero(~np.isnan(usual[:, 0]))
    apart = np.zeros_like(usual)
    if len(known):
        apart = np.nan_to_num(np.log(usual[known[-1]] / usual))
        slopes, errors = (np.array([*map(_usual, each[known].T)]) for each in (slopes, errors))
    back = (apart * np.nan_to_num(slopes)).sum(axis=1).clip(-WIDEST, WIDEST)
    doubts = apart * np.nan_to_num(errors)
    return Series(np.log(figures[:, 0]) + back, _sds(figures), back, doubts)


def _usual(values: Floats) -> float:
    """The middle of the values that are known, 0 of none."""
    known = values[~np.isnan(values)]
    return stats.middle(known) if len(known) else 0.0


def of_machine(figures: Floats, runs: Places, common: Common) -> Floats:
    """What is common to figures that are set back, as figures, with the mean of their sentinels."""
    half = Z95 * common.errors
    ends = np.exp([common.values, common.values - half, common.values + half])
    known, facts = ~np.isnan(figures[:, 3:]), np.nan_to_num(figures[:, 3:])
    counts, sums = (
        np.stack([np.bincount(runs, column) for column in each.T]) for each in (known, facts)
    )
    return np.concatenate([ends, np.where(counts > 0, sums, np.nan) / np.maximum(counts, 1)]).T


def _sds(figures: Floats) -> Floats:
    sds: Floats = np.nan_to_num(np.log(figures[:, 2] / figures[:, 1]) / 2 / Z95, posinf=0.0)
    return sds
