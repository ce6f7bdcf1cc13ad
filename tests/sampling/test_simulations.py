"""Machines whose every disturbance is known, measured by what measures real ones.

Nothing here is timed: clock, processor and sentinel are simulated, the timed loop, the rounds, the
gate and the stopping rule are benchbox's own.
"""

import math
import random
import re
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import pytest

from benchbox.analysis import samples, stats
from benchbox.analysis.latency import Latency, estimate
from benchbox.analysis.machine import Known, Machine
from benchbox.analysis.samples import Burst
from benchbox.runner.judge import shortfall
from benchbox.sampling.plan import Plan
from benchbox.sampling.progress import Subject
from benchbox.sampling.sampler import Sampler
from tests.helpers.machine import Interrupt, SimulatedMachine, State, nothing, usual

PLAN = Plan(sessions=3)
TRUE = {"one": 0.002, "other": 0.005}
RATIO = 2.5
SLOW = 1.35
SEEDS = range(2)
LONGEST_S = 1000.0


@dataclass
class Measured:
    """What a run says of the cases of a simulated machine, set beside the first of them."""

    machine: SimulatedMachine
    sampler: Sampler

    def bursts(self, case: str) -> list[Burst]:
        return self.sampler.cases[case].bursts

    @property
    def known(self) -> Known:
        return self.sampler.machine.after()

    def latency(self, case: str) -> Latency:
        machine, adjusted = self.sampler.machine, self.sampler.cases[case].adjusted
        latency = estimate(self.bursts(case), machine.gate, adjusted, machine.tau)
        assert latency is not None
        return latency

    def slowness(self, case: str) -> float:
        """The figure over the truth in the usual state."""
        return self.latency(case).p50_s / TRUE[case]

    def between_sd(self, case: str) -> float:
        between_sd = self.latency(case).between_sd
        assert between_sd is not None
        return between_sd

    def lacks(self, case: str) -> str:
        adjusted = self.sampler.cases[case].adjusted
        return shortfall(self.bursts(case), self.sampler.plan, self.sampler.machine, adjusted)

    def gate(self) -> float:
        """How slow the state is in which samples count, by a probe in the usual one."""
        state = self.sampler.machine.gate.compute
        assert state is not None
        quiet = SimulatedMachine({})
        usual_ns = median(quiet.compute() for _ in range(500))
        return state.centre_ns / usual_ns

    def ratio(self) -> float:
        one, other = (self.sampler.cases[case].rounds for case in TRUE)
        interval = stats.ratio_interval(other, one)
        assert interval is not None
        return interval.value


def run(
    state: State = usual,
    interrupt: Interrupt = nothing,
    *,
    plan: Plan = PLAN,
    known: Known | None = None,
    adjusts: bool = False,
    seed: int = 0,
    counted: Sequence[str] = (),
    memory: State = usual,
    begin: Callable[[SimulatedMachine, int], object] = lambda *_: None,
) -> Measured:
    """Measure the cases on a machine, each part of the plan after `begin`."""
    machine = SimulatedMachine(TRUE, state, interrupt, seed=seed, counted=counted, memory=memory)
    subjects = [Subject(case, next(iter(TRUE)), sha256=case) for case in TRUE]
    sampler = Sampler(
        subjects, plan, machine=Machine(known, adjusts=adjusts), clock=machine.perf_counter
    )
    for stage in range(plan.sessions):
        begin(machine, stage)
        sampler.begin(stage)
        list(sampler.measure(machine, stage))
    return Measured(machine, sampler)


@pytest.fixture(scope="module")
def usually() -> Known:
    """What is known of a machine in its usual state."""
    return replace(run(adjusts=True).known, slopes={})


# what machines do


def stretches(
    slowness: float, share: float, seed: int = 0, shortest_s: float = 0.2, longest_s: float = 2.0
) -> State:
    """Slower, or faster, in stretches that make up that share of the time."""
    generator = random.Random(seed)
    starts: list[float] = []
    ends: list[float] = []
    now = 0.0
    while now < LONGEST_S:
        length = generator.uniform(shortest_s, longest_s)
        now += length * (1 / share - 1) * generator.uniform(0.5, 1.5)
        starts.append(now)
        now += length
        ends.append(now)

    def state(at: float) -> float:
        index = bisect(starts, at) - 1
        return slowness if index >= 0 and at < ends[index] else 1.0

    return state


def step(slowness: float, at_s: float) -> State:
    """A clock that is throttled from some moment on."""
    return lambda now: slowness if now >= at_s else 1.0


def warming(slowness: float, over_s: float) -> State:
    """A clock that falls bit by bit."""
    return lambda now: 1 + (slowness - 1) * min(1.0, now / over_s)


def restless(most: float, every_s: float, seed: int = 0) -> State:
    """Another state, from anywhere, every so often."""
    generator = random.Random(seed)
    states = [
        math.exp(generator.uniform(0, math.log(most))) for _ in range(int(LONGEST_S / every_s))
    ]
    return lambda now: states[int(now / every_s)]


def taken(rate: float, shortest_s: float, longest_s: float, switches: int, seed: int) -> Interrupt:
    """Something takes the processor so many times a second, and the system may count it."""
    generator = random.Random(seed)

    def interrupt(seconds: float) -> tuple[float, int]:
        lost, times = 0.0, 0
        while (gap := generator.expovariate(rate)) < seconds:
            seconds -= gap
            lost += generator.uniform(shortest_s, longest_s)
            times += switches
        return lost, times

    return interrupt


def preempted(seed: int) -> Interrupt:
    """Two busy neighbours: of two calls of the longer case more than one is hit."""
    return taken(250, 0.001, 0.004, 1, seed)


def stolen(seed: int) -> Interrupt:
    return taken(30, 0.0005, 0.005, 0, seed)


def tossed(seconds: float) -> tuple[float, int]:
    """Every call is interrupted."""
    return seconds / 10, 1


def boosted_slowed_and_preempted(seed: int) -> dict[str, Any]:
    slow, fast = stretches(SLOW, 0.3, seed), stretches(0.83, 0.05, seed + 1, 0.1, 0.5)
    state: State = lambda now: min(slow(now), fast(now))  # noqa: E731
    return {"state": state, "interrupt": taken(60, 0.001, 0.004, 1, seed)}


def boosted_at_first(seed: int) -> dict[str, Any]:
    rare = stretches(0.83, 0.06, seed, 0.1, 0.6)
    return {"state": lambda now: 0.83 if now < 0.4 else rare(now)}


def assert_true(found: Measured, error: float) -> None:
    for case in TRUE:
        assert found.lacks(case) == ""
        assert found.slowness(case) == pytest.approx(1, rel=error)
        interval = found.latency(case).interval
        assert interval is not None
        assert interval.half_width <= PLAN.precision


# each by itself


DISTURBANCES: Mapping[str, tuple[Callable[[int], dict[str, Any]], float, float]] = {
    "nothing": (lambda _: {}, 0.002, 0.99),
    "preempted": (lambda seed: {"interrupt": preempted(seed)}, 0.005, 1.2),
    "stolen": (lambda seed: {"interrupt": stolen(seed)}, 0.005, 1.0),
    "slow": (lambda seed: {"state": stretches(SLOW, 0.4, seed)}, 0.015, 1.0),
    "slower": (lambda seed: {"state": stretches(SLOW, 0.7, seed)}, 0.015, 1.3),
    "memory": (lambda seed: {"memory": stretches(1.15, 0.7, seed, 1.0, 4.0)}, 0.005, 1.03),
    "boost": (lambda seed: {"state": stretches(0.83, 0.06, seed, 0.1, 0.6)}, 0.005, 0.9),
    "boost at first": (boosted_at_first, 0.005, 0.9),
    "all": (boosted_slowed_and_preempted, 0.015, 1.0),
}  # with how wrong the figure may be, and how wrong it is of all calls


@pytest.mark.parametrize(("what", "error", "raw"), DISTURBANCES.values(), ids=DISTURBANCES)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_figure_is_that_of_the_usual_state_whatever_disturbs(
    what: Callable[[int], dict[str, Any]], error: float, raw: float, seed: int
) -> None:
    found = run(**what(seed), seed=seed)
    assert_true(found, error)
    assert found.gate() == pytest.approx(1, rel=0.015)
    assert found.latency("other").raw_p50_s > raw * TRUE["other"]
    assert found.ratio() == pytest.approx(RATIO, rel=0.01)
    assert all(found.between_sd(case) < 0.004 for case in TRUE)
    if what(seed) == {}:
        assert found.machine.now < PLAN.max_time_s / 4
        assert (found.latency("one").quiet_share or 0) > 0.8


@pytest.mark.parametrize("state", [warming(1.15, 4), warming(1.3, 20), restless(1.8, 0.3)])
def test_where_states_wander_a_figure_is_of_the_state_that_counts(state: State) -> None:
    found = run(state)
    for case in TRUE:
        latency = found.latency(case)
        if latency.basis == "quiet" and latency.interval is not None:
            assert found.slowness(case) == pytest.approx(found.gate(), rel=0.02)


@pytest.mark.parametrize(
    ("state", "interrupt", "says"),
    [
        (usual, tossed, "only 0 quiet rounds.*other programs took its processor"),
        (restless(3.0, 0.004), nothing, "the processor was slower"),
    ],
    ids=["interrupted", "restless"],
)
def test_a_known_machine_that_is_never_quiet_has_no_precise_figure_and_says_why(
    usually: Known, state: State, interrupt: Interrupt, says: str
) -> None:
    found = run(state, interrupt, plan=replace(PLAN, max_time_s=20), known=usually)
    assert found.sampler.elapsed_s >= 20
    for case in TRUE:
        assert re.search(says, found.lacks(case))
        assert "--max-time" in found.lacks(case)
        latency = found.latency(case)
        width = latency.interval.half_width if latency.interval else math.inf
        assert latency.basis != "quiet" or width > PLAN.precision


@pytest.mark.parametrize(("at_s", "expected"), [(1, 1.15), (3, None), (7, 1.0)])
def test_a_throttled_clock_gives_the_figure_of_one_of_its_two_states(
    at_s: float, expected: float | None
) -> None:
    """However late it is throttled, that costs no more than beginning anew."""
    found = run(step(1.15, at_s))
    assert found.machine.now < PLAN.max_time_s / 2
    assert found.ratio() == pytest.approx(RATIO, rel=0.01)
    if expected is None:
        return
    assert found.gate() == pytest.approx(expected, rel=0.01)
    for case in TRUE:
        assert found.lacks(case) == ""
        assert found.slowness(case) == pytest.approx(expected, rel=0.005)


# the state that counts


@pytest.mark.parametrize(
    ("adjusts", "shifts"), [(False, (SLOW, 1.0, 1 / SLOW)), (True, (SLOW, SLOW, 1 / SLOW))]
)
def test_a_slow_minute_is_believed_and_spoils_none_after_it(
    usually: Known, adjusts: bool, shifts: tuple[float, ...]
) -> None:
    """What figures are set back to stays until most runs were elsewhere; the gate goes along."""
    known = usually
    for seed, (slowness, shift) in enumerate(zip((SLOW, SLOW, 1.0), shifts, strict=True)):
        found = run(lambda _, s=slowness: s, known=known, adjusts=adjusts, seed=seed)
        for case in TRUE:
            assert found.lacks(case) == ""
            assert found.slowness(case) == pytest.approx(slowness, rel=0.01)
        assert found.sampler.machine.shift == pytest.approx(shift, rel=0.015)
        known = found.known


# adjusted to the usual state


def mostly_slower(seed: int) -> dict[str, Any]:
    """Of two clock steps close together the slower, while programs come and go."""
    return {
        "state": stretches(1.04, 0.6, seed),
        "interrupt": taken(60, 0.001, 0.004, 1, seed),
        "memory": stretches(1.15, 0.5, seed + 3, 10.0, 30.0),
    }


def drifting(now: float) -> float:
    return 1 + 0.03 * math.sin(now) * math.sin(0.31 * now)


ADJUSTED: Mapping[str, tuple[Callable[[int], dict[str, Any]], float, int]] = {
    "nothing": (lambda _: {}, 0.98, 20),
    "drift": (lambda _: {"state": drifting}, 0.98, 20),
    "memory": (lambda seed: {"memory": stretches(1.15, 0.7, seed + 3, 10.0, 30.0)}, 1.03, 120),
    "drift, preempted": (lambda seed: {"state": drifting, "interrupt": preempted(seed)}, 1.2, 20),
    "mostly slower": (mostly_slower, 1.03, 120),
}  # with how wrong the figure of all calls is, and the rounds that it takes to see all of that


@pytest.mark.parametrize(("what", "raw", "rounds"), ADJUSTED.values(), ids=ADJUSTED)
@pytest.mark.parametrize("seed", SEEDS)
def test_an_adjusted_figure_is_that_of_the_usual_state_and_has_enough_soon(
    usually: Known, what: Callable[[int], dict[str, Any]], raw: float, rounds: int, seed: int
) -> None:
    plan = replace(PLAN, precision=0.02, min_rounds=rounds)
    found = run(**what(seed), plan=plan, known=usually, adjusts=True, seed=seed)
    for case in TRUE:
        assert found.lacks(case) == ""
        latency = found.latency(case)
        assert latency.basis == "adjusted" and latency.interval is not None
        assert latency.interval.half_width <= plan.precision
        assert found.slowness(case) == pytest.approx(1, rel=0.015)
    assert found.latency("other").raw_p50_s > raw * TRUE["other"]
    assert found.ratio() == pytest.approx(RATIO, rel=0.01)
    assert found.machine.now < plan.max_time_s * 0.7


# sessions


def test_what_differs_from_process_to_process_is_told() -> None:
    def shift(machine: SimulatedMachine, stage: int) -> None:
        machine.latencies["other"] = TRUE["other"] * (1.02, 0.98, 1.0)[stage]

    found = run(begin=shift)
    assert found.between_sd("other") == pytest.approx(0.02, rel=0.2)
    assert found.between_sd("one") < 0.004
    assert found.latency("other").sessions_p50_s == pytest.approx(
        (0.0051, 0.0049, 0.005), rel=0.003
    )


# how many samples it takes


def accepted(seed: int) -> int:
    """How many samples the rule takes for 1% at 2% of noise, one to a round."""
    plan = Plan(precision=0.01, max_time_s=1e6, burst_s=0.0, min_calls=1)
    machine = SimulatedMachine({"one": 0.5}, noise=0.0)
    generator = random.Random(seed)
    machine.latencies["one"] = lambda: 0.5 * generator.gauss(1, 0.02)
    sampler = Sampler([Subject("one", "one")], plan, clock=machine.perf_counter)
    (case,) = sampler.measure(machine, 0)
    return sum(len(burst.quiet_ns(sampler.machine.gate)) for burst in case.bursts)


def test_the_rule_stops_after_no_more_than_a_hundred_samples() -> None:
    counts = [accepted(seed) for seed in range(20)]
    assert median(counts) <= 100
    assert min(counts) >= Plan().min_rounds


# what the causes say


@pytest.mark.parametrize(
    ("state", "interrupt", "counted", "tags"),
    [
        (usual, preempted(0), ("steal_s", "clock_khz"), {"preempted"}),
        (stretches(SLOW, 0.4), nothing, ("steal_s", "clock_khz"), {"slow", "clock"}),
        (stretches(0.83, 0.1, 0, 0.3, 0.6), nothing, (), {"fast"}),
        (usual, stolen(0), ("steal_s", "clock_khz"), {"steal"}),
        (usual, stolen(0), (), set()),
    ],
)
def test_what_a_machine_did_is_found_in_its_bursts(
    state: State, interrupt: Interrupt, counted: Sequence[str], tags: set[str]
) -> None:
    found = run(state, interrupt, plan=Plan(min_rounds=80), counted=counted)
    shares = samples.tag_shares(found.bursts("other"), found.sampler.machine.gate)
    assert {tag for tag, share in shares.items() if share > 0.02} == tags
