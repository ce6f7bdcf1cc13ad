import math
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate, product
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchbox.analysis import stats
from benchbox.analysis.stats import Interval

Values = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Values]
Round = tuple[int, int]
TRIALS = 1000
RHO = 0.6
CALLS = 20  # of one round

values = st.lists(st.floats(-1e6, 1e6).map(lambda x: round(x, 3)), min_size=6, max_size=60)


def interval_of(numbers: list[float]) -> Interval:
    interval = stats.median_interval(numbers)
    assert interval is not None
    return interval


def normal(random: np.random.Generator, count: int) -> Values:
    return random.normal(size=(TRIALS, count))


def autoregressive(random: np.random.Generator, rounds: int) -> Values:
    """Medians of rounds of calls, each call correlated with the one before."""
    noise = random.normal(size=(rounds * CALLS, TRIALS)) * math.sqrt(1 - RHO**2)
    calls = np.empty_like(noise)
    calls[0] = noise[0] / math.sqrt(1 - RHO**2)
    for index in range(1, len(calls)):
        calls[index] = RHO * calls[index - 1] + noise[index]
    return np.median(calls.T.reshape(TRIALS, rounds, CALLS), axis=2)


def coverage(rows: Values) -> float:
    """How often the interval holds the true median, which is 0."""
    intervals = (interval_of(row.tolist()) for row in rows)
    return sum(i.low <= 0 <= i.high for i in intervals) / len(rows)


@pytest.mark.parametrize(
    ("draw", "count"), [*product([normal], [6, 10, 20, 41]), *product([autoregressive], [10, 41])]
)
def test_the_interval_covers_the_median_as_often_as_it_says(draw: Draw, count: int) -> None:
    least = 0.91 if draw is autoregressive else 0.92
    assert least <= coverage(draw(np.random.default_rng(count), count)) <= 0.98


def exact_place(count: int) -> int:
    """The largest k of which the k-th smallest and k-th largest cover the confidence."""
    fewer = accumulate(math.comb(count, i) for i in range(count // 2))
    return sum(1 - 2 * (ways / 2**count) >= stats.CONFIDENCE for ways in fewer)


@pytest.mark.parametrize("count", [*range(6, 40), 1029, 1030])
def test_the_interval_lies_between_the_exact_one_and_the_next_narrower(count: int) -> None:
    interval = interval_of([float(i) for i in range(1, count + 1)])
    k = exact_place(count)
    assert k <= interval.low < k + 1
    assert count - k < interval.high <= count + 1 - k
    assert interval.low + interval.high == pytest.approx(count + 1)
    assert interval.value == (count + 1) / 2


def test_fewer_rounds_than_six_have_neither_interval_nor_ratio() -> None:
    assert stats.median_interval([1.0] * 5) is None
    shared = {(0, i + 15): 1.0 for i in range(20)}
    assert stats.ratio_interval({(0, i): 1.0 for i in range(20)}, shared) is None


@given(values, st.floats(0.01, 100), st.floats(-1e3, 1e3))
def test_scaling_and_shifting_the_values_in_any_order_does_so_to_the_interval(
    numbers: list[float], scale: float, shift: float
) -> None:
    assert min(numbers) <= interval_of(numbers).low <= median(numbers)
    expected = tuple(scale * end + shift for end in ends(interval_of(numbers)))
    found = interval_of([scale * x + shift for x in sorted(numbers)])
    assert ends(found) == pytest.approx(expected, rel=1e-9, abs=1e-5)


def test_the_half_width_is_the_longer_side_over_the_value() -> None:
    intervals = (2, 1, 2.5), (2, 1.5, 4), (0, 0, 1), (-1, -2, 1)
    assert [Interval(*each).half_width for each in intervals] == [0.5, 1.0, math.inf, math.inf]


# Ratios


def ratio_of(mine: Mapping[Round, float], others: Mapping[Round, float]) -> Interval:
    interval = stats.ratio_interval(mine, others)
    assert interval is not None
    return interval


def ends(interval: Interval) -> tuple[float, float, float]:
    return interval.value, interval.low, interval.high


def rounds_of(numbers: Iterable[float]) -> dict[Round, float]:
    return {(0, index): number for index, number in enumerate(numbers)}


@given(st.lists(st.floats(0.5, 2), min_size=6, max_size=30))
def test_the_ratio_the_other_way_round_is_its_inverse(numbers: list[float]) -> None:
    mine, ones = rounds_of(numbers), rounds_of([1.0] * len(numbers))
    one, other = ratio_of(mine, ones), ratio_of(ones, mine)
    assert ends(other) == pytest.approx((1 / one.value, 1 / one.high, 1 / one.low))


def test_only_rounds_that_both_have_count() -> None:
    shared = rounds_of(map(math.exp, range(9)))
    mine = shared | {(1, i): 50.0 for i in range(9)}
    others = dict.fromkeys(shared, 1.0) | {(2, i): 99.0 for i in range(9)}
    logs = interval_of([float(i) for i in range(9)])
    assert ends(ratio_of(mine, others)) == pytest.approx(tuple(map(math.exp, ends(logs))))


# Verdicts


@pytest.mark.parametrize(
    ("verdict", "intervals"),
    [
        ("SLOWER", [(1.02, 1.5), (1.0101, 1.5)]),
        ("FASTER", [(0.5, 0.98), (0.5, 0.99)]),
        ("SAME", [(0.9902, 1.0099), (1.0, 1.0), (1.002, 1.008)]),  # slower, but by too little
        ("UNCLEAR", [(1.01, 1.5), (0.5, 0.9902), (0.98, 1.0), (1.0, 1.02), (0.5, 2.0)]),
    ],
)
def test_a_verdict_needs_the_whole_interval_on_its_side(
    verdict: str, intervals: list[tuple[float, float]]
) -> None:
    verdicts = {stats.verdict(Interval((low + high) / 2, low, high)) for low, high in intervals}
    assert verdicts == {verdict}
    assert stats.verdict(None) == "UNCLEAR"


# Where the scatter comes from


def groups_of(
    random: np.random.Generator, sessions: int, rounds: int, within: float, between: float
) -> list[list[float]]:
    centres = np.exp(random.normal(0, between, sessions))
    return [(c * np.exp(random.normal(0, within, rounds))).tolist() for c in centres]


@pytest.mark.parametrize(
    ("within", "between", "sessions", "rounds"),
    [(0.01, 0.02, 3, 7), (0.02, 0.005, 10, 20), (0.005, 0.05, 3, 20), (0.01, 0.0, 10, 7)],
)
def test_components_are_those_of_simulated_random_effects(
    within: float, between: float, sessions: int, rounds: int
) -> None:
    """On average over repetitions, by their variances: a deviation by itself is biased."""
    random = np.random.default_rng(sessions)
    found = [
        stats.components(groups_of(random, sessions, rounds, within, between)) for _ in range(300)
    ]
    inside, apart = np.sqrt(np.mean(np.square(np.array(found, dtype=float)), axis=0))
    assert inside == pytest.approx(within, rel=0.2)
    assert apart == pytest.approx(between, rel=0.15, abs=within / math.sqrt(rounds))


@pytest.mark.parametrize(
    ("known", "several"),
    [
        ((False, False), [[], [[]], [[1.0]], [[1.0], [2.0]]]),
        ((True, False), [[[1.0, 1.1]], [[1.0, 1.1], []]]),
        ((True, True), [[[1.0, 1.1], [2.0]]]),
    ],
)
def test_components_need_two_rounds_and_two_sessions(
    known: tuple[bool, bool], several: list[list[list[float]]]
) -> None:
    for groups in several:
        assert tuple(each is not None for each in stats.components(groups)) == known
    assert stats.components([[2.0] * 5] * 3) == (0.0, 0.0)


# Quantiles


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50), st.floats(0, 1))
def test_a_quantile_is_numpys(numbers: list[float], q: float) -> None:
    assert stats.quantile(numbers, q) == pytest.approx(
        float(np.quantile(numbers, q)), rel=1e-9, abs=1e-6
    )


@pytest.mark.parametrize(("q", "floor"), [(0.5, 11), (0.9, 64), (0.99, 662)])
def test_a_percentile_needs_so_many_samples_that_two_lie_above_it(q: float, floor: int) -> None:
    def two_above(count: int) -> float:
        return 1 - q**count - count * (1 - q) * q ** (count - 1)

    assert two_above(floor - 1) < 0.99 <= two_above(floor)
    numbers = [float(i) for i in range(floor)]
    assert stats.percentile(numbers, q) == pytest.approx(q * (floor - 1))
    assert stats.percentile(numbers[:-1], q) is None


@pytest.mark.parametrize(("freedom", "t"), [(3, 3.182), (5, 2.571), (20, 2.086)])
def test_students_t_is_that_of_tables(freedom: int, t: float) -> None:
    assert stats.student(freedom) == pytest.approx(t, rel=0.01)
