"""Raw samples, and the estimate that they give."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchbox import stats
from benchbox.stats import Interval

NS = 1e-9


@dataclass(frozen=True, slots=True)
class Burst:
    """Calls of one case in a row: latencies in ns, and the involuntary context switches in each.

    `session` counts agent processes, `round` passes over the cases; `switches` is None where the
    system does not count them.
    """

    session: int
    round: int
    latencies_ns: tuple[int, ...]
    switches: tuple[int, ...] | None = None

    def quiet_ns(self) -> list[int]:
        """Return the latencies of the calls that nothing is known to have disturbed."""
        if self.switches is None:
            return list(self.latencies_ns)
        pairs = zip(self.latencies_ns, self.switches, strict=True)
        return [latency for latency, switches in pairs if switches == 0]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Burst":
        """Return the burst that a record holds."""
        switches = data.get("switches")
        return cls(
            data["session"],
            data["round"],
            tuple(data["latencies_ns"]),
            None if switches is None else tuple(switches),
        )


@dataclass(frozen=True, slots=True)
class Latency:
    """What the samples of one case say, in seconds.

    p50 and its interval come from the quiet samples, by medians per round; raw_p50, p90 and p99
    from all of them. A percentile with too few samples for it is None, and so is an interval with
    too few rounds.
    """

    p50_s: float
    ci_low_s: float | None
    ci_high_s: float | None
    p90_s: float | None
    p99_s: float | None
    raw_p50_s: float
    min_s: float
    samples: int
    quiet_share: float | None
    rounds: int

    @property
    def interval(self) -> Interval | None:
        """The interval of p50, in seconds."""
        if self.ci_low_s is None or self.ci_high_s is None:
            return None
        return Interval(self.p50_s, self.ci_low_s, self.ci_high_s)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Latency":
        """Return the estimate that a record holds; unknown fields are ignored."""
        return cls(**{name: data.get(name) for name in cls.__dataclass_fields__})  # type: ignore[arg-type]


def round_medians(bursts: Sequence[Burst]) -> dict[tuple[int, int], float]:
    """Return the median of the quiet samples of each round, in seconds, by (session, round)."""
    rounds: dict[tuple[int, int], list[int]] = {}
    for burst in bursts:
        rounds.setdefault((burst.session, burst.round), []).extend(burst.quiet_ns())
    return {key: median(values) * NS for key, values in rounds.items() if values}


def estimate(bursts: Sequence[Burst]) -> Latency | None:
    """Return what the samples say, None when there is not one quiet sample among them."""
    medians = round_medians(bursts)
    every = [latency * NS for burst in bursts for latency in burst.latencies_ns]
    if not medians:
        return None
    interval = stats.median_interval(list(medians.values()))
    counted = any(burst.switches is not None for burst in bursts)
    quiet = sum(len(burst.quiet_ns()) for burst in bursts)
    return Latency(
        p50_s=interval.value if interval else median(medians.values()),
        ci_low_s=interval.low if interval else None,
        ci_high_s=interval.high if interval else None,
        p90_s=stats.percentile(every, 0.90, stats.P90_SAMPLES),
        p99_s=stats.percentile(every, 0.99, stats.P99_SAMPLES),
        raw_p50_s=median(every),
        min_s=min(every),
        samples=len(every),
        quiet_share=quiet / len(every) if counted else None,
        rounds=len(medians),
    )
