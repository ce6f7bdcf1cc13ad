"""Figures of a case from run to run set back to the machine as it is in the newest run.

By what other cases tell or, without enough of them, by the sentinels, with the middle slopes of all
runs: where both are known the sentinels bring the figures of reference runs no nearer.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchbox.analysis import controls
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


def by_controls(figures: Floats, common: Common) -> Series | None:
    """Figures set back by what is common to other cases; None where most runs have too few.

    Of each run `figures` are p50 and its interval, then what `by_sentinels` needs. Where it is not
    known what is common, it is taken as nearby.
    """
    known = np.flatnonzero(~np.isnan(common.values))
    if 2 * len(known) < len(figures):
        return None
    filled = np.interp(np.arange(len(figures)), known, common.values[known])
    errors = np.full(len(figures), common.values[known].std())
    errors[known] = common.errors[known]
    back, sds = filled[-1] - filled, _sds(figures)
    sds = np.where(sds > 0, np.hypot(sds, errors), 0.0)
    return Series(np.log(figures[:, 0]) + back, sds, back, controls.UNLIKE * back[:, None])


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
        slopes, errors = (np.nanmedian(each[known], axis=0) for each in (slopes, errors))
    back = (apart * np.nan_to_num(slopes)).sum(axis=1).clip(-WIDEST, WIDEST)
    doubts = apart * np.nan_to_num(errors)
    return Series(np.log(figures[:, 0]) + back, _sds(figures), back, doubts)


def of_machine(figures: Floats, runs: Places, common: Common) -> Floats:
    """What is common to the figures of each run, as figures, with the mean of their sentinels."""
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
