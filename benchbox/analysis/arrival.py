"""Latency of calls at a rate beside calls in a row: the cost of a sleeping processor."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchbox.analysis import latency, samples, stats
from benchbox.analysis.latency import Latency
from benchbox.analysis.quantities import Ratio, Share
from benchbox.analysis.samples import NS, Burst
from benchbox.analysis.stats import Interval


@dataclass(frozen=True, slots=True)
class Arrival:
    """A case whose calls come `per_s` times a second.

    `back_to_back` is its latency in the bursts of calls in a row interleaved with those at the
    rate, `ratio` the latency at the rate over it, from the rounds that have both. `late_share` of
    the calls at the rate took longer than a period.
    """

    per_s: Ratio
    back_to_back: Latency | None = None
    ratio: Interval | None = None
    late_share: Share = 0.0


Rounds = dict[tuple[int, int], float]


def shared(bursts: Sequence[Burst]) -> set[tuple[int, int]]:
    """The rounds that have quiet calls at the rate and in a row."""
    paced, back_to_back = _rounds(bursts)
    return paced.keys() & back_to_back.keys()


def _rounds(bursts: Sequence[Burst]) -> tuple[Rounds, Rounds]:
    """The median latency of each round, in seconds, at the rate and in a row."""
    return samples.round_medians(bursts), samples.round_medians(in_a_row(bursts))


def in_a_row(bursts: Sequence[Burst]) -> list[Burst]:
    """The bursts beside those at the rate, as ordinary ones."""
    return [replace(burst, kind="ordinary") for burst in bursts if burst.kind == "beside"]


def estimate(bursts: Sequence[Burst], per_s: float | None) -> Arrival | None:
    """Estimate calls at a rate from the bursts of a case; None where calls came at none.

    No sentinel can run beside calls at a rate, so that slow states of the processor are in their
    figures. Both kinds are judged alike here, by context switches alone: else the ratio would have
    the slow states in it as well.
    """
    if per_s is None:
        return None
    every = [latency * NS for burst in samples.figures(bursts) for latency in burst.latencies_ns]
    late = sum(latency > 1 / per_s for latency in every)
    return Arrival(
        per_s,
        latency.estimate(in_a_row(bursts)),
        stats.ratio_interval(*_rounds(bursts)),
        late / len(every) if every else 0.0,
    )
