"""Limits on figures, each decided by the whole interval, and the interval of a percentile."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchbox.analysis import stats
from benchbox.analysis.samples import NS, Burst, figures
from benchbox.analysis.stats import Interval

Kept = Literal["within", "over", "unclear"]
WIDTH = 2.1  # of an interval in standard errors of a few rounds


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that a figure may be: a ratio, seconds, bytes or a count.

    `text` is how it was written, in a `unit` of so much, `percentile` that of a latency.
    """

    text: str
    figure: Literal["slower", "latency", "peak_memory", "params", "flops"]
    most: float
    unit: str
    scale: float
    percentile: float | None = None


def kept(figure: Interval | None, most: float) -> Kept:
    """Whether a figure keeps a limit; unclear where that lies within its interval."""
    if figure is None:
        return "unclear"
    if figure.low > most:
        return "over"
    return "within" if figure.high <= most else "unclear"


def percentile_of(bursts: Sequence[Burst], percentile: float) -> Interval | None:
    """A percentile of all calls of a case with its 95% interval, None for too few."""
    rounds: dict[tuple[int, int], list[float]] = {}
    for burst in figures(bursts):
        values = rounds.setdefault((burst.session, burst.round), [])
        values += [ns * NS for ns in burst.latencies_ns]
    return percentile_interval(list(rounds.values()), percentile / 100)


def percentile_interval(rounds: Sequence[Sequence[float]], q: float) -> Interval | None:
    """The q-quantile of all calls and its 95% interval, None for too few calls or rounds.

    Calls in a row are correlated, so how far the share above the estimate may be from 1 - q comes
    from its scatter between rounds. The upper end is infinite where no call is that far out.
    """
    every = sorted(value for values in rounds for value in values)
    value = stats.percentile(every, q)
    if value is None or len(rounds) < stats.MIN_ROUNDS:
        return None
    above = [sum(each > value for each in values) for values in rounds]
    share = sum(above) / len(every)
    scatter = [n - share * len(values) for n, values in zip(above, rounds, strict=True)]
    spread = math.sqrt(sum(each**2 for each in scatter) * len(rounds) / (len(rounds) - 1))
    half = WIDTH * spread / len(every)
    low, high = q - half, q + half
    is_known = high <= 1 - 1 / len(every)
    return Interval(
        value,
        stats.quantile(every, max(0.0, low)),
        stats.quantile(every, high) if is_known else math.inf,
    )
