"""Limits on figures, each decided by the whole interval, and the interval of a percentile."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchbox.analysis import stats
from benchbox.analysis.stats import Interval

Kept = Literal["within", "over", "unclear"]
RESAMPLES = 400
SEED = 20


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that a figure may be: a ratio, seconds, bytes or a count.

    `text` is how it was written, `percentile` that of a latency.
    """

    text: str
    figure: Literal["slower", "latency", "peak_memory", "params", "flops"]
    most: float
    percentile: float | None = None


def kept(figure: Interval | None, most: float) -> Kept:
    """Whether a figure keeps a limit; unclear where that lies within its interval."""
    if figure is None:
        return "unclear"
    if figure.low > most:
        return "over"
    return "within" if figure.high <= most else "unclear"


def percentile_interval(rounds: Sequence[Sequence[float]], q: float) -> Interval | None:
    """The q-quantile of all calls and its 95% interval, None for too few calls or rounds.

    Calls in a row are correlated, so whole rounds are drawn again, with replacement.
    """
    every = sorted((value, index) for index, values in enumerate(rounds) for value in values)
    value = stats.percentile([each for each, _ in every], q)
    if value is None or len(rounds) < stats.MIN_ROUNDS:
        return None
    draw = random.Random(SEED)
    found = sorted(_weighted(every, _counts(draw, len(rounds)), q) for _ in range(RESAMPLES))
    tail = (1 - stats.CONFIDENCE) / 2
    return Interval(
        value,
        min(value, stats.quantile(found, tail)),
        max(value, stats.quantile(found, 1 - tail)),
    )


def _counts(draw: random.Random, rounds: int) -> list[int]:
    """How often each round is drawn."""
    counts = [0] * rounds
    for index in draw.choices(range(rounds), k=rounds):
        counts[index] += 1
    return counts


def _weighted(every: Sequence[tuple[float, int]], counts: Sequence[int], q: float) -> float:
    """The q-quantile of sorted values, each as often as its round was drawn."""
    left = (1 - q) * sum(counts[index] for _, index in every)
    for value, index in reversed(every):
        left -= counts[index]
        if left < 0:
            return value
    return every[0][0]
