"""Latency over time under continuous load: windows, and the steady state that they reach."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from statistics import median

from benchbox.analysis import changepoint, stats
from benchbox.analysis.latency import Latency
from benchbox.analysis.quantities import (
    Amount,
    Count,
    Nanoseconds,
    Number,
    Ratio,
    Reading,
    Seconds,
    Some,
)
from benchbox.analysis.samples import NS, Burst
from benchbox.analysis.stats import Interval

WINDOW_S = 1.0
MOST = 600  # windows of a series
SHORT = 60  # windows that a series of less than a minute has, as far as they are SHORTEST_S long
SHORTEST_S = 0.05
# Of a window the middle of the bursts, where a burst says how high something was and not how often
# it happened.
GAUGES = ("clock_khz", "temperature_c", "idle_w")
BITS = ("throttled_bits",)  # those of any burst


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of continuous load: `calls` calls from `at_s` on, for `lasts_s`.

    `p50_s` comes from the `quiet` calls, those without an involuntary context switch, or from all
    where there is none; `p90_s` and `min_s` from all. `probe_ns` is the middle reading of the
    sentinel, `seen` what the system says: counters added up, gauges their middle.
    """

    at_s: Amount
    lasts_s: Amount
    p50_s: Seconds
    p90_s: Seconds
    min_s: Seconds
    calls: Some
    quiet: Count
    probe_ns: Nanoseconds | Ratio | None = None
    seen: Mapping[str, Reading] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sustained:
    """A case under continuous load for `asked_s`.

    `first_s` is its latency in the first windows. From `knee_s` seconds on it was slower for good;
    None if it never was. From `steady_from_s` on it stayed at `steady`, but for `drift`, the
    relative change within that part, 0 where there was none. All but the windows are None where
    they are too few to tell.
    """

    asked_s: Seconds
    windows: Sequence[Window]
    first_s: Seconds | None = None
    knee_s: Amount | None = None
    steady: Interval | None = None
    steady_from_s: Amount | None = None
    drift: Number = 0.0

    @property
    def ratio(self) -> float | None:
        """The steady latency over the first."""
        return self.steady.value / self.first_s if self.steady and self.first_s else None

    @property
    def steady_windows(self) -> list[Window]:
        """The windows of the steady part, all where none is known."""
        begin = self.steady_from_s or 0.0
        return [window for window in self.windows if window.at_s >= begin]


def length_s(asked_s: float) -> float:
    """The length of each window of a series."""
    longest = WINDOW_S if asked_s >= SHORT * WINDOW_S else asked_s / SHORT
    return max(SHORTEST_S, longest, asked_s / MOST)


def window(bursts: Sequence[Burst], at_s: float, lasts_s: float) -> Window:
    """Make a window of bursts, of which there must be one."""
    every = [latency for burst in bursts for latency in burst.latencies_ns]
    quiet = [latency for burst in bursts for latency in burst.quiet_ns()]
    readings = [reading for burst in bursts for _, reading in burst.marks]
    return Window(
        at_s=round(at_s, 3),
        lasts_s=round(lasts_s, 3),
        p50_s=median(quiet or every) * NS,
        p90_s=stats.quantile(every, 0.9) * NS,
        min_s=min(every) * NS,
        calls=len(every),
        quiet=len(quiet),
        probe_ns=median(readings) if readings else None,
        seen=_together([burst.seen for burst in bursts]),
    )


def _together(seen: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = sorted({name for each in seen for name in each})
    return {name: _of(name, [each[name] for each in seen if name in each]) for name in names}


def _of(name: str, values: Sequence[float]) -> float:
    if name in BITS:
        return reduce(lambda all_of_them, bits: all_of_them | int(bits), values, 0)
    return median(values) if name in GAUGES else round(sum(values), 9)


def estimate(found: Sequence[Window], asked_s: float) -> Sustained:
    """Find the steady state of a series of windows."""
    levels = changepoint.detect([each.p50_s for each in found])
    if levels is None:
        return Sustained(asked_s, found)
    return Sustained(
        asked_s,
        found,
        first_s=levels.first,
        knee_s=None if levels.change is None else found[levels.change].at_s,
        steady=levels.steady,
        steady_from_s=found[levels.steady_from].at_s,
        drift=levels.drift,
    )


def latency(sustained: Sustained) -> Latency | None:
    """The latency of the steady state, of all windows where none is known.

    Percentiles of the calls are not known any more.
    """
    windows = sustained.steady_windows
    if not windows:
        return None
    p50s = [each.p50_s for each in windows]
    interval = sustained.steady or stats.median_interval(p50s)
    calls, quiet = sum(each.calls for each in windows), sum(each.quiet for each in windows)
    return Latency(
        p50_s=interval.value if interval else median(p50s),
        ci_low_s=interval.low if interval else None,
        ci_high_s=interval.high if interval else None,
        p90_s=None,
        p99_s=None,
        raw_p50_s=median(p50s),
        min_s=min(each.min_s for each in windows),
        samples=calls,
        quiet_share=quiet / calls,
        rounds=len(windows),
        quiet_samples=quiet,
    )
