"""Forecast of the seconds that a sampler still takes, from what its rounds lack so far."""

import math
from statistics import fmean

from benchbox.analysis.samples import NS, Burst, call_count
from benchbox.sampling.progress import Progress
from benchbox.sampling.sampler import Sampler

RECENT = 6  # bursts of a case that tell how long one takes
NEAREST = 1e-6  # a ratio to a bound of its verdict

Needs = tuple[float, float]  # bursts in this stage and in each later one


def left_s(sampler: Sampler) -> tuple[float, bool]:
    """The seconds until a sampler ends, in all stages to come, and whether they are known.

    They are all the time that is left until each case has an interval, and never more.
    """
    plan, elapsed_s = sampler.plan, sampler.elapsed_s
    needs = {case.subject.key: _needs(sampler, case) for case in sampler.active}
    known = {key: each for key, each in needs.items() if each is not None}
    if len(known) < len(needs):
        return max(0.0, plan.max_time_s - elapsed_s), False
    for case in sampler.active:  # a reference is timed as long as those that are set beside it
        key, reference = case.subject.key, case.subject.reference
        if reference in known:
            (now, later), (now_too, later_too) = known[key], known[reference]
            known[reference] = max(now, now_too), max(later, later_too)
    pace, end_s = _pace(sampler), elapsed_s
    for stage in range(sampler.stage, plan.sessions):
        is_now = stage == sampler.stage
        work_s = sum(
            (now if is_now else later) * _burst_s(sampler.cases[key])
            for key, (now, later) in known.items()
        )
        end_s = max(end_s, min(end_s + pace * work_s, plan.stage_end_s(stage)))
    return end_s - elapsed_s, True


def _needs(sampler: Sampler, case: Progress) -> Needs | None:
    """The bursts that a case needs; None if that is not known."""
    plan, last = sampler.plan, sampler.plan.sessions - 1
    found, rounds = sampler.width(case, last), len(sampler.rounds(case))
    if found is None or not math.isfinite(found[0]):
        return None
    bursts, calls = len(case.bursts), call_count(case.bursts)
    each = bursts / rounds  # some give no round
    # The width falls with the square root of the rounds.
    for_width = bursts * (found[0] / min(found[1], _to_verdict(sampler, case))) ** 2
    for_calls = bursts * plan.stage_calls(last) / max(1, calls)
    total = max(plan.rounds_each * plan.sessions * each, for_width, for_calls)
    now = max(
        total * (sampler.stage + 1) / plan.sessions - bursts,
        (plan.rounds_each - sampler.rounds_in_stage(case)) * each,
    )
    return 0.0 if case.resting else max(0.0, now), total / plan.sessions


def _to_verdict(sampler: Sampler, case: Progress) -> float:
    """The half-width at which the ratio of a comparison lies on one side of each bound."""
    margin, ratio = sampler.plan.margin, sampler.interval(case)
    if margin is None or ratio is None:
        return math.inf
    bounds = (1 + margin, 1 / (1 + margin))
    return max(NEAREST, min(abs(ratio.value / bound - 1) for bound in bounds))


def _pace(sampler: Sampler) -> float:
    """The time that has passed over that of the bursts: with warm-up, sentinels and requests."""
    timed_s = sum(len(c.bursts) * _burst_s(c) for c in sampler.cases.values() if c.bursts)
    return max(1.0, sampler.elapsed_s / timed_s) if timed_s else 1.0


def _burst_s(case: Progress) -> float:
    return fmean(map(_lasted_s, case.bursts[-RECENT:]))


def _lasted_s(burst: Burst) -> float:
    return (burst.duration_ns + burst.slept_ns) * NS
