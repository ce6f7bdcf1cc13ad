"""Choice by a latency budget: what fits with its whole interval, and the Pareto front."""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Literal

from benchbox.analysis import stats
from benchbox.analysis.adjusted import Z95
from benchbox.analysis.latency import GOOD, Latency

Fit = Literal["fits", "may fit", "does not fit"]
Bounds = tuple[float, float, float]  # a latency in seconds and the ends of its interval


def bounds(latency: Latency) -> Bounds:
    """The p50 with its interval; one that is not of the usual state is only below what it is then.

    What was disturbed takes no longer undisturbed, and never less than its fastest call.
    """
    interval = latency.interval
    if interval is None:
        return latency.p50_s, latency.min_s, math.inf
    low = interval.low if latency.basis in GOOD else latency.min_s
    return latency.p50_s, low, interval.high


def percentile_bounds(rounds: Sequence[Sequence[float]], q: float) -> Bounds | None:
    """The q-quantile of all calls with its 95% interval, None with too few calls for it.

    Calls of one round are correlated, so the error of the share below the quantile comes from the
    differences between rounds (Woodruff 1952, Journal of the American Statistical Association 47).
    """
    every = [*chain.from_iterable(rounds)]
    value = stats.percentile(every, q)
    if value is None or len(rounds) < stats.MIN_ROUNDS:
        return None
    apart = [sum((call <= value) - q for call in calls) for calls in rounds]
    spread = math.sqrt(sum(each**2 for each in apart) * len(rounds) / (len(rounds) - 1))
    error = Z95 * spread / len(every)
    low = stats.quantile(every, max(0.0, q - error))
    return value, low, stats.quantile(every, q + error) if q + error < 1 else math.inf


def fit(found: Bounds, budget_s: float) -> Fit:
    """Whether a latency is within a budget, by its whole interval."""
    _, low, high = found
    if high <= budget_s:
        return "fits"
    return "may fit" if low <= budget_s else "does not fit"


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether each point of cost and worth is on the Pareto front: none is better in both."""
    return [
        not any(
            (cost <= own_cost and worth >= own_worth) and (cost < own_cost or worth > own_worth)
            for cost, worth in points
        )
        for own_cost, own_worth in points
    ]
