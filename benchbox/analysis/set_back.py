"""Figures of a case from run to run set back to the machine as it is in the newest run.

By its sentinels, whose slopes are the middle ones of all runs, and by what other cases tell.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchbox.analysis import controls
from benchbox.analysis.adjusted import WIDEST, Z95
from benchbox.analysis.controls import Common

Floats = NDArray[np.float64]


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

    def without(self, common: Common) -> "Series":
        """The series without what is common to other cases; where that is not known, as nearby."""
        known = np.flatnonzero(~np.isnan(common.values))
        if not len(known):
            return self
        filled = np.interp(np.arange(len(self.values)), known, common.values[known])
        errors = np.full(len(filled), common.values[known].std())
        errors[known] = common.errors[known]
        back = filled[-1] - filled
        return Series(
            self.values + back,
            np.where(self.sds > 0, np.hypot(self.sds, errors), 0.0),
            self.back + back,
            np.column_stack([self.doubts, controls.UNLIKE * back]),
        )


def by_sentinels(figures: Floats) -> Series:
    """Figures set back by the usual readings of their sentinels.

    Of each run they are p50 and its interval, and of three sentinels slopes, their errors and usual
    readings; what is not known is NaN.
    """
    latencies, slopes, errors, usual = np.split(figures, 4, axis=1)
    p50, low, high = latencies.T
    known = np.flatnonzero(~np.isnan(usual[:, 0]))
    apart = np.zeros_like(usual)
    if len(known):
        apart = np.nan_to_num(np.log(usual[known[-1]] / usual))
        slopes, errors = (np.nanmedian(each[known], axis=0) for each in (slopes, errors))
        back = (apart * slopes).sum(axis=1).clip(-WIDEST, WIDEST)
    else:
        back = np.zeros(len(p50))
    sds = np.nan_to_num(np.log(high / low) / 2 / Z95, posinf=0.0)
    return Series(np.log(p50) + back, sds, back, apart * errors if len(known) else apart)
