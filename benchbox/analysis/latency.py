"""Latency of a case: p50 with its interval, and its ratio to a reference, of the best samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal, get_args

from benchbox.analysis import adjusted, stats
from benchbox.analysis.adjusted import Adjusted
from benchbox.analysis.quantities import Amount, Count, Seconds, Share
from benchbox.analysis.samples import NS, OPEN, Burst, figures, round_medians
from benchbox.analysis.states import Gate
from benchbox.analysis.stats import Interval

# The calls that a figure is of: undisturbed ones set back to the machine's usual state; quiet ones;
# those not preempted, whatever the state of the processor; all of them.
Basis = Literal["adjusted", "quiet", "undisturbed", "all"]
BASES: tuple[Basis, ...] = get_args(Basis)
GOOD: tuple[Basis, ...] = ("adjusted", "quiet")  # of the usual state


@dataclass(frozen=True, slots=True)
class Latency:
    """Estimate of one case from its samples, in seconds.

    p50 and its interval come from the samples of `basis` by medians per round; raw_p50, p90 and p99
    from all of them. A percentile with too few samples for
    it is None, and so is an interval with too few rounds. `sessions_p50_s` is the p50 of each agent
    process by itself, `within_sd` and `between_sd` are the relative standard deviations of rounds
    in a process and of processes.
    """

    p50_s: Seconds
    ci_low_s: Seconds | None
    ci_high_s: Seconds | None
    p90_s: Seconds | None
    p99_s: Seconds | None
    raw_p50_s: Seconds
    min_s: Seconds
    samples: Count
    quiet_share: Share | None
    rounds: Count
    quiet_samples: Count | None = None
    sessions_p50_s: tuple[Seconds, ...] = ()
    within_sd: Amount | None = None
    between_sd: Amount | None = None
    basis: Basis = "quiet"

    @property
    def interval(self) -> Interval | None:
        """The interval of p50, in seconds."""
        if self.ci_low_s is None or self.ci_high_s is None:
            return None
        return Interval(self.p50_s, self.ci_low_s, self.ci_high_s)

    @property
    def span(self) -> Interval:
        """The interval of p50; all three are p50 where it has none."""
        return self.interval or Interval(self.p50_s, self.p50_s, self.p50_s)


def rounds_of(
    basis: Basis,
    bursts: Sequence[Burst],
    gate: Gate,
    case: Adjusted | None = None,
    *,
    paired: bool = False,
) -> Mapping[tuple[int, int], float]:
    """The median of the calls of that basis in each round, in seconds."""
    if basis == "adjusted":
        return case.rounds if case else {}
    if basis == "all":
        bursts = [replace(burst, switches=None, pool=False) for burst in bursts]
    return round_medians(bursts, gate if basis == "quiet" else OPEN, paired=paired)


def ratio(
    bursts: Sequence[Burst],
    reference: Sequence[Burst],
    gate: Gate,
    cases: tuple[Adjusted, Adjusted] | None = None,
    *,
    tau: float = 0.0,
    paired: bool = False,
) -> tuple[Interval | None, Basis]:
    """The ratio of a case to its reference, of the first basis with enough rounds of both.

    Both `cases` are adjusted where they can be; `tau` is the spread of ratios between processes.
    Disturbed calls may take several times as long, and so come last.
    """
    if cases and (interval := adjusted.ratio(*cases, tau)):
        return interval[0], "adjusted"
    if not reference:
        return None, "quiet"
    ways: list[tuple[Basis, bool]] = [("quiet", paired), ("undisturbed", paired)]
    for basis, strict in [*ways, ("undisturbed", False)]:
        rounds, others = (rounds_of(basis, b, gate, paired=strict) for b in (bursts, reference))
        if found := stats.ratio_interval(rounds, others):
            return found, basis
    quotient: tuple[Interval | None, Basis] = None, "all"
    if not paired:
        ours, theirs = cases or (None, None)
        both = estimate(bursts, gate, ours, tau), estimate(reference, gate, theirs, tau)
        quotient = _quotient(*both)
    if quotient[1] != "all":
        return quotient
    rounds, others = (rounds_of("all", each, gate) for each in (bursts, reference))
    return stats.ratio_interval(rounds, others) or quotient[0], "all"


def _quotient(case: Latency | None, other: Latency | None) -> tuple[Interval | None, Basis]:
    """The ratio of two p50s that share too few rounds; its ends take each interval at its worst."""
    if not (case and other and case.interval and other.interval):
        return None, "all"
    a, b = case.interval, other.interval
    ratio = Interval(a.value / b.value, a.low / b.high, a.high / b.low)
    return ratio, max(case.basis, other.basis, key=BASES.index)


def estimate(
    bursts: Sequence[Burst], gate: Gate = OPEN, case: Adjusted | None = None, tau: float = 0.0
) -> Latency | None:
    """Estimate the latency, of the first basis with enough rounds; None without any call.

    `case` is it adjusted, where it can be, and `tau` the spread between processes.
    """
    bursts = figures(bursts)
    every = [latency * NS for burst in bursts for latency in burst.latencies_ns]
    if not every:
        return None
    basis, medians = next(
        (basis, medians)
        for basis in BASES
        if len(medians := rounds_of(basis, bursts, gate, case)) >= stats.MIN_ROUNDS
        or basis == "all"
    )
    interval = stats.median_interval(list(medians.values()))
    quiet = sum(len(burst.quiet_ns(gate)) for burst in bursts)
    if case and basis == "adjusted" and (found := adjusted.interval(case, tau)):
        interval, quiet = found[0], case.calls
    sessions = _by_session(medians)
    within, between = stats.components(list(sessions.values()))
    return Latency(
        p50_s=interval.value if interval else median(medians.values()),
        ci_low_s=interval.low if interval else None,
        ci_high_s=interval.high if interval else None,
        p90_s=stats.percentile(every, 0.90),
        p99_s=stats.percentile(every, 0.99),
        raw_p50_s=median(every),
        min_s=min(every),
        samples=len(every),
        quiet_share=quiet / len(every) if any(map(_is_watched, bursts)) else None,
        rounds=len(medians),
        quiet_samples=quiet,
        sessions_p50_s=tuple(map(median, sessions.values())),
        within_sd=within,
        between_sd=between,
        basis=basis,
    )


def _is_watched(burst: Burst) -> bool:
    return burst.switches is not None or bool(burst.marks)


def _by_session(medians: Mapping[tuple[int, int], float]) -> dict[int, list[float]]:
    sessions: dict[int, list[float]] = {}
    for (session, _), value in sorted(medians.items()):
        sessions.setdefault(session, []).append(value)
    return sessions
