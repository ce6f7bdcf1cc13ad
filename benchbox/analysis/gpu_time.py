"""Device time of calls on a GPU, and the launch share that is left of their latency."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from statistics import median

from benchbox.analysis import stats
from benchbox.analysis.quantities import Seconds, Share
from benchbox.analysis.samples import NS, OPEN, Burst
from benchbox.analysis.states import Gate
from benchbox.analysis.stats import Interval

Rounds = dict[tuple[int, int], list[int]]


@dataclass(frozen=True, slots=True)
class Spans:
    """Figures of one case on a GPU, in seconds.

    `span_s` is from the first to the last moment of a call's work there, by the GPU's clock, with
    its interval, from medians per round of the calls beside which the GPU was in its usual state.
    `copies_s` is a call with its inputs copied to the GPU and its outputs back, which take the
    processor too: of bursts at whose end that was in its usual state as well. `launch_share` is
    what of the latency is not span, and `unheld_share` the share of the spans with gaps in them.
    """

    span_s: Seconds
    low_s: Seconds | None = None
    high_s: Seconds | None = None
    copies_s: Seconds | None = None
    launch_share: Share | None = None
    unheld_share: Share = 0.0

    @property
    def interval(self) -> Interval | None:
        """The interval of the span, in seconds."""
        if self.low_s is None or self.high_s is None:
            return None
        return Interval(self.span_s, self.low_s, self.high_s)


def estimate(
    bursts: Sequence[Burst], gate: Gate = OPEN, latency_s: float | None = None
) -> Spans | None:
    """Estimate the device time of a case; None where nothing was on a GPU.

    Spans with gaps count only where there are no others.
    """
    timed = [burst for burst in bursts if burst.spans_ns and burst.kind != "beside"]
    total = sum(len(burst.spans_ns) for burst in timed)
    held = [burst for burst in timed if not burst.unheld] or timed
    spans = _medians((burst, _steady(burst, gate)) for burst in held)
    if not spans:
        return None
    copies = _medians((burst, burst.copies_ns) for burst in timed if all(burst.steady(gate)[-1:]))
    interval = stats.median_interval(spans)
    span_s = interval.value if interval else median(spans)
    return Spans(
        span_s,
        interval.low if interval else None,
        interval.high if interval else None,
        median(copies) if copies else None,
        max(0.0, 1 - span_s / latency_s) if latency_s else None,
        sum(burst.unheld for burst in timed) / total,
    )


def _steady(burst: Burst, gate: Gate) -> Sequence[int]:
    return list(compress(burst.spans_ns, burst.steady(gate, host=False)))


def _medians(series: Iterable[tuple[Burst, Sequence[int]]]) -> list[float]:
    """The median of each round that has values, in seconds."""
    rounds: Rounds = {}
    for burst, values in series:
        rounds.setdefault((burst.session, burst.round), []).extend(values)
    return [median(values) * NS for values in rounds.values() if values]
