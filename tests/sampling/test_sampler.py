from dataclasses import replace
from itertools import pairwise
from statistics import median

import pytest

from benchbox.analysis.latency import estimate
from benchbox.analysis.samples import Burst
from benchbox.errors import AgentError
from benchbox.sampling import progress
from benchbox.sampling import sampler as sampling_sampler
from benchbox.sampling.plan import Plan, lacking
from benchbox.sampling.progress import Subject
from benchbox.sampling.sampler import SETTLE_S, Sampler
from tests.helpers.machine import SimulatedMachine, usual
from tests.helpers.sessions import FakeSession, Model, Sampling, breaks, noisy, steady

PLAN = Plan()
THREE = Plan(sessions=3)
WILD = replace(PLAN, precision=1e-6)  # which no noisy case ever is


def measured(plan: Plan = PLAN, session: FakeSession | None = None, **models: Model) -> Sampling:
    sampling = Sampling(models, plan, session)
    sampling.measure()
    return sampling


# when it stops


def test_max_time_holds_although_the_warm_up_never_ends() -> None:
    sampling = Sampling({"a": steady(0.4)}, Plan(max_time_s=0.5))
    sampling.cases["a"].latency_s = 0.4  # as the first call after loading told
    assert sampling.measure() == []
    assert sampling.session.now <= 0.5 + 2 * 0.4
    assert not sampling.bursts()


# rounds


def test_every_round_has_every_case_once_in_an_order_of_its_own() -> None:
    models = {name: noisy(0.002, 0.001, ord(name)) for name in "abcd"}
    orders = measured(Plan(min_rounds=30), **models).orders()
    rounds = [order for order in orders if len(order) == len(models)]
    assert len(rounds) >= 30
    assert all(sorted(order) == list(models) for order in rounds)
    assert len({tuple(order) for order in rounds}) > 10
    again, other = (measured(Plan(min_rounds=30, seed=n), **models).orders() for n in (0, 1))
    assert orders[:5] == again[:5] != other[:5]


def test_finished_cases_leave_the_rounds_and_the_reference_stays_until_its_last_peer() -> None:
    models = {"ref": steady(0.001), "calm": steady(0.001), "wild": noisy(0.001, 0.2)}
    sampling = Sampling(models, Plan(precision=0.005, max_time_s=300))
    first, *others = sampling.measure()
    assert (first, set(others)) == ("calm", {"ref", "wild"})
    rounds = {key: len(case.bursts) for key, case in sampling.cases.items()}
    assert rounds["calm"] < rounds["wild"] == rounds["ref"]


# bursts


@pytest.mark.parametrize(("latency_s", "calls"), [(0.002, 50), (0.05, 5), (0.7, 1), (1e-6, 1000)])
def test_a_burst_lasts_as_long_as_the_plan_says_within_bounds(
    latency_s: float, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling_sampler, "MAX_CALLS", 1000)
    plan = Plan(burst_s=0.1, min_calls=5, min_rounds=6)
    bursts = measured(plan, a=steady(latency_s)).bursts()
    assert {len(burst.latencies_ns) for burst in bursts} == {calls}


def test_what_a_burst_is_expected_to_take_covers_its_settling_calls() -> None:
    sampling = measured(a=steady(0.01))
    calls = [ask[1] for request in sampling.session.asked for ask in request]
    pairs = list(zip(calls, sampling.session.expected, strict=True))[1:]  # at first unknown
    assert all(expected == pytest.approx(0.01 * n + SETTLE_S) for n, expected in pairs)
    assert sampling.cases["a"].latency_s == pytest.approx(0.01)


def test_the_parent_is_notified_about_twice_a_second() -> None:
    session = FakeSession({"a": steady(0.002)})
    times: list[float] = []
    plan = Plan(min_rounds=100)
    Sampling(session.models, plan, session, notify=lambda _: times.append(session.now)).measure()
    assert all(0.4 <= b - a <= 0.7 for a, b in pairwise(times[5:]))


# warm-up


def test_warm_up_goes_on_while_bursts_get_faster() -> None:
    calls = iter(range(10**9))
    sampling = measured(a=lambda _: 0.005 * (1 + 0.5 ** (next(calls) / 4)), b=steady(0.005))
    a, b = sampling.cases.values()
    medians = a.warm_medians
    assert len(b.warm_medians) == progress.WARM_STILL + 1
    assert progress.WARM_STILL + 1 < len(medians) < progress.WARM_BURSTS
    assert medians[-1] >= medians[-2] * (1 - progress.WARM_GAIN)
    assert median(a.bursts[0].latencies_ns) == pytest.approx(5e6, rel=0.05)
    assert a.warmup_calls > b.warmup_calls > 0


def test_warm_up_of_a_case_that_gets_ever_faster_is_capped() -> None:
    latency = iter(0.02 * 0.99**n for n in range(10**9))
    sampling = measured(Plan(max_time_s=5), a=lambda _: max(next(latency), 1e-5))
    assert len(sampling.cases["a"].warm_medians) <= progress.WARM_BURSTS
    asked = sum(ask[1] for request in sampling.session.asked for ask in request)
    samples = sum(len(burst.latencies_ns) for burst in sampling.bursts())
    assert 0 < samples == asked - sampling.cases["a"].warmup_calls


# what is quiet


# what goes wrong


@pytest.mark.parametrize("after", [0, 150])
def test_a_burst_that_fails_ends_its_case_alone(after: int) -> None:
    bad = breaks(0.002, after, ValueError("no memory"))
    models = {"a": steady(0.002), "bad": bad, "c": steady(0.002)}
    sampling = Sampling(models, Plan(burst_s=0.02))
    assert sorted(sampling.measure()) == ["a", "bad", "c"]
    failures = {key: case.failure for key, case in sampling.cases.items()}
    assert failures == {"a": "", "bad": "no memory", "c": ""}
    assert not lacking(sampling.cases["c"].rounds, sampling.sampler.plan)


@pytest.mark.parametrize("after", [0, 150])
def test_a_lost_agent_fails_the_case_in_flight_and_the_next_session_goes_on(after: int) -> None:
    bad = breaks(0.002, after, AgentError("gone"))
    models = {"a": noisy(0.002, 0.001), "bad": bad, "c": noisy(0.003, 0.001)}
    sampling = Sampling(models, Plan(burst_s=0.02))
    with pytest.raises(AgentError, match="gone"):
        sampling.measure()
    failures = {key: case.failure for key, case in sampling.cases.items()}
    assert failures == {"a": "", "bad": "gone", "c": ""}
    before = {key: len(sampling.bursts(key)) for key in models}
    warm = sampling.cases["a"].warmup_calls
    sampling.measure(1)
    assert sampling.sampler.active == []
    assert sampling.cases["a"].warmup_calls > warm
    assert len(sampling.bursts("bad")) == before["bad"]
    for key in "ac":
        bursts = sampling.bursts(key)
        assert {b.session for b in bursts[before[key] :]} <= {1}
        assert {b.session for b in bursts[: before[key]]} <= {0}
        assert len({(b.session, b.round) for b in bursts}) == len(bursts)
        assert not lacking(sampling.cases[key].rounds, sampling.sampler.plan)


def test_a_case_failed_from_outside_is_timed_no_more_whatever_the_gate() -> None:
    sampling = Sampling({"a": steady(0.002), "b": steady(0.002)}, PLAN)
    sampling.sampler.fail("b", "it does not load")
    assert sampling.measure() == ["a"]
    assert {ask[0] for request in sampling.session.asked for ask in request} == {"a"}
    sampling.sampler._judge()
    assert sampling.sampler.active == []


# time


def test_time_counts_from_the_first_session_and_over_all_of_them() -> None:
    sampling = Sampling({"a": noisy(0.002, 0.5)}, replace(WILD, max_time_s=3))
    assert sampling.sampler.elapsed_s == 0
    sampling.measure()
    sampling.session.now += 10
    asked = len(sampling.session.asked)
    assert sampling.measure(1) == []
    assert len(sampling.session.asked) == asked
    assert sampling.sampler.elapsed_s >= 13


def test_a_session_ends_at_its_share_of_the_time() -> None:
    sampling = Sampling({"a": noisy(0.002, 0.5)}, replace(WILD, sessions=3, max_time_s=9))
    for stage, end in enumerate((3, 6, 9)):
        sampling.sampler.begin(stage)
        sampling.measure(stage)
        assert sampling.session.now == pytest.approx(end, abs=0.4)
        assert not sampling.sampler.in_time
    assert {b.session for b in sampling.bursts()} == {0, 1, 2}


def test_a_case_that_is_postponed_takes_its_share_of_the_time_with_it() -> None:
    sampler = Sampling(dict.fromkeys("abc", usual), replace(PLAN, max_time_s=30.0)).sampler
    assert sampler.postpone("c") == 10.0
    assert (sampler.plan.max_time_s, list(sampler.cases)) == (20.0, ["a", "b"])
    sampler.cases["a"].bursts.append(Burst(0, 0, (1000,), (0,)))
    assert sampler.postpone("b") == 20.0


def test_getting_ready_takes_nothing_from_the_time() -> None:
    sampling = Sampling({"a": noisy(0.002, 0.5)}, replace(WILD, sessions=2, max_time_s=4))
    sampler = sampling.sampler
    with sampler.untimed():  # before the first sample no time passes
        sampling.session.now += 5
    assert sampler.elapsed_s == 0
    sampling.measure()
    before = sampler.elapsed_s
    with sampler.untimed():
        sampling.session.now += 7
    assert sampler.elapsed_s == pytest.approx(before)
    sampler.begin(1)
    assert sampler.in_time


# sessions


def test_cases_that_have_enough_rest_until_the_next_session() -> None:
    models = {"ref": steady(0.001), "calm": steady(0.001), "wild": noisy(0.001, 0.3)}
    plan = Plan(sessions=3, precision=0.003, max_time_s=600)
    awake: list[set[str]] = []

    def notify(sampler: Sampler) -> None:
        awake.append({case.subject.key for case in sampler.awake})

    sampling = Sampling(models, plan, notify=notify)
    sampling.measure()
    assert all(case.resting for case in sampling.cases.values())
    assert {"ref", "wild"} in awake
    assert {"ref", "calm"} not in awake
    assert [case.subject.key for case in sampling.sampler.active] == list(models)
    assert sampling.measure() == []
    sampling.sampler.begin(1)
    assert len(sampling.sampler.awake) == 3


def test_a_session_that_takes_over_from_a_lost_one_goes_on_with_its_rounds() -> None:
    models = {"a": noisy(0.002, 0.001), "bad": breaks(0.002, 150, AgentError("gone"))}
    plan = Plan(burst_s=0.02, sessions=2, min_rounds=60)
    sampling = Sampling(models, plan)
    with pytest.raises(AgentError):
        sampling.measure()
    kept = len(sampling.bursts())
    assert 0 < kept < plan.rounds_each
    sampling.measure(1)
    assert plan.rounds_each <= len(sampling.cases["a"].rounds) < plan.rounds_each + kept + 20


# states


def test_a_case_that_had_enough_by_another_gate_goes_on() -> None:
    """Fast after a slow beginning: what was enough no longer is."""
    machine = SimulatedMachine({"a": 0.002}, lambda _: 1.35)
    plan = Plan(min_rounds=40)
    sampler = Sampler([Subject("a", "a")], plan, clock=machine.perf_counter)
    case = sampler.cases["a"]
    assert list(sampler.measure(machine, 0)) == [case]
    machine.state = usual
    marks, stream = ((0, 12_000),) * 400, (300_000,) * 400
    sampler.machine.add(Burst(9, 0, (1,), marks=marks, stream_ns=stream))
    sampler._judge()
    assert not case.finished
    assert not case.rounds
    assert list(sampler.measure(machine, 1)) == [case]
    assert not lacking(case.rounds, plan)
    assert sampler.interval(case) is not None
    latency = estimate(case.bursts, sampler.machine.gate)
    assert latency is not None
    assert latency.p50_s == pytest.approx(0.002, rel=0.01)


def test_only_what_waits_for_memory_is_watched_by_the_stream_probe_after_the_warm_up() -> None:
    machine = SimulatedMachine({"bound": 0.002, "other": 0.002})
    subjects = [Subject("bound", "bound", memory_bound=True), Subject("other", "bound")]
    sampler = Sampler(subjects, PLAN, clock=machine.perf_counter)
    list(sampler.measure(machine, 0))
    for key, probe in (("bound", "stream"), ("other", "compute")):
        assert {burst.probe for burst in sampler.cases[key].bursts} == {probe}
    assert sampler.machine.gate.compute is not None
    assert sampler.machine.gate.stream is not None
    assert sampler.machine.gate.stream.centre_ns > 10 * sampler.machine.gate.compute.centre_ns
