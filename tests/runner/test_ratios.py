"""The sampling of a comparison: mirrored rounds, precise ratios, clear verdicts."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import chain
from types import SimpleNamespace
from typing import Any

import pytest

from benchbox import records
from benchbox.analysis import stats
from benchbox.analysis.samples import Burst, round_medians
from benchbox.analysis.states import Gate, State
from benchbox.analysis.stats import Interval
from benchbox.errors import AgentError, CaseError, DeviceError
from benchbox.records import Record
from benchbox.runner import record as runner_record
from benchbox.sampling.plan import MORE, Plan, lacking, shortfall, spread, undecided
from benchbox.sampling.progress import Progress, Subject
from benchbox.sampling.sampler import Sampler
from tests.helpers.runs import (
    LARGE,
    Bench,
    SimulatedAgents,
    Watcher,
    graph_of,
    interrupt,
    named,
    sessions,
)
from tests.helpers.tables import record as row_of
from tests.sampling.test_sampler import FakeSession, Model, breaks, noisy, rounds_of

PLAN = Plan(margin=0.01)


def sampler_of(models: Mapping[str, Model], plan: Plan = PLAN) -> tuple[Sampler, FakeSession]:
    session = FakeSession(models)
    subjects = [Subject(key, next(iter(models))) for key in models]
    return Sampler(subjects, plan, clock=session.clock), session


def compare(models: Mapping[str, Model], plan: Plan = PLAN) -> tuple[Sampler, list[str], float]:
    """Compare cases with the first of them; return who finished, in order, and when it ended."""
    sampler, session = sampler_of(models, plan)
    finished = [case.subject.key for case in sampler.measure(session, 0)]
    return sampler, finished, session.now


def steady(latency_s: float) -> Model:
    return lambda _: latency_s


def ratio_of(sampler: Sampler, key: str, reference: str = "a") -> Interval:
    rounds = (round_medians(sampler.cases[each].bursts) for each in (key, reference))
    interval = stats.ratio_interval(*rounds)
    assert interval is not None
    return interval


def rounds_each(sampler: Sampler) -> dict[str, int]:
    return {key: len(case.rounds) for key, case in sampler.cases.items()}


# mirrored rounds


@pytest.mark.parametrize("names", ["ab", "abc", "abcde"])
def test_a_round_is_the_same_forwards_and_backwards(names: str) -> None:
    sampler, session = sampler_of({name: steady(0.002) for name in names})
    list(sampler.measure(session, 0))
    rounds = rounds_of(session, sampler)
    assert len(rounds) >= PLAN.min_rounds
    for order in rounds:
        assert order == order[::-1]
        middle = order[len(names) - 1]
        assert Counter(order) == {name: 1 if name == middle else 2 for name in names}


def test_the_order_of_rounds_is_new_each_time_and_each_case_is_in_the_middle_at_times() -> None:
    models = {name: steady(0.002) for name in "abcd"}
    sampler, session = sampler_of(models, replace(PLAN, min_rounds=80))
    list(sampler.measure(session, 0))
    rounds = rounds_of(session, sampler)
    assert len({tuple(order) for order in rounds}) > 15
    middles = Counter(order[len(order) // 2] for order in rounds)
    assert min(middles[name] for name in "abcd") > len(rounds) / 10


def test_a_case_alone_has_one_burst_a_round() -> None:
    sampler, session = sampler_of({"a": steady(0.002)})
    list(sampler.measure(session, 0))
    assert all(order == ["a"] for order in rounds_of(session, sampler))


@pytest.mark.parametrize(
    ("latency_s", "calls"), [(0.002, 30), (0.0024, 25), (0.02, 5), (0.0085, 7), (1e-6, 50_000)]
)
def test_the_calls_of_a_case_in_a_round_are_those_of_one_burst(
    latency_s: float, calls: int
) -> None:
    models = {name: steady(latency_s) for name in "abc"}
    sampler, _, _ = compare(models, replace(PLAN, min_rounds=6))
    for case in sampler.cases.values():
        together = Counter[int]()
        for burst in case.bursts:
            together[burst.round] += len(burst.latencies_ns)
        assert set(together.values()) <= {calls, calls + 1}


@pytest.mark.parametrize("calls", [1, 2, 5, 6, 31])
def test_the_halves_of_a_burst_are_equal(calls: int) -> None:
    plan = replace(PLAN, min_rounds=6, burst_s=1e-4, min_calls=calls)
    sampler, _, _ = compare({name: steady(0.002) for name in "abc"}, plan)
    for case in sampler.cases.values():
        together: dict[int, list[int]] = {}
        for burst in case.bursts:
            together.setdefault(burst.round, []).append(len(burst.latencies_ns))
        half = (calls + 1) // 2
        assert {tuple(each) for each in together.values()} == {(half, half), (calls,)}


def test_both_ends_of_a_round_have_calls_however_long_they_take() -> None:
    sampler, _, _ = compare({"a": steady(0.7), "b": steady(0.9)}, replace(PLAN, min_rounds=6))
    for number in {burst.round for burst in sampler.cases["a"].bursts}:
        counts = sorted(
            tuple(len(b.latencies_ns) for b in case.bursts if b.round == number)
            for case in sampler.cases.values()
        )
        assert counts == [(1,), (1, 1)]


def test_every_case_is_at_the_same_time_on_average() -> None:
    sampler, session = sampler_of({name: steady(0.002) for name in "abcd"})
    list(sampler.measure(session, 0))
    for order in rounds_of(session, sampler):
        places = {n: [i for i, each in enumerate(order) if each == n] for n in "abcd"}
        assert {sum(p) / len(p) for p in places.values()} == {len(order) // 2}


def drifting(latency_s: float, per_s: float) -> Model:
    return lambda now: latency_s * (1 + per_s * now)


@pytest.mark.parametrize("per_s", [0.02, -0.005])
@pytest.mark.parametrize("latencies_ms", [(1, 3), (3, 1), (2, 3, 1), (1, 2, 3, 5)])
@pytest.mark.parametrize("calls", [40, 41])
def test_a_steady_drift_during_rounds_changes_no_ratio(
    calls: int, latencies_ms: tuple[int, ...], per_s: float
) -> None:
    """Each round by itself gives the ratio that there would be without it; unmirrored none does.

    An odd number of calls is halved evenly too: of unequal halves the median lies in the longer.
    """
    named = dict(zip("abcd", latencies_ms, strict=False))
    models = {name: drifting(ms / 1e3, per_s) for name, ms in named.items()}
    wrong = {}
    for margin in (0.01, None):
        plan = Plan(margin=margin, precision=0.5, min_rounds=30, burst_s=1e-4, min_calls=calls)
        sampler, _, _ = compare(models, plan)
        first = round_medians(sampler.cases["a"].bursts)
        wrong[margin] = max(
            abs(value / first[key] * named["a"] / ms - 1)
            for name, ms in named.items()
            for key, value in round_medians(sampler.cases[name].bursts).items()
        )
    assert wrong[0.01] < 0.05 * wrong[None]
    assert wrong[0.01] < 1e-4


def test_drift_from_round_to_round_changes_no_ratio_either() -> None:
    def slow_wave(now: float) -> float:
        return 1 + 0.2 * math.sin(2 * math.pi * now / 30)

    sampler, _, _ = compare(
        {"a": lambda t: 0.002 * slow_wave(t), "b": lambda t: 0.003 * slow_wave(t)}
    )
    ratio = ratio_of(sampler, "b")
    assert ratio.value == pytest.approx(1.5, rel=1e-3)
    assert ratio.half_width < 1e-3


# when it stops


@pytest.mark.parametrize(("b", "verdict"), [(0.004, "SLOWER"), (0.001, "FASTER"), (0.002, "SAME")])
def test_it_stops_when_the_ratio_is_precise_and_the_verdict_clear(b: float, verdict: str) -> None:
    sampler, finished, now = compare({"a": noisy(0.002, 0.002), "b": noisy(b, 0.002, 1)})
    assert sorted(finished) == ["a", "b"]
    assert now < PLAN.max_time_s / 5
    ratio = ratio_of(sampler, "b")
    assert ratio.half_width <= PLAN.precision
    assert stats.verdict(ratio, 0.01) == verdict
    assert not undecided(sampler.cases["b"].rounds, PLAN, sampler.cases["a"].rounds)


def test_the_fewest_rounds_are_taken_however_clear_it_is() -> None:
    sampler, _, _ = compare({"a": steady(0.001), "b": steady(0.05)})
    assert all(20 <= count <= 30 for count in rounds_each(sampler).values())


def wave(now: float) -> float:
    return 1 + 0.3 * math.sin(2 * math.pi * now / 11)


def test_it_is_the_ratio_that_has_to_be_precise_and_not_the_latency() -> None:
    models: dict[str, Model] = {
        "a": lambda t: 0.002 * wave(t),
        "b": lambda t: 0.003 * wave(t),
    }
    sampler, finished, now = compare(models)
    assert sorted(finished) == ["a", "b"]
    assert now < 20
    own = stats.median_interval(list(sampler.cases["a"].rounds.values()))
    assert own is not None
    assert own.half_width > PLAN.precision
    _, finished, now = compare(models, replace(PLAN, margin=None))
    assert finished == []
    assert now >= PLAN.max_time_s


def test_a_clear_verdict_is_not_enough_without_the_precision() -> None:
    plan = replace(PLAN, precision=0.004)
    models = {"a": noisy(0.002, 0.1), "b": noisy(0.004, 0.1, 1)}
    sampler, finished, _ = compare(models, plan)
    assert sorted(finished) == ["a", "b"]
    assert ratio_of(sampler, "b").half_width <= 0.004
    assert rounds_each(sampler)["b"] > 3 * plan.min_rounds


def near(now: float) -> float:
    """A latency that is now 0.4%, now 1.6% more than 2 ms: precise, but across the bound of 1%."""
    return 0.002 * (1.004 if int(now / 0.4) % 2 else 1.016)


def test_an_unclear_verdict_goes_on_to_the_end_although_the_ratio_is_precise() -> None:
    plan = replace(PLAN, max_time_s=15)
    sampler, finished, now = compare({"a": steady(0.002), "b": near}, plan)
    assert finished == []
    assert plan.max_time_s <= now < plan.max_time_s + 2
    rounds, reference = (sampler.cases[key].rounds for key in "ba")
    assert lacking(rounds, plan, reference) == ""
    assert undecided(rounds, plan, reference)
    assert rounds_each(sampler)["a"] == rounds_each(sampler)["b"] > 50


def test_a_wider_margin_makes_the_same_machine_clear() -> None:
    models = {"a": steady(0.002), "b": near}
    sampler, finished, now = compare(models, replace(PLAN, margin=0.05))
    assert sorted(finished) == ["a", "b"]
    assert now < 10
    assert stats.verdict(ratio_of(sampler, "b"), 0.05) == "SAME"


def test_same_needs_both_ends_of_the_interval_inside() -> None:
    plan = replace(PLAN, margin=0.005, precision=0.05, max_time_s=600)
    models = {"a": noisy(0.02, 0.05), "b": noisy(0.02, 0.05, 1)}
    sampler, finished, _ = compare(models, plan)
    assert sorted(finished) == ["a", "b"]
    ratio = ratio_of(sampler, "b")
    assert 1 / 1.005 <= ratio.low < ratio.high <= 1.005
    assert rounds_each(sampler)["b"] > 2 * plan.min_rounds


def test_the_reference_is_timed_as_long_as_anybody_needs_it() -> None:
    models = {"a": steady(0.002), "far": noisy(0.004, 0.02, 1), "near": near}
    plan = replace(PLAN, max_time_s=15)
    sampler, finished, _ = compare(models, plan)
    assert finished == ["far"]
    counts = rounds_each(sampler)
    assert counts["far"] < counts["near"] == counts["a"]
    shared = sampler.cases["near"].rounds.keys() & sampler.cases["a"].rounds.keys()
    assert len(shared) == counts["near"]


def test_the_reference_ends_with_the_last_case_that_needs_it() -> None:
    models = {"a": noisy(0.002, 0.1), "b": noisy(0.004, 0.001, 1), "c": noisy(0.004, 0.1, 2)}
    sampler, finished, _ = compare(models, replace(PLAN, max_time_s=300))
    assert set(finished[-2:]) >= {"a"}
    assert sorted(finished) == ["a", "b", "c"]
    assert rounds_each(sampler)["a"] == max(rounds_each(sampler).values())


# what goes wrong


@pytest.mark.parametrize("bad", ["a", "b"])
@pytest.mark.parametrize("after", [0, 40, 200])
def test_when_one_of_two_fails_the_other_is_timed_until_its_own_latency_is_precise(
    bad: str, after: int
) -> None:
    models = {"a": noisy(0.02, 0.06), "b": noisy(0.02, 0.06, 1)}
    models[bad] = breaks(0.02, after, ValueError("no memory"))
    sampler, finished, now = compare(models, replace(PLAN, max_time_s=300))
    left = "b" if bad == "a" else "a"
    assert finished == [bad, left]
    assert sampler.cases[bad].failure == "no memory"
    assert not sampler.cases[left].failure
    own = stats.median_interval(list(sampler.cases[left].rounds.values()))
    assert own is not None
    assert own.half_width <= PLAN.precision
    assert rounds_each(sampler)[left] > 2 * PLAN.min_rounds
    assert now < 300


def test_when_a_third_case_fails_the_ratio_of_the_others_counts_on() -> None:
    models = {
        "a": lambda t: 0.002 * wave(t),
        "b": lambda t: 0.003 * wave(t),
        "bad": breaks(0.002, 100, ValueError("no memory")),
    }
    sampler, finished, now = compare(models)
    assert finished[0] == "bad"
    assert sorted(finished[1:]) == ["a", "b"]
    assert now < 20
    assert ratio_of(sampler, "b").half_width <= PLAN.precision


def test_a_reference_that_fails_late_sends_those_back_whose_ratio_was_all_they_had() -> None:
    """Their own latency is not precise yet, and a ratio there will never be again."""
    models = {
        "a": breaks(0.002, 3000, ValueError("no memory")),
        "b": noisy(0.004, 0.001, 1),
        "near": noisy(0.00202, 0.1, 2),
    }
    sampler, finished, _ = compare(models, replace(PLAN, max_time_s=300))
    assert list(dict.fromkeys(finished)) == ["b", "a", "near"]
    for key in ("b", "near"):
        own = stats.median_interval(list(sampler.cases[key].rounds.values()))
        assert own is not None
        assert own.half_width <= PLAN.precision


def test_an_agent_that_is_lost_costs_the_case_in_flight_and_the_other_goes_on() -> None:
    sampler, session = sampler_of(
        {"a": noisy(0.002, 0.001), "b": breaks(0.002, 200, AgentError("gone"))}
    )
    with pytest.raises(AgentError, match="gone"):
        list(sampler.measure(session, 0))
    assert sampler.cases["b"].failure == "gone"
    assert [case.subject.key for case in sampler.measure(session, 1)] == ["a"]
    assert not sampler.cases["a"].failure


# sessions


THREE = replace(PLAN, sessions=3, min_rounds=18)


def staged(models: Mapping[str, Model], plan: Plan = THREE) -> tuple[Sampler, list[list[str]]]:
    sampler, session = sampler_of(models, plan)
    finished = []
    for stage in range(plan.sessions):
        sampler.begin(stage)
        finished.append([case.subject.key for case in sampler.measure(session, stage)])
    return sampler, finished


def per_session(case: Progress) -> list[int]:
    return [sum(session == each for session, _ in case.rounds) for each in range(3)]


def test_each_session_has_its_rounds_and_the_last_finishes_the_cases() -> None:
    sampler, finished = staged({"a": noisy(0.002, 0.002), "b": noisy(0.004, 0.002, 1)})
    assert finished[:2] == [[], []]
    assert sorted(finished[2]) == ["a", "b"]
    for case in sampler.cases.values():
        assert min(per_session(case)) >= THREE.rounds_each


def test_an_early_session_asks_for_a_ratio_as_precise_as_its_share() -> None:
    models = {"a": noisy(0.02, 0.05), "b": noisy(0.04, 0.05, 1)}
    sampler, finished = staged(models, replace(THREE, max_time_s=900))
    assert sorted(finished[2]) == ["a", "b"]
    assert min(per_session(sampler.cases["b"])) > THREE.rounds_each


def test_an_unclear_verdict_keeps_the_last_session_going_to_the_end() -> None:
    models = {"a": steady(0.002), "b": near}
    sampler, finished = staged(models, replace(THREE, max_time_s=30))
    assert finished == [[], [], []]
    assert sampler.elapsed_s >= 30
    assert min(per_session(sampler.cases["b"])) >= THREE.rounds_each


def test_a_case_that_is_unclear_gets_as_many_rounds_in_each_session() -> None:
    """Else all that decides it comes from the last process."""
    models = {"a": steady(0.002), "far": steady(0.004), "near": near}
    sampler, _ = staged(models, replace(THREE, max_time_s=30))
    near_, far = (per_session(sampler.cases[key]) for key in ("near", "far"))
    assert max(near_) < 1.5 * min(near_)
    assert min(near_) > 3 * max(far)
    assert max(far) <= THREE.rounds_each + 2
    assert per_session(sampler.cases["a"]) == near_


# what a plan asks for, by numbers


def rounds(*values: float, first: int = 0, session: int = 0) -> dict[tuple[int, int], float]:
    return {(session, first + index): value for index, value in enumerate(values)}


ONES = rounds(*[1.0] * 20)


@pytest.mark.parametrize(
    ("case", "beside", "text"),
    [
        ({}, ONES, "only 0 quiet rounds of both cases and an interval needs 6"),
        (ONES, {}, "only 0 quiet rounds of both cases and an interval needs 6"),
        (
            rounds(*[2.0] * 20, first=15),
            ONES,
            "only 5 quiet rounds of both cases and an interval needs 6",
        ),
        (rounds(*[2.0] * 20, session=1), ONES, "only 0 quiet rounds of both cases and an"),
        (rounds(*[2.0] * 19), ONES, "only 19 of 20 quiet rounds of both cases"),
        (rounds(*[2.0] * 20), ONES, ""),
        (rounds(*[0.5] * 20), ONES, ""),
        (rounds(*[1.0, 2.0] * 10), ONES, "the ratio is ±41.4% after 20 rounds, ±1.0% was asked"),
        (rounds(*[1.0, 2.0] * 10), rounds(*[2.0, 4.0] * 10), ""),
        (ONES, None, ""),
        (rounds(*[1.0, 2.0] * 10), None, "±33.3% after 20 rounds, ±1.0% was asked"),
        (rounds(*[1.0] * 19), None, "only 19 of 20 quiet rounds"),
    ],
)
def test_what_a_ratio_lacks_is_said_in_numbers(
    case: dict[tuple[int, int], float], beside: dict[tuple[int, int], float] | None, text: str
) -> None:
    said = lacking(case, PLAN, beside)
    assert said.startswith(text)
    assert bool(said) == bool(text)


def test_a_case_beside_itself_is_always_precise() -> None:
    wild = rounds(*[1.0, 2.0] * 10)
    assert lacking(wild, PLAN, wild) == ""
    interval = spread(wild, wild)
    assert interval == Interval(1.0, 1.0, 1.0)


def test_the_spread_is_that_of_the_ratio_where_there_is_a_case_beside() -> None:
    interval = spread(rounds(*[3.0] * 8), rounds(*[2.0] * 8))
    assert interval is not None
    assert [interval.low, interval.value, interval.high] == pytest.approx([1.5] * 3)


@pytest.mark.parametrize(
    ("value", "margin"), [(2.0, 0.01), (0.5, 0.01), (1.0, 0.01), (1.005, 0.001), (2.0, None)]
)
def test_a_ratio_without_any_noise_is_always_decided(value: float, margin: float | None) -> None:
    assert not undecided(rounds(*[value] * 20), Plan(margin=margin), ONES)


@pytest.mark.parametrize(
    ("low", "high", "margin", "unclear"),
    [
        (0.99, 1.03, 0.01, True),
        (0.995, 1.005, 0.01, False),
        (0.995, 1.005, 0.001, True),
        (1.005, 1.03, 0.01, True),
        (1.02, 1.03, 0.01, False),
        (0.96, 0.98, 0.01, False),
        (0.96, 1.00, 0.01, True),
        (0.96, 1.04, None, False),
    ],
)
def test_a_ratio_across_a_bound_is_undecided(
    low: float, high: float, margin: float | None, unclear: bool
) -> None:
    assert undecided(rounds(*[low, high] * 10), Plan(margin=margin), ONES) == unclear


def test_too_few_shared_rounds_decide_nothing_and_a_case_alone_needs_no_verdict() -> None:
    assert undecided(rounds(*[9.0] * 20, first=15), PLAN, ONES)
    assert not undecided(rounds(1.0), PLAN, None)


def bursts(*latencies: int, session: int = 0) -> list[Burst]:
    return [Burst(session, index, (latency,)) for index, latency in enumerate(latencies)]


def test_a_shortfall_is_that_of_the_ratio_and_says_what_helps() -> None:
    wild, reference = bursts(*[1000, 2000] * 10), bursts(*[1000, 1000] * 10)
    said = shortfall(wild, PLAN, reference=reference)
    assert said == f"the ratio is ±41.4% after 20 rounds, ±1.0% was asked; {MORE}"
    assert shortfall(wild, PLAN, reference=wild) == ""
    assert shortfall(wild, PLAN).startswith("±33.3% after 20 rounds")


def test_both_halves_of_a_mirrored_round_are_one_round() -> None:
    """A C B C A: the two bursts of a case in a round have one median."""
    halves = [Burst(0, n, (latency,)) for n in range(20) for latency in (1000, 3000)]
    assert round_medians(halves) == pytest.approx({(0, n): 2e-6 for n in range(20)})
    assert shortfall(halves, PLAN, reference=bursts(*[1000] * 20)) == ""


def test_a_ratio_needs_as_many_processes_as_the_plan() -> None:
    plan = replace(PLAN, sessions=3)
    one = bursts(*[1000] * 20)
    assert shortfall(one, plan, reference=one).startswith("quiet rounds in only 1 of 3 processes")
    three = list(chain(one, bursts(1000, session=1), bursts(1000, session=2)))
    assert shortfall(three, plan, reference=three) == ""


# records


BENCH = Plan(precision=0.01, max_time_s=60, min_rounds=18, burst_s=0.02, margin=0.01)


def wild(devices: SimulatedAgents, **latencies_ms: float) -> None:
    """Let cases wander together by 30%, which no probe shows."""

    def wanderer(latency_s: float) -> Callable[[], float]:
        return lambda: latency_s * wave(devices.machine.now)

    devices.machine.latencies |= {f"tiny:{k}": wanderer(v / 1e3) for k, v in latencies_ms.items()}


def relative(record: Record) -> Interval:
    assert record.relative is not None
    return record.relative


def test_every_case_has_its_ratio_and_the_verdict_follows(
    bench: Bench, devices: SimulatedAgents
) -> None:
    devices.take(a=2, b=4, c=1)
    found = bench.measure(named("a", "b", "c"), plan=BENCH)
    assert bench.statuses() == {"a": "ok", "b": "ok", "c": "ok"}
    assert found["tiny:a"].relative is None
    for key, value, verdict in (("tiny:b", 2.0, "SLOWER"), ("tiny:c", 0.5, "FASTER")):
        assert relative(found[key]).value == pytest.approx(value, rel=0.01)
        assert stats.verdict(found[key].relative) == verdict


def test_the_reference_is_ok_and_so_is_a_ratio_although_latencies_wander(
    bench: Bench, devices: SimulatedAgents
) -> None:
    wild(devices, a=2, b=3)
    found = bench.measure(named("a", "b"), plan=BENCH)
    assert bench.statuses() == {"a": "ok", "b": "ok"}
    assert {record.reason for record in found.values()} == {""}
    for record in found.values():
        assert record.latency is not None
        assert record.latency.interval is not None
        assert record.latency.interval.half_width > BENCH.precision
    assert relative(found["tiny:b"]).value == pytest.approx(1.5, rel=0.01)
    alone = bench.measure(named("c"), plan=BENCH)
    assert alone["tiny:c"].status == "ok"


def test_a_ratio_that_is_too_wide_is_imprecise_and_the_reference_is_not(bench: Bench) -> None:
    plan = replace(BENCH, precision=1e-6, max_time_s=3)
    found = bench.measure(named("a", "b"), plan=plan)
    assert bench.statuses() == {"a": "ok", "b": "imprecise"}
    assert found["tiny:b"].reason.startswith("the ratio is ±0.")
    assert "±0.0% was asked" in found["tiny:b"].reason
    assert MORE in found["tiny:b"].reason
    assert found["tiny:b"].relative is not None


def test_an_unclear_verdict_is_no_lack_of_precision(bench: Bench, devices: SimulatedAgents) -> None:
    devices.take(a=2, b=2.02)
    found = bench.measure(named("a", "b"), plan=replace(BENCH, max_time_s=5))
    assert bench.statuses() == {"a": "ok", "b": "ok"}
    assert stats.verdict(found["tiny:b"].relative, 0.01) == "UNCLEAR"
    assert devices.machine.now >= 5


@pytest.mark.parametrize("bad", ["a", "b"])
def test_when_one_of_two_cannot_be_loaded_the_other_is_kept(
    bench: Bench, devices: SimulatedAgents, bad: str
) -> None:
    devices.refused = {0: f"tiny:{bad}"}
    found = bench.measure(named("a", "b"), plan=BENCH)
    left = "b" if bad == "a" else "a"
    assert bench.statuses() == {bad: "failed", left: "ok"}
    assert found[f"tiny:{bad}"].reason == "no memory for it"
    assert found[f"tiny:{left}"].latency is not None
    assert found[f"tiny:{left}"].relative is None


@pytest.mark.parametrize("bad", ["a", "b"])
def test_when_one_of_two_was_not_exported_the_other_is_judged_by_its_own_latency(
    bench: Bench, devices: SimulatedAgents, bad: str
) -> None:
    wild(devices, a=2, b=2)
    cases = named("a", "b")
    failed = {f"tiny:{bad}": CaseError("torch refused")}
    found = bench.measure(cases, graphs=failed, plan=replace(BENCH, max_time_s=5))
    left = "b" if bad == "a" else "a"
    assert bench.statuses() == {bad: "failed", left: "imprecise"}
    assert found[f"tiny:{left}"].reason.startswith("±")
    assert found[f"tiny:{left}"].latency is not None


@pytest.mark.parametrize("burst", [0, 5, 12, 30])
def test_an_agent_that_is_lost_leaves_a_row_for_both(
    bench: Bench, devices: SimulatedAgents, burst: int
) -> None:
    devices.lost_at = {0: burst}
    found = bench.measure(named("a", "b"), plan=BENCH)
    assert sorted(bench.statuses().values()) == ["failed", "ok"]
    (failed,) = (record for record in found.values() if record.status == "failed")
    assert failed.reason == "the agent is gone"
    assert failed.latency is None


def test_a_comparison_in_three_processes_has_rounds_of_both_in_each(
    bench: Bench, devices: SimulatedAgents
) -> None:
    devices.take(a=2, b=4)
    found = bench.measure(named("a", "b"), plan=replace(BENCH, sessions=3))
    assert bench.statuses() == {"a": "ok", "b": "ok"}
    shared = round_medians(found["tiny:a"].bursts).keys() & round_medians(found["tiny:b"].bursts)
    for session in range(3):
        assert sum(each == session for each, _ in shared) >= 6
    assert len(devices.agents) == 3


def test_a_device_that_goes_away_fails_what_is_left(bench: Bench, devices: SimulatedAgents) -> None:
    def unplug(number: int) -> None:
        if number == 1:
            raise DeviceError("device 'cpu' was unplugged")

    devices.opening = unplug
    found = bench.measure(named("a", "b"), plan=replace(BENCH, sessions=3))
    assert set(bench.statuses().values()) == {"failed"}
    assert all(record.bursts for record in found.values())


def test_groups_of_the_memory_each_have_the_reference(
    bench: Bench, devices: SimulatedAgents
) -> None:
    devices.take(a=2, b=4, c=1)
    cases = named("a", "b", "c")
    large = {case.key: graph_of(case, LARGE) for case in cases}
    found = bench.measure(cases, plan=BENCH, graphs=large)
    assert bench.statuses() == {"a": "ok", "b": "ok", "c": "ok"}
    assert relative(found["tiny:b"]).value == pytest.approx(2, rel=0.01)
    assert relative(found["tiny:c"]).value == pytest.approx(0.5, rel=0.01)
    assert [sorted(agent.loaded) for agent in devices.agents] == [
        ["tiny:a", "tiny:b"],
        ["tiny:a", "tiny:c"],
    ]


LEVEL = Gate(State(12_000.0, 11_000.0, 13_000.0), State(300_000.0, 290_000.0, 310_000.0))


def on_level(quiet: int, other: int, latency: int) -> list[Burst]:
    """Rounds at the gate's level of the memory, and others at another level."""
    levels = [300_000] * quiet + [400_000] * other
    return [
        Burst(0, number, (latency,), stream_ns=(level, level))
        for number, level in enumerate(levels)
    ]


def test_a_ratio_counts_rounds_at_any_level_of_the_memory_and_a_latency_does_not() -> None:
    case = on_level(4, 16, 2000)
    assert len(round_medians(case, LEVEL)) == 4
    assert len(round_medians(case, LEVEL, paired=True)) == 20
    said = shortfall(case, PLAN, LEVEL)
    assert said.startswith("only 4 quiet rounds and an interval needs 6")


@pytest.mark.parametrize("quiet", [5, 6])
def test_a_comparison_needs_six_rounds_for_the_p50_beside_its_ratio(quiet: int) -> None:
    case, reference = [on_level(quiet, 20 - quiet, each) for each in (2000, 1000)]
    said = shortfall(case, PLAN, LEVEL, reference)
    needs = "p50 has only 5 quiet rounds and its interval needs 6"
    assert said.startswith(needs) if quiet == 5 else said == ""


@pytest.mark.parametrize(("quiet", "counts"), [(1, False), (2, True), (6, True)])
def test_a_round_of_a_ratio_has_a_third_of_its_calls_quiet(quiet: int, counts: bool) -> None:
    slow = ((0, 15_000), (1, 15_000))
    bursts = [Burst(0, 0, (1000,), stream_ns=(300_000, 300_000)) for _ in range(6)]
    bursts = [b if i < quiet else replace(b, marks=slow) for i, b in enumerate(bursts)]
    assert bool(round_medians(bursts, LEVEL, paired=True)) == counts
    assert len(round_medians(bursts, LEVEL)) == 1


def test_a_ratio_does_not_count_what_disturbs_a_call_at_any_level() -> None:
    reference = on_level(4, 16, 1000)
    slow = ((0, 15_000), (1, 15_000))
    for changes in ({"switches": (1,)}, {"marks": slow}):
        case = [replace(burst, **changes) for burst in on_level(4, 16, 2000)]
        assert round_medians(case, LEVEL, paired=True) == {}
        assert shortfall(case, PLAN, LEVEL, reference).startswith("only 0 quiet rounds")


@pytest.mark.parametrize(("paired", "count"), [(True, 20), (False, 8)])
def test_the_ratio_of_a_record_is_of_all_rounds_only_where_they_are_mirrored(
    paired: bool, count: int
) -> None:
    case, reference = on_level(8, 12, 2000), on_level(8, 12, 1000)
    case = [*case[:8], *(replace(burst, latencies_ns=(3000,)) for burst in case[8:])]
    bare = row_of({}, None, spec="tiny", case="b", reference="a")
    readings: Any = SimpleNamespace(gate=LEVEL, shift=None, host_shift=None)
    found = runner_record.measured(bare, case, reference, readings, paired=paired)
    rounds = [round_medians(each, LEVEL, paired=paired) for each in (case, reference)]
    assert len(rounds[0]) == count
    assert relative(found).value == pytest.approx(3.0 if paired else 2.0)
    assert found.latency is not None
    assert found.latency.p50_s == pytest.approx(2e-6)
    assert found.latency.rounds == 8


def test_a_sampler_keeps_the_rounds_of_a_ratio_beside_those_of_a_latency() -> None:
    case = Progress(Subject("b", "a"), bursts=on_level(8, 12, 2000))
    case.judge(LEVEL, paired=True)
    assert (len(case.rounds), len(case.paired)) == (8, 20)
    case.bursts.append(Burst(0, 20, (2000,), stream_ns=(400_000, 400_000)))
    case.judge(LEVEL, paired=True)
    assert (len(case.rounds), len(case.paired)) == (8, 21)
    case.judge(Gate(LEVEL.compute, State(400_000.0, 390_000.0, 410_000.0)), paired=True)
    assert (len(case.rounds), len(case.paired)) == (13, 21)


def test_a_gate_that_moves_takes_rounds_from_a_ratio_too() -> None:
    marked = [replace(each, marks=((0, 12_000), (1, 12_000))) for each in on_level(8, 0, 2000)]
    case = Progress(Subject("b", "a"), bursts=marked)
    case.judge(LEVEL, paired=True)
    assert (len(case.rounds), len(case.paired)) == (8, 8)
    case.judge(Gate(State(20_000.0, 19_000.0, 21_000.0), LEVEL.stream), paired=True)
    assert (len(case.rounds), len(case.paired)) == (0, 0)


def test_the_ratio_in_a_record_is_of_rounds_at_any_level_of_the_memory(
    bench: Bench, devices: SimulatedAgents
) -> None:
    devices.machine.memory = lambda now: 1.5 if int(now) % 3 == 0 else 1.0
    devices.take(a=2, b=4)
    found = bench.measure(named("a", "b"), plan=replace(BENCH, min_rounds=60))
    assert bench.statuses() == {"a": "ok", "b": "ok"}
    pair = [found["tiny:b"], found["tiny:a"]]
    quiet = [round_medians(each.bursts, each.gate) for each in pair]
    paired = [round_medians(each.bursts, each.gate, paired=True) for each in pair]
    assert len(quiet[0]) < 0.9 * len(paired[0])
    assert stats.ratio_interval(*quiet) != stats.ratio_interval(*paired)
    assert relative(found["tiny:b"]) == stats.ratio_interval(*paired)
    for each, own in zip(pair, quiet, strict=True):
        assert each.latency is not None
        assert each.latency.rounds == len(own)


# going on


def test_ctrl_c_while_a_precise_ratio_is_unclear_leaves_it_imprecise(
    bench: Bench, devices: SimulatedAgents
) -> None:
    devices.take(a=2, b=2.02, c=4)
    watcher = Watcher(interrupt, after=80)
    found = bench.measure(named("a", "b", "c"), watcher, plan=BENCH)
    assert bench.interrupted
    near_, reference = found["tiny:b"], found["tiny:a"]
    assert shortfall(near_.bursts, BENCH, near_.gate, reference.bursts) == ""
    assert stats.verdict(near_.relative, 0.01) == "UNCLEAR"
    assert bench.statuses() == {"a": "ok", "b": "imprecise", "c": "ok"}
    assert near_.reason.startswith("interrupted before ")


def test_an_unclear_comparison_that_is_resumed_measures_on_and_a_clear_one_does_not(
    bench: Bench, devices: SimulatedAgents
) -> None:
    devices.take(a=2, b=2.02, c=4)
    cases, plan = named("a", "b", "c"), replace(BENCH, max_time_s=5)
    first = dict(bench.measure(cases, plan=plan))
    assert stats.verdict(first["tiny:b"].relative, 0.01) == "UNCLEAR"
    second = dict(bench.measure(cases, plan=plan))
    assert sorted(devices.agents[-1].loaded) == ["tiny:a", "tiny:b"]
    for name, grows in (("a", True), ("b", True), ("c", False)):
        before, after = (len(each[f"tiny:{name}"].bursts) for each in (first, second))
        assert after > 1.5 * before if grows else after == before
    assert dict(bench.measure(cases, plan=replace(plan, margin=0.1))) == second
    assert devices.agents[-1].loaded == []


def test_a_comparison_that_was_cut_short_goes_on_from_its_samples(
    bench: Bench, devices: SimulatedAgents
) -> None:
    devices.take(a=2, b=4)
    cases, plan = named("a", "b"), replace(BENCH, sessions=3)
    devices.opening = lambda number: interrupt() if number == 2 else None
    bench.measure(cases, plan=plan)
    assert bench.interrupted
    assert set(bench.statuses().values()) == {"imprecise"}
    before = {key: len(record.bursts) for key, record in bench.journal.records.items()}
    devices.opening = lambda _: None
    found = bench.measure(cases, plan=plan)
    assert not bench.interrupted
    assert bench.statuses() == {"a": "ok", "b": "ok"}
    for key, record in found.items():
        assert len(record.bursts) > before[key]
        assert sessions(record) >= {0, 1, 2}
    assert relative(found["tiny:b"]).value == pytest.approx(2, rel=0.01)


def test_a_further_case_is_timed_with_the_reference_and_nothing_else(
    bench: Bench, devices: SimulatedAgents
) -> None:
    devices.take(a=2, b=4, c=1)
    cases = named("a", "b", "c")
    bench.measure(cases[:2], plan=BENCH)
    before = len(bench.journal.records["tiny:b"].bursts)
    found = bench.measure(cases, plan=BENCH)
    assert bench.statuses() == {"a": "ok", "b": "ok", "c": "ok"}
    assert sorted(devices.agents[-1].loaded) == ["tiny:a", "tiny:c"]
    assert len(found["tiny:b"].bursts) == before
    assert relative(found["tiny:c"]).value == pytest.approx(0.5, rel=0.01)


def test_a_case_that_failed_is_tried_again_with_its_reference(
    bench: Bench, devices: SimulatedAgents
) -> None:
    devices.take(a=2, b=4)
    devices.refused = {0: "tiny:b"}
    cases = named("a", "b")
    bench.measure(cases, plan=BENCH)
    assert bench.statuses() == {"a": "ok", "b": "failed"}
    found = bench.measure(cases, plan=BENCH)
    assert bench.statuses() == {"a": "ok", "b": "ok"}
    assert sessions(found["tiny:a"]) == {0, 1}
    assert relative(found["tiny:b"]).value == pytest.approx(2, rel=0.01)


def test_what_is_good_is_not_timed_again(bench: Bench, devices: SimulatedAgents) -> None:
    devices.take(a=2, b=4)
    cases = named("a", "b")
    before = dict(bench.measure(cases, plan=BENCH))
    assert bench.measure(cases, plan=BENCH) == before
    assert devices.agents[-1].loaded == []


def test_the_file_holds_what_a_reader_needs_for_the_ratio(
    bench: Bench, devices: SimulatedAgents
) -> None:
    devices.take(a=2, b=4)
    found = bench.measure(named("a", "b"), plan=BENCH)
    read = {record.key: record for record in records.read(bench.journal.path).records}
    assert read["tiny:b"].relative == found["tiny:b"].relative
    medians = [round_medians(read[key].bursts, read[key].gate) for key in ("tiny:b", "tiny:a")]
    assert stats.ratio_interval(*medians) == read["tiny:b"].relative
