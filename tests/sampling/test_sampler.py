import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median

import pytest

from benchbox.analysis import stats
from benchbox.analysis.samples import Burst, estimate, round_medians
from benchbox.analysis.states import Gate, Readings, State
from benchbox.errors import AgentError
from benchbox.sampling import progress
from benchbox.sampling import sampler as sampling_sampler
from benchbox.sampling.plan import Plan, shortfall
from benchbox.sampling.progress import Progress, Subject
from benchbox.sampling.sampler import Sampler
from benchbox.sampling.session import Ask, Timed
from tests.helpers.machine import Machine, usual

PLAN = Plan()
Model = Callable[[float], float]  # seconds since the start -> latency in seconds


class FakeSession:
    """Times bursts on a clock of its own: a call takes what its case's model says."""

    def __init__(
        self, models: Mapping[str, Model], switches: Callable[[], int] = lambda: 0
    ) -> None:
        self.models, self.switches = models, switches
        self.now = 0.0
        self.asked: list[list[tuple[str, int]]] = []
        self.expected: list[float] = []

    def clock(self) -> float:
        return self.now

    def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
        self.asked.append([(graph, calls) for graph, calls, *_ in bursts])
        self.expected += expected_s
        for graph, calls, *_ in bursts:
            try:
                latencies = [self.call(graph) for _ in range(calls)]
            except ValueError as error:
                yield Timed(graph, error=str(error))
            else:
                switches = [self.switches() for _ in latencies]
                yield Timed(graph, {"latencies_ns": latencies, "switches": switches})

    def call(self, graph: str) -> int:
        latency = self.models[graph](self.now)
        self.now += latency
        return round(latency * 1e9)


def noisy(latency_s: float, noise: float = 0.01, seed: int = 0) -> Model:
    generator = random.Random(seed)
    return lambda _: latency_s * (1 + generator.gauss(0, noise))


def measure(
    models: Mapping[str, Model], plan: Plan = PLAN, session: FakeSession | None = None
) -> tuple[Sampler, FakeSession, list[Progress]]:
    """Measure cases set beside the first of them; return how they finished, in order."""
    session = session or FakeSession(models)
    subjects = [Subject(key, next(iter(models))) for key in models]
    sampler = Sampler(subjects, plan, clock=session.clock)
    return sampler, session, list(sampler.measure(session, 0))


def rounds_of(session: FakeSession, sampler: Sampler) -> list[list[str]]:
    """Return the keys timed in each round, in order; warm-up requests are left out."""
    first = {case.bursts[0].round for case in sampler.cases.values() if case.bursts}
    assert first <= {0}
    timed = [key for request in session.asked for key, _ in request]
    timed = timed[sum(len(case.warm_medians) for case in sampler.cases.values()) :]
    count = 1 + max(b.round for case in sampler.cases.values() for b in case.bursts)
    sizes = [
        sum(b.round == r for case in sampler.cases.values() for b in case.bursts)
        for r in range(count)
    ]
    order = iter(timed)
    return [[next(order) for _ in range(size)] for size in sizes]


# when it stops


def test_noise_converges_and_stops_at_the_precision_asked_for() -> None:
    plan = Plan(precision=0.01)
    sampler, session, finished = measure(
        {"a": noisy(0.002, 0.05), "b": noisy(0.004, 0.05, 1)}, plan
    )
    assert {case.subject.key for case in finished} == {"a", "b"}
    for case, latency in zip(sampler.cases.values(), (0.002, 0.004), strict=True):
        interval = sampler.interval(case)
        assert interval is not None
        assert interval.half_width <= plan.precision
        assert interval.value == pytest.approx(latency, rel=0.02)
        assert len(round_medians(case.bursts)) >= plan.min_rounds
        assert not case.failure
    assert session.now < plan.max_time_s / 2


def test_a_case_without_any_noise_still_has_the_fewest_rounds() -> None:
    sampler, _, _ = measure({"a": lambda _: 0.001}, Plan(min_rounds=20))
    assert 20 <= len(sampler.cases["a"].bursts) <= 30


def test_a_case_that_is_never_quiet_ends_at_max_time_and_says_what_it_lacks() -> None:
    plan = Plan(precision=0.01, max_time_s=5.0)
    generator = random.Random(0)
    sampler, session, finished = measure({"a": lambda _: generator.uniform(0.001, 0.02)}, plan)
    assert finished == []
    assert [case.subject.key for case in sampler.active] == ["a"]
    assert 5.0 <= session.now < 7.0
    text = shortfall(sampler.cases["a"].bursts, plan)
    assert "±1.0% was asked" in text
    assert "--max-time" in text


def test_max_time_holds_although_the_warm_up_never_ends() -> None:
    session = FakeSession({"a": lambda _: 0.4, "b": lambda _: 0.4})
    sampler = Sampler([Subject(k, "a") for k in "ab"], Plan(max_time_s=1.0), clock=session.clock)
    for case in sampler.cases.values():
        case.latency_s = 0.4  # as the first call after loading told
    assert list(sampler.measure(session, 0)) == []
    assert session.now <= 1.0 + 4 * 0.4
    assert all(not case.bursts for case in sampler.cases.values())


# rounds


def test_every_round_has_every_case_once_in_an_order_of_its_own() -> None:
    names = "abcd"
    models = {name: noisy(0.002, 0.001, ord(name)) for name in names}
    sampler, session, _ = measure(models, Plan(min_rounds=30))
    rounds = [order for order in rounds_of(session, sampler) if len(order) == len(names)]
    assert len(rounds) >= 30
    assert all(sorted(order) == list(names) for order in rounds)
    assert len({tuple(order) for order in rounds}) > 10


def test_the_orders_are_the_same_for_the_same_seed_and_others_for_another() -> None:
    def orders(seed: int) -> list[list[tuple[str, int]]]:
        models = {name: (lambda _: 0.002) for name in "abcd"}
        return measure(models, Plan(seed=seed))[1].asked

    assert orders(1) == orders(1) != orders(2)


def test_finished_cases_leave_the_rounds_and_the_reference_stays_until_its_last_peer() -> None:
    models = {"ref": lambda _: 0.001, "calm": lambda _: 0.001, "wild": noisy(0.001, 0.2)}
    sampler, _, finished = measure(models, Plan(precision=0.005, max_time_s=300))
    assert finished[0].subject.key == "calm"
    assert {case.subject.key for case in finished[1:]} == {"ref", "wild"}
    rounds = {key: len(case.bursts) for key, case in sampler.cases.items()}
    assert rounds["calm"] < rounds["wild"] == rounds["ref"]


def test_references_of_two_specs_leave_on_their_own() -> None:
    models = {
        "r1": lambda _: 0.001,
        "a1": lambda _: 0.001,
        "r2": lambda _: 0.001,
        "a2": noisy(0.001, 0.2),
    }
    session = FakeSession(models)
    subjects = [Subject(key, f"r{key[1]}") for key in models]
    sampler = Sampler(subjects, Plan(precision=0.005, max_time_s=300), clock=session.clock)
    finished = [case.subject.key for case in sampler.measure(session, 0)]
    assert set(finished[:2]) == {"r1", "a1"}
    assert set(finished[2:]) == {"r2", "a2"}


def test_drift_by_a_step_of_15_percent_leaves_the_ratio_alone() -> None:
    for at in (0.7, 1.3, 2.9):
        a, b = noisy(0.002, 0.01), noisy(0.003, 0.01, 1)
        models: dict[str, Model] = {
            "a": lambda t, at=at, a=a: a(t) * (1.15 if t > at else 1),
            "b": lambda t, at=at, b=b: b(t) * (1.15 if t > at else 1),
        }
        sampler, _, _ = measure(models, Plan(max_time_s=20))
        ratio = stats.ratio_interval(*(round_medians(sampler.cases[k].bursts) for k in "ba"))
        assert ratio is not None
        assert ratio.value == pytest.approx(1.5, rel=0.015)


# bursts


@pytest.mark.parametrize(
    ("latency_s", "calls"),
    [(0.002, 50), (0.05, 5), (0.7, 1), (1e-6, sampling_sampler.MAX_CALLS)],
)
def test_a_burst_lasts_as_long_as_the_plan_says_within_bounds(latency_s: float, calls: int) -> None:
    plan = Plan(burst_s=0.1, min_calls=5, min_rounds=6)
    sampler, _, _ = measure({"a": lambda _: latency_s}, plan)
    assert {len(b.latencies_ns) for b in sampler.cases["a"].bursts} == {calls}


def test_what_a_burst_is_expected_to_take_covers_its_settling_call() -> None:
    sampler, session, _ = measure({"a": lambda _: 0.01})
    calls = [n for request in session.asked for _, n in request]
    pairs = list(zip(calls, session.expected, strict=True))[1:]  # at first nothing is known
    assert all(expected == pytest.approx(0.01 * (n + 1)) for n, expected in pairs)
    assert sampler.cases["a"].latency_s == pytest.approx(0.01)


def test_the_parent_hears_of_samples_about_twice_a_second() -> None:
    session = FakeSession({"a": lambda _: 0.002})
    heard: list[float] = []
    subjects = [Subject("a", "a")]
    plan = Plan(min_rounds=100)
    sampler = Sampler(
        subjects, plan, clock=session.clock, notify=lambda _: heard.append(session.now)
    )
    list(sampler.measure(session, 0))
    gaps = [b - a for a, b in pairwise(heard[5:])]
    assert all(0.4 <= gap <= 0.7 for gap in gaps)


# warm-up


def test_warm_up_goes_on_while_bursts_get_faster() -> None:
    calls = iter(range(10**9))

    def warming(_: float) -> float:
        return 0.005 * (1 + 0.5 ** (next(calls) / 4))

    sampler, _, _ = measure({"a": warming, "b": lambda _: 0.005})
    medians = sampler.cases["a"].warm_medians
    assert len(sampler.cases["b"].warm_medians) == progress.WARM_STILL + 1
    assert progress.WARM_STILL + 1 < len(medians) < progress.WARM_BURSTS
    assert min(medians[-2:]) >= medians[-3] * (1 - progress.WARM_GAIN)
    assert median(sampler.cases["a"].bursts[0].latencies_ns) == pytest.approx(5e6, rel=0.05)
    assert sampler.cases["a"].warmup_calls > sampler.cases["b"].warmup_calls > 0


def test_warm_up_of_a_case_that_gets_ever_faster_is_capped() -> None:
    latency = iter(0.02 * 0.99**n for n in range(10**9))
    sampler, _, _ = measure({"a": lambda _: max(next(latency), 1e-5)}, Plan(max_time_s=5))
    assert len(sampler.cases["a"].warm_medians) <= progress.WARM_BURSTS
    assert sampler.cases["a"].bursts


def test_warm_up_calls_are_no_samples() -> None:
    sampler, session, _ = measure({"a": lambda _: 0.002})
    case = sampler.cases["a"]
    calls = sum(n for request in session.asked for _, n in request)
    assert sum(len(b.latencies_ns) for b in case.bursts) == calls - case.warmup_calls


# what is quiet


def test_calls_with_a_context_switch_do_not_count_as_quiet() -> None:
    generator = random.Random(0)
    marks = iter(int(generator.random() < 0.3) for _ in range(10**7))
    slow: list[bool] = []

    def model(_: float) -> float:
        slow.append(bool(next(marks)))
        return 0.003 if slow[-1] else 0.001

    session = FakeSession({"a": model})
    session.switches = lambda: int(slow.pop(0))
    sampler, _, _ = measure({"a": model}, session=session)
    latency = estimate(sampler.cases["a"].bursts)
    assert latency is not None
    assert latency.p50_s == pytest.approx(0.001)
    assert latency.quiet_share == pytest.approx(0.7, abs=0.05)
    assert latency.p90_s == pytest.approx(0.003)


def test_a_case_with_no_quiet_call_at_all_gets_no_figure() -> None:
    models = {"a": lambda _: 0.001}
    session = FakeSession(models, switches=lambda: 1)
    plan = Plan(max_time_s=2)
    sampler, _, finished = measure(models, plan, session)
    assert finished == []
    assert estimate(sampler.cases["a"].bursts) is None
    assert "only 0 quiet rounds" in shortfall(sampler.cases["a"].bursts, plan)


# what goes wrong


def breaks(latency_s: float, after: int, error: Exception) -> Model:
    calls = iter(range(10**9))

    def model(_: float) -> float:
        if next(calls) >= after:
            raise error
        return latency_s

    return model


@pytest.mark.parametrize("after", [0, 30, 150])
def test_a_burst_that_fails_ends_its_case_alone(after: int) -> None:
    models = {
        "a": lambda _: 0.002,
        "bad": breaks(0.002, after, ValueError("no memory")),
        "c": lambda _: 0.002,
    }
    sampler, _, finished = measure(models, Plan(burst_s=0.02))
    assert [c.subject.key for c in finished if c.failure] == ["bad"]
    assert sampler.cases["bad"].failure == "no memory"
    assert {c.subject.key for c in finished} == {"a", "bad", "c"}
    assert sum(c.subject.key == "bad" for c in finished) == 1
    assert not shortfall(sampler.cases["c"].bursts, sampler.plan)


@pytest.mark.parametrize("after", [0, 25, 150])
def test_a_lost_agent_fails_the_case_in_flight_and_the_next_session_goes_on(after: int) -> None:
    models = {
        "a": noisy(0.002, 0.001),
        "bad": breaks(0.002, after, AgentError("gone")),
        "c": noisy(0.003, 0.001),
    }
    session = FakeSession(models)
    subjects = [Subject(key, "a") for key in models]
    sampler = Sampler(subjects, Plan(burst_s=0.02), clock=session.clock)
    finished: list[Progress] = []
    with pytest.raises(AgentError, match="gone"):
        for case in sampler.measure(session, 0):
            finished.append(case)
    assert [(c.subject.key, c.failure) for c in finished if c.failure] == [("bad", "gone")]
    before = {key: len(sampler.cases[key].bursts) for key in models}
    finished += sampler.measure(session, 1)
    assert {c.subject.key for c in finished} == set(models)
    assert len(sampler.cases["bad"].bursts) == before["bad"]
    for key in "ac":
        bursts = sampler.cases[key].bursts
        assert {b.session for b in bursts[before[key] :]} <= {1}
        assert {b.session for b in bursts[: before[key]]} <= {0}
        assert len({(b.session, b.round) for b in bursts}) == len(bursts)
        assert not shortfall(bursts, sampler.plan)


def test_every_session_warms_up_anew() -> None:
    models = {"a": noisy(0.002, 0.0), "bad": breaks(0.002, 25, AgentError("gone"))}
    session = FakeSession(models)
    sampler = Sampler([Subject(k, "a") for k in models], Plan(burst_s=0.02), clock=session.clock)
    with pytest.raises(AgentError):
        list(sampler.measure(session, 0))
    warm = sampler.cases["a"].warmup_calls
    requests = len(session.asked)
    list(sampler.measure(session, 1))
    assert sampler.cases["a"].warmup_calls > warm
    assert all(key == "a" for key, _ in session.asked[requests])
    assert len(sampler.cases["a"].warm_medians) == progress.WARM_STILL + 1


def test_an_agent_lost_between_bursts_has_no_case_to_blame() -> None:
    class Fragile(FakeSession):
        def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
            yield from super().time(bursts, expected_s)
            raise AgentError("gone after the last burst")

    session = Fragile({"a": lambda _: 0.002})
    sampler = Sampler([Subject("a", "a")], Plan(), clock=session.clock)
    with pytest.raises(AgentError):
        list(sampler.measure(session, 0))
    assert not sampler.cases["a"].failure
    assert len(sampler.active) == 1


def test_a_case_failed_from_outside_keeps_its_samples_and_is_timed_no_more() -> None:
    session = FakeSession({"a": lambda _: 0.002, "b": lambda _: 0.002})
    sampler = Sampler([Subject("a", "a"), Subject("b", "a")], Plan(), clock=session.clock)
    sampler.fail("b", "it does not load")
    assert [c.subject.key for c in sampler.measure(session, 0)] == ["a"]
    assert all(key == "a" for request in session.asked for key, _ in request)


def test_time_counts_from_the_first_session_and_over_all_of_them() -> None:
    session = FakeSession({"a": noisy(0.002, 0.5)})
    sampler = Sampler([Subject("a", "a")], Plan(max_time_s=3, precision=1e-6), clock=session.clock)
    assert sampler.elapsed_s == 0
    list(sampler.measure(session, 0))
    session.now += 10
    asked = len(session.asked)
    assert list(sampler.measure(session, 1)) == []
    assert len(session.asked) == asked
    assert sampler.elapsed_s >= 13


# sessions


THREE = Plan(sessions=3)


def staged(
    models: Mapping[str, Model], plan: Plan = THREE
) -> tuple[Sampler, list[tuple[int, list[str]]]]:
    """Measure in sessions; return which cases finished in each stage."""
    session = FakeSession(models)
    sampler = Sampler(
        [Subject(key, next(iter(models))) for key in models], plan, clock=session.clock
    )
    finished = []
    for stage in range(plan.sessions):
        sampler.begin(stage)
        finished.append((stage, [c.subject.key for c in sampler.measure(session, stage)]))
    return sampler, finished


def test_every_session_has_as_many_rounds_of_a_case_and_the_last_finishes_it() -> None:
    sampler, finished = staged({"a": noisy(0.002, 0.001), "b": noisy(0.004, 0.001, 1)})
    assert [keys for _, keys in finished[:2]] == [[], []]
    assert sorted(finished[2][1]) == ["a", "b"]
    for case in sampler.cases.values():
        sizes = [sum(b.session == stage for b in case.bursts) for stage in range(3)]
        assert min(sizes) >= THREE.rounds_each
        assert max(sizes) - min(sizes) <= 6  # a chunk of rounds is never cut short
        assert not shortfall(case.bursts, THREE)


def test_a_noisy_case_spreads_its_rounds_over_the_sessions() -> None:
    plan = Plan(sessions=3, precision=0.005, max_time_s=600)
    sampler, _ = staged({"a": noisy(0.02, 0.1)}, plan)
    sizes = [sum(b.session == stage for b in sampler.cases["a"].bursts) for stage in range(3)]
    assert sum(sizes) > 3 * plan.rounds_each
    assert min(sizes) > sum(sizes) / 6


def test_cases_that_have_enough_rest_until_the_next_session() -> None:
    models = {"ref": lambda _: 0.001, "calm": lambda _: 0.001, "wild": noisy(0.001, 0.3)}
    session = FakeSession(models)
    plan = Plan(sessions=3, precision=0.003, max_time_s=600)
    seen: list[set[str]] = []
    sampler = Sampler(
        [Subject(key, "ref") for key in models],
        plan,
        clock=session.clock,
        notify=lambda s: seen.append({case.subject.key for case in s.awake}),
    )
    list(sampler.measure(session, 0))
    assert [sampler.cases[key].resting for key in models] == [True] * 3
    assert {"ref", "wild"} in seen
    assert {"ref", "calm"} not in seen
    assert [case.subject.key for case in sampler.active] == list(models)
    assert list(sampler.measure(session, 0)) == []
    sampler.begin(1)
    assert len(sampler.awake) == 3


def test_a_session_ends_at_its_share_of_the_time() -> None:
    session = FakeSession({"a": noisy(0.002, 0.5)})
    plan = Plan(sessions=3, max_time_s=9, precision=1e-6)
    sampler = Sampler([Subject("a", "a")], plan, clock=session.clock)
    for stage, end in enumerate((3, 6, 9)):
        sampler.begin(stage)
        list(sampler.measure(session, stage))
        assert session.now == pytest.approx(end, abs=0.4)
        assert not sampler.in_time
    assert {b.session for b in sampler.cases["a"].bursts} == {0, 1, 2}


def test_what_an_early_session_leaves_over_the_later_ones_have() -> None:
    models = {"a": lambda _: 0.002}
    session = FakeSession(models)
    sampler = Sampler([Subject("a", "a")], Plan(sessions=2, max_time_s=60), clock=session.clock)
    list(sampler.measure(session, 0))
    assert session.now < 10
    sampler.begin(1)
    assert sampler.plan.stage_end_s(sampler.stage) - sampler.elapsed_s > 50


def test_a_case_that_is_put_off_takes_its_share_of_the_time_with_it() -> None:
    sampler = Sampler([Subject(key, "a") for key in "abc"], replace(PLAN, max_time_s=30.0))
    assert sampler.postpone("c") == 10.0
    assert (sampler.plan.max_time_s, list(sampler.cases)) == (20.0, ["a", "b"])
    sampler.cases["a"].bursts.append(Burst(0, 0, (1000,), (0,)))
    assert sampler.postpone("b") == 20.0


def test_getting_ready_takes_nothing_from_the_time() -> None:
    session = FakeSession({"a": noisy(0.002, 0.5)})
    plan = Plan(sessions=2, max_time_s=4, precision=1e-6)
    sampler = Sampler([Subject("a", "a")], plan, clock=session.clock)
    with sampler.untimed():  # before the first sample no time passes
        session.now += 5
    assert sampler.elapsed_s == 0
    list(sampler.measure(session, 0))
    before = sampler.elapsed_s
    with sampler.untimed():
        session.now += 7
    assert sampler.elapsed_s == pytest.approx(before)
    sampler.begin(1)
    assert sampler.in_time


def test_a_session_that_takes_over_from_a_lost_one_goes_on_with_its_rounds() -> None:
    models = {"a": noisy(0.002, 0.001), "bad": breaks(0.002, 150, AgentError("gone"))}
    session = FakeSession(models)
    plan = Plan(burst_s=0.02, sessions=2, min_rounds=60)
    sampler = Sampler([Subject(key, "a") for key in models], plan, clock=session.clock)
    with pytest.raises(AgentError):
        list(sampler.measure(session, 0))
    kept = len(sampler.cases["a"].bursts)
    assert 0 < kept < plan.rounds_each
    list(sampler.measure(session, 1))
    rounds = sampler.cases["a"].rounds
    assert {number for number, _ in rounds} == {0, 1}
    assert plan.rounds_each <= len(rounds) < plan.rounds_each + kept + 20
    assert sampler.cases["a"].resting


# states


GATE = Gate(State(12_000.0, 11_800.0, 12_200.0))


def marked(number: int, latency: int, reading: int) -> Burst:
    return Burst(0, number, (latency,), (0,), ((0, reading), (1, reading)))


def test_new_rounds_are_judged_as_they_come_and_all_of_them_by_a_new_gate() -> None:
    case = Progress(Subject("a", "a"))
    case.bursts = [marked(i, 1000, 12_000) for i in range(3)]
    case.judge(Gate())
    case.bursts += [marked(i, 1350, 16_200) for i in range(3, 6)]
    case.judge(Gate())
    assert len(case.rounds) == 6
    case.judge(GATE)
    assert case.rounds == pytest.approx({(0, i): 1e-6 for i in range(3)})
    case.bursts.append(marked(9, 1000, 12_000))
    case.judge(GATE)
    assert (0, 9) in case.rounds
    case.judge(Gate())
    assert len(case.rounds) == 7


def test_a_case_that_had_enough_by_another_gate_goes_on() -> None:
    """Fast after a slow beginning: what was enough no longer is."""
    machine = Machine({"a": 0.002}, lambda _: 1.35)
    plan = Plan(min_rounds=40)
    readings = Readings()
    sampler = Sampler([Subject("a", "a")], plan, readings=readings, clock=machine.perf_counter)
    first = list(sampler.measure(machine, 0))
    case = sampler.cases["a"]
    assert [c.subject.key for c in first] == ["a"]
    machine.state = usual
    readings.add("compute", [(0, 12_000)] * 400, [300_000] * 400)
    sampler._judge()
    assert not case.finished
    assert not case.rounds
    again = list(sampler.measure(machine, 1))
    assert [c.subject.key for c in again] == ["a"]
    assert not shortfall(case.bursts, plan, sampler.gate)
    assert sampler.interval(case) is not None
    assert estimate(case.bursts, sampler.gate).p50_s == pytest.approx(0.002, rel=0.01)  # type: ignore[union-attr]


def test_a_case_that_failed_is_not_woken_by_another_gate() -> None:
    sampler = Sampler([Subject("a", "a")], Plan())
    sampler.fail("a", "it does not load")
    sampler._judge()
    assert sampler.active == []


def test_only_what_waits_for_memory_is_watched_by_the_stream_probe() -> None:
    machine = Machine({"bound": 0.002, "other": 0.002})
    subjects = [Subject("bound", "bound", memory_bound=True), Subject("other", "bound")]
    sampler = Sampler(subjects, Plan(), clock=machine.perf_counter)
    list(sampler.measure(machine, 0))
    for key, probe in (("bound", "stream"), ("other", "compute")):
        assert {burst.probe for burst in sampler.cases[key].bursts} == {probe}
    assert sampler.gate.compute is not None
    assert sampler.gate.stream is not None
    assert sampler.gate.stream.centre_ns > 10 * sampler.gate.compute.centre_ns


def test_warm_up_readings_tell_nothing_of_the_machines_states() -> None:
    machine = Machine({"a": 0.002})
    sampler = Sampler([Subject("a", "a")], Plan(), clock=machine.perf_counter)
    list(sampler.measure(machine, 0))
    marks = sum(len(burst.marks) for burst in sampler.cases["a"].bursts)
    assert sampler.readings.now.compute.total == marks
