"""Evidence for a step in a series of runs, beside noise that is correlated from run to run.

A machine's states hold for some runs, and a series that wanders by them soon seems to have a step.
So the likelihood of the series with a step is set against the one without, each of them averaged
over what the noise may be: the runs' own, what they were set back by in error, and beyond it a
share that fades from run to run (an AR(1) process). Where a few runs do not tell these apart,
neither does the evidence.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchbox.analysis import stats

# Variance beyond the runs' own, in units of that, and its correlation from one run to the next.
NOISES = ((0.0, 0.5), *((share, rho) for share in (0.5, 1.0, 2.0, 4.0) for rho in (0.5, 0.7)))
# Twice the ln of the likelihoods' ratio that a step needs: slope by ln of the runs, and offset. By
# simulation: 95% of steps of 5% reach it within three runs with the noise of the reference runs.
SLOPE, OFFSET = 3.4, -0.4
BEFORE, AFTER = 40, 24  # runs that are looked at

Floats = NDArray[np.float64]


def lack(series: Floats, own: Floats, doubts: Floats, at: int) -> float:
    """What the evidence for a step at a run lacks; none for one that is there.

    Of all runs at once the `doubts` are that much in error, of which each column is independent.
    """
    near = slice(max(0, at - BEFORE), at + AFTER)
    doubts = doubts[near] - doubts[near].mean(axis=0)
    found = _evidence(series[near], own[near], doubts @ doubts.T, min(at, BEFORE))
    return SLOPE * math.log(len(series[near])) + OFFSET - found


def _evidence(series: Floats, own: Floats, shared: Floats, at: int) -> float:
    """Twice the ln of the likelihood with a step over the one without."""
    places = np.arange(len(series))
    apart = np.abs(np.subtract.outer(places, places))
    columns = np.stack([series, np.ones(len(series)), places >= at], axis=1)
    usual = stats.middle(own) ** 2
    without, with_step = list[float](), list[float]()
    for share, rho in NOISES:
        noise = np.diag(own**2) + shared + share * usual * (rho**places)[apart]
        lower = np.linalg.cholesky(noise)
        values, one, step = np.linalg.solve(lower, columns).T
        values, step = (each - one * (one @ each) / (one @ one) for each in (values, step))
        bare = -2 * float(np.log(np.diag(lower)).sum()) - float(values @ values)
        without.append(bare)
        with_step.append(bare + float(step @ values) ** 2 / float(step @ step))
    return _ln_sum(with_step) - _ln_sum(without)


def _ln_sum(twice: Sequence[float]) -> float:
    """Twice the ln of a sum, by twice the ln of its parts."""
    most = max(twice)
    return most + 2 * math.log(sum(math.exp((each - most) / 2) for each in twice))
