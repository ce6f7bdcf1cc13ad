"""Statistics of latencies: the median with its interval, percentiles, paired ratios.

Everything here is a function of numbers. Latencies of calls in a row are correlated, so intervals
come from one median per round, never from single calls: on simulated AR(1) samples (rho 0.6) a
nominal 95% interval from single calls covers 74%, one from 20 round medians 93%.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from statistics import NormalDist, fmean, median, variance
from typing import TYPE_CHECKING, Literal

from benchbox.analysis.quantities import Ratio

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

CONFIDENCE = 0.95
MIN_ROUNDS = 6  # the fewest medians that have a 95% interval: 1 - 2 / 2**6 = 0.97
SURE = 0.99  # that two samples lie above a percentile, so that it is not the largest of them
SD_OF_MAD = 1.4826  # of a normal distribution: its standard deviation over the median deviation
MARGIN = 0.01  # two latencies closer than this are the same

Verdict = Literal["FASTER", "SLOWER", "SAME", "UNCLEAR"]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95% interval, in one unit."""

    value: Ratio
    low: Ratio
    high: Ratio

    @property
    def half_width(self) -> float:
        """The larger distance from the estimate to an end, relative to the estimate."""
        if self.value <= 0:
            return math.inf
        return max(self.high - self.value, self.value - self.low) / self.value


def middle(values: "NDArray[float64]") -> float:
    """The median of an array, by less than numpy's own loads: masked arrays, for no use here."""
    ends = (len(values) - 1) // 2, len(values) // 2
    parted = values.copy()
    parted.partition(ends)
    return float(parted[ends[0]] + parted[ends[1]]) / 2


def median_interval(values: Sequence[float]) -> Interval | None:
    """The median and its distribution-free 95% interval, None for fewer than MIN_ROUNDS.

    The interval lies between order statistics, interpolated to the nominal confidence
    (Hettmansperger and Sheather 1986, Statistics and Probability Letters 4).
    """
    count = len(values)
    if count < MIN_ROUNDS:
        return None
    ordered = sorted(values)
    # The interval between the k-th smallest and the k-th largest covers 1 - 2 P(B < k), B binomial.
    # Whole numbers up to the division: a float holds no binomial of more than 1029 rounds.
    ways, below = 1, 1
    k, covers = 1, 1 - 2 / 2**count
    tail = below / 2**count
    while 2 * (k + 1) <= count:
        ways = ways * (count - k + 1) // k
        below += ways
        tail = below / 2**count
        if 1 - 2 * tail < CONFIDENCE:
            break
        k, covers = k + 1, 1 - 2 * tail
    inner = 1 - 2 * tail if 2 * (k + 1) <= count else covers
    share = (covers - CONFIDENCE) / (covers - inner) if covers > inner else 0.0
    weight = (count - k) * share / (k + (count - 2 * k) * share) if share else 0.0
    low = _between(ordered[k - 1], ordered[min(k, count - 1)], weight)
    high = _between(ordered[count - k], ordered[max(count - k - 1, 0)], weight)
    return Interval(median(ordered), low, high)


def _between(outer: float, inner: float, weight: float) -> float:
    return outer + weight * (inner - outer)


def quantile(values: Sequence[float], q: float) -> float:
    """The q-quantile, linear between the two nearest values; `values` must not be empty."""
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def ratio_interval(
    rounds: Mapping[tuple[int, int], float], reference: Mapping[tuple[int, int], float]
) -> Interval | None:
    """The ratio of two cases from the rounds they share, by the median of log ratios.

    Both map a round to the median latency in it. Drift from round to round cancels. None for fewer
    than MIN_ROUNDS shared rounds.
    """
    shared = rounds.keys() & reference.keys()
    logs = [math.log(rounds[key] / reference[key]) for key in shared]
    interval = median_interval(logs)
    if interval is None:
        return None
    return Interval(math.exp(interval.value), math.exp(interval.low), math.exp(interval.high))


def verdict(ratio: Interval | None, margin: float = MARGIN) -> Verdict:
    """The verdict on the first of two cases by the interval of their latency ratio.

    FASTER and SLOWER only where the whole interval lies beyond the margin, SAME only where all of
    it lies inside.
    """
    if ratio is None:
        return "UNCLEAR"
    if ratio.low > 1 + margin:
        return "SLOWER"
    if ratio.high < 1 / (1 + margin):
        return "FASTER"
    inside = ratio.low >= 1 / (1 + margin) and ratio.high <= 1 + margin
    return "SAME" if inside else "UNCLEAR"


def components(groups: Sequence[Sequence[float]]) -> tuple[float | None, float | None]:
    """The relative standard deviations within groups and between them; values are positive.

    Random effects on logarithms, by medians, since rounds have outliers: within, from the median
    absolute deviation; between, from what the spread of the groups' medians exceeds what
    the deviation within explains. None where there is nothing to take it from: no group of two
    values, no two groups.
    """
    if any(value <= 0 for group in groups for value in group):
        return None, None  # calls shorter than a tick of the clock
    logs = [[math.log(value) for value in group] for group in groups if group]
    centres = [median(group) for group in logs]
    pairs = [(group, c) for group, c in zip(logs, centres, strict=True) if len(group) > 1]
    apart = [abs(value - centre) for group, centre in pairs for value in group]
    if not apart:
        return None, None
    within = SD_OF_MAD * median(apart)
    if len(logs) < 2:
        return within, None
    # The variance of a median of n normal values is pi / 2 times that of their mean.
    explained = fmean([math.pi / 2 * within**2 / len(group) for group in logs])
    return within, math.sqrt(max(0.0, variance(centres) - explained))


def student(freedom: int) -> float:
    """The 97.5% quantile of Student's t, within 1% from 3 degrees of freedom on.

    By the first terms of its expansion around the normal one (Abramowitz and Stegun 26.7.5).
    """
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )


def percentile(values: Sequence[float], q: float) -> float | None:
    """The q-quantile, None when there are fewer values than it needs."""
    return quantile(values, q) if len(values) >= samples_for(q) else None


@cache
def samples_for(q: float) -> int:
    """The fewest samples of which two lie above the q-quantile, almost surely: 662 for p99."""
    return next(n for n in count(2) if q**n + n * (1 - q) * q ** (n - 1) <= 1 - SURE)
