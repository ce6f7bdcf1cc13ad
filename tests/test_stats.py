import math
from collections.abc import Callable
from itertools import accumulate, pairwise
from statistics import median

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchbox import stats
from benchbox.stats import Interval

Values = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Values]
TRIALS = 2000
RHO = 0.6
CALLS = 20  # of one round

values = st.lists(st.floats(-1e6, 1e6).map(lambda x: round(x, 3)), min_size=6, max_size=60)


def interval_of(numbers: list[float]) -> Interval:
    interval = stats.median_interval(numbers)
    assert interval is not None
    return interval


def normal(random: np.random.Generator, count: int) -> Values:
    return random.normal(size=(TRIALS, count))


def lognormal(random: np.random.Generator, count: int) -> Values:
    return np.log(random.lognormal(sigma=1.0, size=(TRIALS, count)))


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


@pytest.mark.parametrize("draw", [normal, lognormal])
@pytest.mark.parametrize("count", [6, 10, 20, 41])
def test_the_interval_covers_the_median_as_often_as_it_says(draw: Draw, count: int) -> None:
    assert 0.92 <= coverage(draw(np.random.default_rng(count), count)) <= 0.98


@pytest.mark.parametrize("rounds", [10, 20, 41])
def test_medians_of_rounds_of_correlated_calls_are_covered_too(rounds: int) -> None:
    assert 0.91 <= coverage(autoregressive(np.random.default_rng(rounds), rounds)) <= 0.98


def exact_place(count: int) -> int:
    """The largest k of which the k-th smallest and k-th largest cover the confidence."""
    fewer = accumulate(math.comb(count, i) for i in range(count // 2))
    return sum(1 - 2 * (ways / 2**count) >= stats.CONFIDENCE for ways in fewer)


@pytest.mark.parametrize("count", [*range(6, 60), 500, 1029, 1030, 1500])
def test_the_interval_lies_between_the_exact_one_and_the_next_narrower(count: int) -> None:
    interval = interval_of([float(i) for i in range(1, count + 1)])
    k = exact_place(count)
    assert k <= interval.low < k + 1
    assert count - k < interval.high <= count + 1 - k
    assert interval.low + interval.high == pytest.approx(count + 1)
    assert interval.value == (count + 1) / 2


def test_the_interval_of_ties_is_the_exact_one() -> None:
    """Where the two order statistics are equal there is nothing to interpolate."""
    assert interval_of([1, 1, 1, 5, 9, 9, 9, 9]) == Interval(7, 1, 9)


def test_more_rounds_never_widen_the_interval_by_rank() -> None:
    shares = []
    for count in range(6, 200):
        interval = interval_of([i / (count - 1) for i in range(count)])
        shares.append(interval.high - interval.low)
    assert all(later < earlier for earlier, later in pairwise(shares))


@given(values)
def test_the_interval_holds_the_median_and_stays_among_the_values(numbers: list[float]) -> None:
    interval = interval_of(numbers)
    assert interval.value == median(numbers)
    assert min(numbers) <= interval.low <= interval.value <= interval.high <= max(numbers)


@given(values, st.floats(0.01, 100), st.floats(-1e3, 1e3))
def test_scaling_and_shifting_the_values_does_so_to_the_interval(
    numbers: list[float], scale: float, shift: float
) -> None:
    one = interval_of(numbers)
    other = interval_of([scale * x + shift for x in numbers])
    for mine, theirs in ((one.value, other.value), (one.low, other.low), (one.high, other.high)):
        assert theirs == pytest.approx(scale * mine + shift, rel=1e-9, abs=1e-5)


@given(values, st.randoms(use_true_random=False))
def test_the_order_of_the_values_does_not_matter(numbers: list[float], random: object) -> None:
    before = interval_of(numbers)
    random.shuffle(numbers)  # type: ignore[attr-defined]
    assert interval_of(numbers) == before


@pytest.mark.parametrize("count", range(stats.MIN_ROUNDS))
def test_fewer_rounds_than_six_have_no_interval(count: int) -> None:
    assert stats.median_interval([1.0] * count) is None


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (Interval(2, 1, 2.5), 0.5),
        (Interval(2, 1.5, 4), 1.0),
        (Interval(0, 0, 1), math.inf),
        (Interval(-1, -2, 1), math.inf),
    ],
)
def test_the_half_width_is_the_longer_side_over_the_value(
    interval: Interval, expected: float
) -> None:
    assert interval.half_width == expected


# Ratios


def rounds_of(numbers: list[float]) -> dict[tuple[int, int], float]:
    return {(0, index): number for index, number in enumerate(numbers)}


@given(st.lists(st.floats(1e-6, 1e3), min_size=6, max_size=30), st.floats(0.1, 10))
def test_drift_that_both_cases_meet_cancels(drift: list[float], ratio: float) -> None:
    interval = stats.ratio_interval(rounds_of([ratio * d for d in drift]), rounds_of(drift))
    assert interval is not None
    for end in (interval.value, interval.low, interval.high):
        assert end == pytest.approx(ratio)


@given(st.lists(st.floats(0.5, 2), min_size=6, max_size=30))
def test_the_ratio_the_other_way_round_is_its_inverse(numbers: list[float]) -> None:
    ones = rounds_of([1.0] * len(numbers))
    one, other = (
        stats.ratio_interval(rounds_of(numbers), ones),
        stats.ratio_interval(ones, rounds_of(numbers)),
    )
    assert one is not None
    assert other is not None
    assert (other.value, other.low, other.high) == pytest.approx(
        (1 / one.value, 1 / one.high, 1 / one.low)
    )


def test_only_rounds_that_both_have_count() -> None:
    shared = {(0, i): math.exp(i) for i in range(9)}
    mine = shared | {(1, i): 50.0 for i in range(9)}
    others = dict.fromkeys(shared, 1.0) | {(2, i): 99.0 for i in range(9)}
    interval = stats.ratio_interval(mine, others)
    logs = interval_of([float(i) for i in range(9)])
    assert interval is not None
    assert (interval.value, interval.low, interval.high) == pytest.approx(
        (math.exp(logs.value), math.exp(logs.low), math.exp(logs.high))
    )


@pytest.mark.parametrize("shared", [0, 5])
def test_fewer_shared_rounds_than_six_have_no_ratio(shared: int) -> None:
    mine = {(0, i): 1.0 for i in range(20)}
    others = {(0, i + 20 - shared): 1.0 for i in range(20)}
    assert stats.ratio_interval(mine, others) is None


# Quantiles


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50), st.floats(0, 1))
def test_a_quantile_is_numpys(numbers: list[float], q: float) -> None:
    assert stats.quantile(numbers, q) == pytest.approx(
        float(np.quantile(numbers, q)), rel=1e-9, abs=1e-6
    )


@given(st.lists(st.floats(-1e9, 1e9), min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_quantile_is_no_lower(numbers: list[float], one: float, other: float) -> None:
    assume(one <= other)
    low, high = stats.quantile(numbers, one), stats.quantile(numbers, other)
    assert low <= high + 1e-6


@pytest.mark.parametrize(("q", "floor"), [(0.90, stats.P90_SAMPLES), (0.99, stats.P99_SAMPLES)])
def test_a_percentile_needs_its_samples(q: float, floor: int) -> None:
    numbers = [float(i) for i in range(floor)]
    assert stats.percentile(numbers, q, floor) == pytest.approx(q * (floor - 1))
    assert stats.percentile(numbers[:-1], q, floor) is None


@pytest.mark.parametrize(("q", "floor"), [(0.90, stats.P90_SAMPLES), (0.99, stats.P99_SAMPLES)])
def test_the_floor_is_the_fewest_samples_of_which_two_lie_above_the_percentile(
    q: float, floor: int
) -> None:
    def two_above(count: int) -> float:
        return 1 - q**count - count * (1 - q) * q ** (count - 1)

    assert two_above(floor - 1) < 0.99 <= two_above(floor)
