"""Change-point detection: the window from which latency stays above its first level.

A function of numbers, one per window of time, evenly spaced. The method is simple on purpose:

- The series is smoothed by a running median over up to WIDTH windows, which keeps steps where they
  are and takes out bursts of noise that are shorter than half of that.
- Its first level is the median of its first windows. A window is slow when it lies more than EFFECT
  above that, as smoothed, and by more than the first level is uncertain.
- The change point is the split with the fewest windows on the wrong side: slow ones before it,
  others after it. It counts where the two sides are pure enough, the second is long enough and
  never returned to the first level for long, by the constants below; slow states that come and go
  spoil one of these.
- The last level is the median of the last windows. The steady part reaches back from the end to the
  split that leaves the fewest windows on the wrong side by whether they lie within EFFECT of it.

A slow state that happens to stay until the end cannot be told from a lasting change, and is one as
far as the series goes. Of simulated states that came for 40 s and went for 60 s on average
2% to 3% were called one in ten minutes, of shorter ones none.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from statistics import median

from benchbox.analysis import stats
from benchbox.analysis.stats import Interval

EFFECT = 0.03  # relative; less than this is no change
WIDTH = 9  # windows of the running median
SURE = 4  # standard deviations of a mean, three of a median
FIRST = 10  # windows that make the first level, at most: throttling can begin within half a minute
FEWEST = 20  # windows below which nothing is looked for
LAST = 0.2  # of the series: the shortest part that shows that a change was for good
SLOW_BEFORE = 0.2  # of the windows before a change at most
SLOW_AFTER = 0.7  # of the windows after it at least: a throttled processor can swing
RETURN = 0.04  # of the series: a return to the first level that lasts longer was no swing
BLOCKS = 20  # medians that the interval is taken from; windows next to each other are correlated
DRIFT = 0.02  # from the first to the last third of the steady part: still on its way


@dataclass(frozen=True, slots=True)
class Levels:
    """Levels of a series, and its change point.

    `first` is its first level, `change` the index of the window from which on it was slower for
    good, None if it never was. From window `steady_from` on it stayed at `steady`, a median with
    its interval; `drift` is by how much the level changed in that part, 0 where it did not.
    """

    first: float
    change: int | None
    steady_from: int
    steady: Interval
    drift: float

    @property
    def ratio(self) -> float:
        """The steady level over the first."""
        return self.steady.value / self.first


def detect(series: Sequence[float]) -> Levels | None:
    """Find levels and change point of positive values; None for fewer than FEWEST."""
    if len(series) < FEWEST:
        return None
    smooth = _smooth(series)
    first = median(series[: _first(len(series))])
    tail = max(stats.MIN_ROUNDS, round(LAST * len(series)))
    last = median(smooth[-tail:])
    near = [abs(value / last - 1) <= EFFECT for value in smooth]
    steady_from = min(_split(near), len(series) - tail)
    part = series[steady_from:]
    steady = stats.median_interval(_blocks(part))
    assert steady is not None, "the last part of FEWEST windows has enough blocks"
    value = median(part)
    effect = max(EFFECT, SURE * _scatter(series) / math.sqrt(_first(len(series))))
    return Levels(
        first,
        _change(smooth, first * (1 + effect), tail),
        steady_from,
        Interval(value, min(steady.low, value), max(steady.high, value)),
        _drift(part),
    )


def _change(smooth: Sequence[float], limit: float, tail: int) -> int | None:
    slow = [value > limit for value in smooth]
    change = _split(slow)
    before, after = slow[:change], slow[change:]
    if len(after) < tail or len(before) < _first(len(slow)) // 2:
        return None
    returns = max((len(list(stay)) for is_slow, stay in groupby(after) if not is_slow), default=0)
    lasting = sum(after) >= SLOW_AFTER * len(after) and returns <= max(3, RETURN * len(slow))
    rare = sum(before) <= SLOW_BEFORE * len(before)
    # As it is, and as it ended: not one that had come back by then.
    return change if lasting and rare and 2 * sum(slow[-tail:]) > tail else None


def _split(flags: Sequence[bool]) -> int:
    """The index with the fewest true flags before it and false ones from it on."""
    wrong = best = sum(not flag for flag in flags)
    place = 0
    for index, flag in enumerate(flags, start=1):
        wrong += 1 if flag else -1
        if wrong < best:
            best, place = wrong, index
    return place


def _smooth(series: Sequence[float]) -> list[float]:
    reach = min(WIDTH, _first(len(series))) // 2
    return [median(series[max(0, i - reach) : i + reach + 1]) for i in range(len(series))]


def _scatter(series: Sequence[float]) -> float:
    """The relative standard deviation of single windows, by differences of neighbours.

    These know nothing of steps, and their median nothing of bursts.
    """
    logs = [math.log(value) for value in series]
    apart = median(abs(b - a) for a, b in pairwise(logs))
    return stats.SD_OF_MAD * apart / math.sqrt(2)


def _first(count: int) -> int:
    """The number of windows that make the first level."""
    return max(5, min(FIRST, count // 10))


def _blocks(part: Sequence[float]) -> list[float]:
    """Medians of up to BLOCKS stretches; of short parts the values themselves."""
    count = min(BLOCKS, len(part))
    ends = [index * len(part) // count for index in range(count + 1)]
    return [median(part[a:b]) for a, b in pairwise(ends)]


def _drift(part: Sequence[float]) -> float:
    """The relative change from the first to the last third, 0 where it is small."""
    third = max(1, len(part) // 3)
    change = median(part[-third:]) / median(part[:third]) - 1
    return change if abs(change) > DRIFT else 0.0
