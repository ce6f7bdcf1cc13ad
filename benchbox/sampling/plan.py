"""How much to measure, and what the samples of a case lack of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchbox.analysis import disturbance_text, samples, stats
from benchbox.analysis.samples import OPEN, Burst
from benchbox.analysis.states import Gate
from benchbox.analysis.stats import Interval

MORE = "give it more with --max-time"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure: until the interval's half-width is `precision` of p50, or `max_time_s`.

    In `sessions` agent processes one after the other, each for its share of the rounds and the
    time. `burst_s` is the length that a burst aims at, `min_calls` its fewest calls. With
    `arrival_per_s` calls come at that rate; with `sustained_s` each case runs for so long instead.

    With a `margin` it is a comparison: rounds are mirrored, `precision` is that of the ratios to
    the reference, and they have to be told from 1 by that margin, or to lie within it.

    Before each session but the first the device may cool down for `cooldown_s` at most.
    """

    precision: float = 0.01
    max_time_s: float = 60.0
    min_rounds: int = 20
    burst_s: float = 0.06
    min_calls: int = 5
    seed: int = 0
    sessions: int = 1
    arrival_per_s: float | None = None
    sustained_s: float | None = None
    margin: float | None = None
    cooldown_s: float = 0.0

    @property
    def rounds_each(self) -> int:
        """The fewest rounds of a case in each session."""
        return math.ceil(self.min_rounds / self.sessions)

    def stage_precision(self, stage: int) -> float:
        """Return the half-width that the samples of sessions 0 to `stage` should have reached.

        It falls with the square root of the rounds, so that all sessions get as many.
        """
        return self.precision * math.sqrt(self.sessions / (stage + 1))

    def stage_end_s(self, stage: int) -> float:
        """Return the elapsed time at which a session has to end."""
        return self.max_time_s * (stage + 1) / self.sessions


Rounds = Mapping[tuple[int, int], float]


def shortfall(
    bursts: Sequence[Burst],
    plan: Plan,
    gate: Gate = OPEN,
    reference: Sequence[Burst] | None = None,
) -> str:
    """Say what the samples of a case lack of the plan, and why; empty when they fulfil it.

    In a comparison `reference` are those of the case that it is set beside, where there is one.
    """
    paired = reference is not None
    rounds = samples.round_medians(bursts, gate, paired=paired)
    beside = None if reference is None else samples.round_medians(reference, gate, paired=True)
    text = lacking(rounds, plan, beside) or _too_few_processes(rounds, plan)
    if paired and not text:
        text = _too_few_for_p50(len(samples.round_medians(bursts, gate)))
    if not text:
        return ""
    why, what_helps = disturbance_text.summary(samples.tag_shares(bursts, gate))
    return f"{text}{f': {why}' if why else ''}; {f'{what_helps}, or ' if what_helps else ''}{MORE}"


def lacking(rounds: Rounds, plan: Plan, beside: Rounds | None = None) -> str:
    """Say what the median latencies of the rounds with a quiet sample lack of the plan.

    With those of another case `beside` them it is the ratio to it that has to be precise.
    """
    shared = rounds.keys() if beside is None else rounds.keys() & beside.keys()
    count = len(shared)
    both = "" if beside is None or beside == rounds else " of both cases"
    interval = spread(rounds, beside)
    if interval is None:
        plural = "" if count == 1 else "s"
        return f"only {count} quiet round{plural}{both} and an interval needs {stats.MIN_ROUNDS}"
    if interval.half_width > plan.precision:
        reached = f"±{interval.half_width:.1%} after {count} rounds"
        of_what = "" if beside is None else "the ratio is "
        return f"{of_what}{reached}, ±{plan.precision:.1%} was asked"
    if count < plan.min_rounds:
        return f"only {count} of {plan.min_rounds} quiet rounds{both}"
    return ""


def spread(rounds: Rounds, beside: Rounds | None = None) -> Interval | None:
    """Return the median of the rounds with its interval, of the ratio where there are two cases."""
    if beside is None:
        return stats.median_interval(list(rounds.values()))
    return stats.ratio_interval(rounds, beside)


def undecided(rounds: Rounds, plan: Plan, beside: Rounds | None) -> bool:
    """Return whether a comparison cannot tell yet how the case stands to the one beside it."""
    if plan.margin is None or beside is None:
        return False
    return stats.verdict(stats.ratio_interval(rounds, beside), plan.margin) == "UNCLEAR"


def _too_few_for_p50(count: int) -> str:
    if count >= stats.MIN_ROUNDS:
        return ""
    return f"p50 has only {count} quiet rounds and its interval needs {stats.MIN_ROUNDS}"


def _too_few_processes(rounds: Rounds, plan: Plan) -> str:
    processes = len({session for session, _ in rounds})
    if processes < plan.sessions:
        return f"quiet rounds in only {processes} of {plan.sessions} processes"
    return ""
