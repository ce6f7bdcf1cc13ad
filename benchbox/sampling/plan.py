"""Plan of a measurement: precision, time and rounds, and what samples still lack of it."""

import math
from dataclasses import dataclass
from typing import Annotated

from benchbox.analysis import limits, stats
from benchbox.analysis.adjusted import UNKNOWN_TAU, Z95, Rounds
from benchbox.analysis.quantities import SMALLEST, YEAR_S, Count, Limits, Ratio, Some
from benchbox.analysis.stats import Interval

LEAST_PROCESS_S = 9.0  # to load all graphs, warm up and time some rounds
MOST_PROCESSES = 20
LEAST_REST = 0.3  # of the precision, asked of the rounds however much processes differ
Width = Annotated[float, Limits(ge=SMALLEST, lt=1)]
Time = Annotated[float, Limits(gt=0, le=YEAR_S)]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure: until the interval's half-width is `precision` of p50, or `max_time_s`.

    Rounds and time are shared by `sessions` agent processes, one after the other. Bursts last about
    `burst_s` and have at least `min_calls` calls. With `arrival_per_s` calls come at that rate;
    with `sustained_s` each case runs for that long instead.

    A plan with a `margin` is a comparison: rounds are mirrored, `precision` is that of the ratios
    to the reference, and each ratio must differ from 1 by the margin or lie within it. None may
    have one of the `limits` within its interval, which a gate could not judge.

    `percentiles`, such as 99.0, need so many samples of a case that they are known.

    In the first half of the time adjusted figures are to have only `aim` of that half-width.

    Before each session but the first the device may cool down for at most `cooldown_s`.
    """

    precision: Width = 0.01
    max_time_s: Time = 60.0
    min_rounds: Some = 20
    burst_s: Annotated[float, Limits(ge=1e-6, le=1)] = 0.06
    min_calls: Annotated[int, Limits(ge=1, le=100)] = 5
    seed: Count = 0
    sessions: Annotated[int, Limits(ge=1, le=100)] = 1
    arrival_per_s: Ratio | None = None
    sustained_s: Time | None = None
    margin: Width | None = None
    limits: tuple[Ratio, ...] = ()
    cooldown_s: Annotated[float, Limits(ge=0, le=YEAR_S)] = 0.0
    aim: Annotated[float, Limits(gt=0, le=1)] = 1.0
    percentiles: tuple[Annotated[float, Limits(ge=50, le=99.9)], ...] = ()

    @property
    def rounds_each(self) -> int:
        """The fewest rounds of a case in each session."""
        return math.ceil(self.min_rounds / self.sessions)

    def stage_calls(self, stage: int) -> int:
        """The calls of a case that sessions 0 to `stage` should have for its percentiles."""
        calls = max((stats.samples_for(each / 100) for each in self.percentiles), default=0)
        return math.ceil(calls * (stage + 1) / self.sessions)

    def stage_precision(self, stage: int, tau: float = 0.0) -> float:
        """The half-width that the samples of sessions 0 to `stage` should have reached.

        It falls with the square root of the rounds, so that all sessions get as many. What
        processes differ by, with a spread of `tau`, is left out: rounds do not lower it.
        """
        processes = Z95 * tau / math.sqrt(self.sessions)
        rest = math.sqrt(max(0.0, self.precision**2 - processes**2))
        return max(rest, LEAST_REST * self.precision) * math.sqrt(self.sessions / (stage + 1))

    def stage_end_s(self, stage: int) -> float:
        """The elapsed time at which a session has to end."""
        return self.max_time_s * (stage + 1) / self.sessions


def processes_for(precision: float, max_time_s: float = math.inf, tau: float = UNKNOWN_TAU) -> int:
    """The processes that a half-width takes where they differ by `tau`: half of it is theirs.

    No more than find time.
    """
    wanted = math.ceil(2 * (Z95 * tau / precision) ** 2)
    return int(min(MOST_PROCESSES, wanted, max_time_s / LEAST_PROCESS_S))


def lacking(
    rounds: Rounds, plan: Plan, reference: Rounds | None = None, found: Interval | None = None
) -> str:
    """What the median latencies of the rounds lack of the plan.

    With those of a `reference`, the ratio to it has to be precise. `found` is the interval where it
    is not that of the rounds alone.
    """
    shared = rounds.keys() if reference is None else rounds.keys() & reference.keys()
    count = len(shared)
    both = "" if reference is None or reference == rounds else " of both cases"
    interval = found or spread(rounds, reference)
    if interval is None:
        plural = "" if count == 1 else "s"
        return f"only {count} quiet round{plural}{both} and an interval needs {stats.MIN_ROUNDS}"
    if interval.half_width > plan.precision:
        digits = 1 if interval.half_width >= plan.precision + 0.0005 else 2
        reached = f"±{interval.half_width:.{digits}%} after {count} rounds"
        of_what = "" if reference is None else "the ratio is "
        return f"{of_what}{reached}, ±{plan.precision:.1%} was asked"
    if count < plan.min_rounds:
        return f"only {count} of {plan.min_rounds} quiet rounds{both}"
    return ""


def unknown(calls: int, plan: Plan) -> str:
    """The percentile that so many calls are too few for, and how many it needs."""
    for each in plan.percentiles:
        if calls < (needed := stats.samples_for(each / 100)):
            return f"p{each:g} needs {needed} samples, has {calls}"
    return ""


def spread(rounds: Rounds, reference: Rounds | None = None) -> Interval | None:
    """The median of the rounds with its interval; that of the ratio where there is a reference."""
    if reference is None:
        return stats.median_interval(list(rounds.values()))
    return stats.ratio_interval(rounds, reference)


def undecided(rounds: Rounds, plan: Plan, reference: Rounds | None) -> bool:
    """Whether a comparison cannot tell yet how the case compares, or on which side of a limit."""
    if plan.margin is None or reference is None:
        return False
    found = stats.ratio_interval(rounds, reference)
    is_unclear = stats.verdict(found, plan.margin) == "UNCLEAR"
    return is_unclear or any(limits.kept(found, most) == "unclear" for most in plan.limits)
