"""Choice by a latency budget: what fits with its whole interval, and the Pareto front."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from benchbox.analysis import limits
from benchbox.analysis.latency import GOOD, Latency
from benchbox.analysis.limits import Kept
from benchbox.analysis.stats import Interval

SLOWED = 4.0  # by what disturbs it, every call of a case
Fit = Literal["fits", "may fit", "does not fit"]
FITS: Mapping[Kept, Fit] = {"within": "fits", "unclear": "may fit", "over": "does not fit"}


def held(latency: Latency) -> Interval:
    """The p50 with its interval; one that is not of the usual state is only above what it is then.

    Undisturbed it takes no longer, and less than its fastest call by SLOWED at most.
    """
    interval = latency.interval
    if interval and latency.basis in GOOD:
        return interval
    return Interval(latency.p50_s, latency.min_s / SLOWED, interval.high if interval else math.inf)


def fit(latency: Interval, budget_s: float) -> Fit:
    """Whether a latency is within a budget, by its whole interval."""
    return FITS[limits.kept(latency, budget_s)]


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether each point of cost and worth is on the Pareto front: none is better in both."""
    return [
        not any(
            (cost <= own_cost and worth >= own_worth) and (cost < own_cost or worth > own_worth)
            for cost, worth in points
        )
        for own_cost, own_worth in points
    ]
