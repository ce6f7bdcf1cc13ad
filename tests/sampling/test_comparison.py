"""The sampling of a comparison: mirrored rounds, precise ratios, clear verdicts."""

from collections import Counter
from dataclasses import replace

import pytest

from benchbox.analysis import stats
from benchbox.analysis.machine import Known, Machine
from benchbox.analysis.samples import Burst, round_medians
from benchbox.analysis.states import Bases
from benchbox.analysis.stats import Interval
from benchbox.sampling.plan import Plan, lacking, undecided
from benchbox.sampling.progress import Progress, Subject
from tests.helpers.sessions import LEVEL, Model, Sampling, breaks, noisy, on_level, steady, wave

PLAN = Plan(margin=0.01)
THREE = replace(PLAN, sessions=3, min_rounds=18)


class Comparison(Sampling):
    """A comparison in one session: who finished, in order, and when it ended."""

    def __init__(self, plan: Plan = PLAN, **models: Model) -> None:
        super().__init__(models, plan)
        self.finished = self.measure()
        self.now = self.session.now

    def ratio(self, key: str = "b") -> Interval:
        interval = stats.ratio_interval(*(round_medians(self.bursts(each)) for each in (key, "a")))
        assert interval is not None
        return interval

    def is_precise(self, key: str) -> bool:
        """Whether a case's own latency is."""
        interval = stats.median_interval(list(self.cases[key].rounds.values()))
        assert interval is not None
        return interval.half_width <= PLAN.precision

    def rounds_each(self) -> dict[str, int]:
        return {key: len(case.rounds) for key, case in self.cases.items()}


# mirrored rounds


@pytest.mark.parametrize("names", ["a", "ab", "abcde"])
def test_a_round_is_the_same_forwards_and_backwards_and_new_each_time(names: str) -> None:
    plan = replace(PLAN, min_rounds=80)
    rounds = Comparison(plan, **dict.fromkeys(names, steady(0.002))).orders()
    assert len(rounds) >= plan.min_rounds
    for order in rounds:
        assert order == order[::-1]
        middle = order[len(names) - 1]
        assert Counter(order) == {name: 1 if name == middle else 2 for name in names}
    assert len({tuple(order) for order in rounds}) > (len(names) > 1) + 3 * (len(names) - 2)
    middles = Counter(order[len(order) // 2] for order in rounds)
    assert min(middles[name] for name in names) > len(rounds) / 3 / len(names)


@pytest.mark.parametrize(
    ("latency_s", "burst_s", "least", "calls"),
    [
        (0.002, 0.06, 5, 30),
        (0.0024, 0.06, 5, 25),
        (0.02, 0.06, 5, 5),
        *((0.002, 1e-4, calls, calls) for calls in (1, 2)),
    ],
)
def test_a_case_has_the_calls_of_one_burst_in_equal_halves(
    latency_s: float, burst_s: float, least: int, calls: int
) -> None:
    plan = replace(PLAN, min_rounds=6, burst_s=burst_s, min_calls=least)
    half = (calls + 1) // 2
    for case in Comparison(plan, **dict.fromkeys("abc", steady(latency_s))).cases.values():
        together: dict[int, list[int]] = {}
        for burst in case.bursts:
            together.setdefault(burst.round, []).append(len(burst.latencies_ns))
        assert {tuple(each) for each in together.values()} == {(half, half), (calls,)}


def drifting(latency_s: float, per_s: float) -> Model:
    return lambda now: latency_s * (1 + per_s * now)


@pytest.mark.parametrize(
    ("calls", "latencies_ms", "per_s"), [(40, (2, 3, 1), 0.02), (41, (1, 3), -0.005)]
)
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
        comparison = Comparison(plan, **models)
        first = round_medians(comparison.bursts("a"))
        wrong[margin] = max(
            abs(value / first[key] * named["a"] / ms - 1)
            for name, ms in named.items()
            for key, value in round_medians(comparison.bursts(name)).items()
        )
    assert wrong[0.01] < 0.05 * wrong[None]
    assert wrong[0.01] < 1e-4


# when it stops


@pytest.mark.parametrize(("b", "verdict"), [(0.004, "SLOWER"), (0.001, "FASTER"), (0.002, "SAME")])
def test_it_stops_when_the_ratio_is_precise_and_the_verdict_clear(b: float, verdict: str) -> None:
    found = Comparison(a=noisy(0.002, 0.002), b=noisy(b, 0.002, 1))
    assert sorted(found.finished) == ["a", "b"]
    assert found.now < PLAN.max_time_s / 5
    assert found.ratio().half_width <= PLAN.precision
    assert stats.verdict(found.ratio(), 0.01) == verdict


def waving(latency_s: float) -> Model:
    return lambda now: latency_s * wave(now)


def test_it_is_the_ratio_that_has_to_be_precise_and_not_the_latency() -> None:
    models = {"a": waving(0.002), "b": waving(0.003)}
    found = Comparison(**models)
    assert sorted(found.finished) == ["a", "b"]
    assert found.now < 20
    assert found.ratio().value == pytest.approx(1.5, rel=1e-3)
    assert not found.is_precise("a")
    found = Comparison(replace(PLAN, margin=None), **models)
    assert found.finished == []
    assert found.now >= PLAN.max_time_s


@pytest.mark.parametrize(
    ("plan", "noise", "b", "fewest"),
    [
        (replace(PLAN, precision=0.006), 0.1, 0.004, 3),  # clear at once, precise later
        (replace(PLAN, margin=0.005, precision=0.05, max_time_s=600), 0.05, 0.002, 2),
    ],
)
def test_it_goes_on_until_the_ratio_is_both_precise_and_clear(
    plan: Plan, noise: float, b: float, fewest: int
) -> None:
    found = Comparison(plan, a=noisy(0.002, noise), b=noisy(b, noise, 1))
    assert sorted(found.finished) == ["a", "b"]
    assert found.ratio().half_width <= plan.precision
    assert stats.verdict(found.ratio(), plan.margin or 0) in ("SLOWER", "SAME")
    assert found.rounds_each()["b"] > fewest * plan.min_rounds


def near(now: float) -> float:
    """A latency that is now 0.4%, now 1.6% more than 2 ms: precise, but across the bound of 1%."""
    return 0.002 * (1.004 if int(now / 0.4) % 2 else 1.016)


def test_an_unclear_verdict_goes_on_to_the_end_although_the_ratio_is_precise() -> None:
    models = {"a": steady(0.002), "far": noisy(0.004, 0.002, 1), "near": near}
    plan = replace(PLAN, max_time_s=15)
    found = Comparison(plan, **models)
    assert found.finished == ["far"]
    assert plan.max_time_s <= found.now < plan.max_time_s + 2
    rounds, reference = (found.cases[key].rounds for key in ("near", "a"))
    assert lacking(rounds, plan, reference) == ""
    assert undecided(rounds, plan, reference)
    counts = found.rounds_each()
    assert counts["far"] < counts["near"] == counts["a"] == len(rounds.keys() & reference.keys())
    found = Comparison(replace(PLAN, margin=0.05), **models)
    assert sorted(found.finished) == sorted(models)  # clear by a wider margin
    assert found.now < 10


# what goes wrong


@pytest.mark.parametrize(("bad", "after"), [("a", 0), ("a", 200), ("b", 40)])
def test_when_one_of_two_fails_the_other_is_timed_until_its_own_latency_is_precise(
    bad: str, after: int
) -> None:
    models = {"a": noisy(0.02, 0.06), "b": noisy(0.02, 0.06, 1)}
    models[bad] = breaks(0.02, after, ValueError("no memory"))
    found = Comparison(replace(PLAN, max_time_s=300), **models)
    left = "b" if bad == "a" else "a"
    assert found.finished == [bad, left]
    assert [found.cases[key].failure for key in found.finished] == ["no memory", ""]
    assert found.is_precise(left)
    assert found.rounds_each()[left] > 2 * PLAN.min_rounds
    assert found.now < 300


def test_a_reference_that_fails_late_sends_those_back_whose_ratio_was_all_they_had() -> None:
    """Their own latency is not precise yet, and a ratio there will never be again."""
    models = {
        "a": breaks(0.002, 3000, ValueError("no memory")),
        "b": noisy(0.004, 0.001, 1),
        "near": noisy(0.00202, 0.1, 2),
    }
    found = Comparison(replace(PLAN, max_time_s=300), **models)
    assert list(dict.fromkeys(found.finished)) == ["b", "a", "near"]
    assert all(map(found.is_precise, ("b", "near")))


# sessions


def test_each_session_has_its_rounds_and_the_last_finishes_the_cases() -> None:
    models = {"a": noisy(0.02, 0.05), "b": noisy(0.04, 0.05, 1)}
    sampling = Sampling(models, replace(THREE, max_time_s=900))
    *early, last = sampling.measure_in_stages()
    assert (early, sorted(last)) == ([[], []], ["a", "b"])
    for key in "ab":
        # A noisy ratio is to be as precise in each session as its share.
        assert min(sampling.per_session(key)) > THREE.rounds_each


def test_a_case_that_is_unclear_gets_as_many_rounds_in_each_session() -> None:
    """Else all that decides it comes from the last process."""
    models = {"a": steady(0.002), "far": steady(0.004), "near": near}
    sampling = Sampling(models, replace(THREE, max_time_s=30))
    assert sampling.measure_in_stages() == [[], [], ["far"]]
    assert sampling.sampler.elapsed_s >= 30
    a, far, near_ = map(sampling.per_session, models)
    assert max(near_) < 1.5 * min(near_)
    assert min(near_) > 3 * max(far)
    assert max(far) <= THREE.rounds_each + 2
    assert a == near_


# what a plan asks for, by numbers


def rounds(*values: float, first: int = 0, session: int = 0) -> dict[tuple[int, int], float]:
    return {(session, first + index): value for index, value in enumerate(values)}


ONES, WILD = rounds(*[1.0] * 20), rounds(*[1.0, 2.0] * 10)


@pytest.mark.parametrize(
    ("case", "reference", "text"),
    [
        (ONES, {}, "only 0 quiet rounds of both cases and an interval needs 6"),
        (rounds(*[2.0] * 20, first=15), ONES, "only 5 quiet rounds of both cases and an interval"),
        (rounds(*[2.0] * 20, session=1), ONES, "only 0 quiet rounds of both cases and an"),
        (rounds(*[2.0] * 19), ONES, "only 19 of 20 quiet rounds of both cases"),
        (rounds(*[2.0] * 20), ONES, ""),
        (WILD, ONES, "the ratio is ±41.4% after 20 rounds, ±1.0% was asked"),
        (WILD, rounds(*[2.0, 4.0] * 10), ""),
    ],
)
def test_what_a_ratio_lacks_is_said_in_numbers(
    case: dict[tuple[int, int], float], reference: dict[tuple[int, int], float], text: str
) -> None:
    found = lacking(case, PLAN, reference)
    assert found.startswith(text)
    assert bool(found) == bool(text)


@pytest.mark.parametrize(
    ("low", "high", "margin", "unclear"),
    [
        (0.99, 1.03, 0.01, True),
        (0.995, 1.005, 0.01, False),
        (0.995, 1.005, 0.001, True),
        (1.02, 1.03, 0.01, False),
        (0.96, 1.04, None, False),
        (1.005, 1.005, 0.001, False),
    ],
)
def test_a_ratio_across_a_bound_is_undecided(
    low: float, high: float, margin: float | None, unclear: bool
) -> None:
    assert undecided(rounds(*[low, high] * 10), Plan(margin=margin), ONES) == unclear
    assert undecided(rounds(*[9.0] * 20, first=15), PLAN, ONES)  # too few that both have
    assert not undecided(rounds(1.0), PLAN, None)


@pytest.mark.parametrize(("most", "unclear"), [(1.03, False), (1.05, True), (1.07, False)])
def test_a_ratio_across_a_limit_is_undecided(most: float, unclear: bool) -> None:
    plan = Plan(margin=0.01, limits=(1.5, most))
    assert undecided(rounds(*[1.04, 1.06] * 10), plan, ONES) == unclear


# the level of the memory


SLOW = ((0, 15_000), (1, 15_000))


@pytest.mark.parametrize(("quiet", "counts"), [(1, False), (2, True)])
def test_a_round_of_a_ratio_has_a_third_of_its_calls_quiet(quiet: int, counts: bool) -> None:
    burst = Burst(0, 0, (1000,), stream_ns=(300_000, 300_000))
    six = [burst] * quiet + [replace(burst, marks=SLOW)] * (6 - quiet)
    assert bool(round_medians(six, LEVEL, paired=True)) == counts
    assert len(round_medians(six, LEVEL)) == 1


def test_a_sampler_keeps_the_rounds_of_a_ratio_beside_those_of_a_latency() -> None:
    marked = [replace(each, marks=((0, 12_000), (1, 12_000))) for each in on_level(8, 12, 2000)]
    case = Progress(Subject("b", "a"), bursts=marked)

    def judged(compute_ns: float, stream_ns: float) -> tuple[int, int]:
        case.judge(Machine(Known(Bases(compute_ns, stream_ns))), paired=True)
        return len(case.rounds), len(case.paired)

    assert judged(12_000, 300_000) == (8, 20)
    case.bursts.append(Burst(0, 20, (2000,), stream_ns=(400_000, 400_000)))
    assert judged(12_000, 300_000) == (8, 21)
    assert judged(12_000, 400_000) == (13, 21)
    del case.bursts[-1]
    assert judged(20_000, 300_000) == (0, 0)
