import math
from collections.abc import Callable
from itertools import accumulate, pairwise
from statistics import median

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchbox.analysis import stats
from benchbox.analysis.stats import Interval

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
def test_scaling_and_shifting_the_values_in_any_order_does_so_to_the_interval(
    numbers: list[float], scale: float, shift: float
) -> None:
    one = interval_of(numbers)
    other = interval_of([scale * x + shift for x in sorted(numbers)])
    for mine, theirs in ((one.value, other.value), (one.low, other.low), (one.high, other.high)):
        assert theirs == pytest.approx(scale * mine + shift, rel=1e-9, abs=1e-5)


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


# Verdicts


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (1.02, 1.5, "SLOWER"),
        (1.0101, 1.5, "SLOWER"),
        (1.01, 1.5, "UNCLEAR"),
        (0.5, 0.98, "FASTER"),
        (0.5, 0.99, "FASTER"),
        (0.5, 0.9902, "UNCLEAR"),
        (0.9902, 1.0099, "SAME"),
        (1.0, 1.0, "SAME"),
        (0.98, 1.0, "UNCLEAR"),
        (1.0, 1.02, "UNCLEAR"),
        (0.5, 2.0, "UNCLEAR"),
        (1.002, 1.008, "SAME"),  # surely slower, and not by enough to matter
    ],
)
def test_a_verdict_needs_the_whole_interval_on_its_side(low: float, high: float, says: str) -> None:
    assert stats.verdict(Interval((low + high) / 2, low, high)) == says
    assert stats.verdict(None) == "UNCLEAR"


OPPOSITES = {"FASTER": "SLOWER", "SLOWER": "FASTER", "SAME": "SAME", "UNCLEAR": "UNCLEAR"}


@given(st.floats(0.1, 10), st.floats(0, 0.2), st.floats(0, 0.2), st.floats(0, 0.1))
def test_the_verdict_the_other_way_round_is_the_opposite(
    value: float, below: float, above: float, margin: float
) -> None:
    low, high = value * (1 - below), value * (1 + above)
    for end in (low, high):  # where rounding could decide
        assume(abs(math.log(end) - math.log1p(margin)) > 1e-9)
        assume(abs(math.log(end) + math.log1p(margin)) > 1e-9)
    there = stats.verdict(Interval(value, low, high), margin)
    back = stats.verdict(Interval(1 / value, 1 / high, 1 / low), margin)
    assert back == OPPOSITES[there]


@given(st.floats(0.9, 1.1), st.floats(0, 0.05), st.floats(0, 0.2), st.floats(0, 0.2))
def test_a_wider_margin_never_turns_the_same_into_a_difference(
    value: float, half: float, one: float, other: float
) -> None:
    interval = Interval(value, value - half, value + half)
    narrow, wide = sorted((one, other))
    if stats.verdict(interval, narrow) == "SAME":
        assert stats.verdict(interval, wide) == "SAME"


# Where the scatter comes from


def groups_of(
    random: np.random.Generator, sessions: int, rounds: int, within: float, between: float
) -> list[list[float]]:
    centres = np.exp(random.normal(0, between, sessions))
    return [(c * np.exp(random.normal(0, within, rounds))).tolist() for c in centres]


@pytest.mark.parametrize(
    ("within", "between"), [(0.01, 0.02), (0.02, 0.005), (0.005, 0.05), (0.01, 0.0)]
)
@pytest.mark.parametrize(("sessions", "rounds"), [(3, 7), (10, 20)])
def test_components_are_those_of_simulated_random_effects(
    within: float, between: float, sessions: int, rounds: int
) -> None:
    """On average over repetitions, by their variances: a deviation by itself is biased."""
    random = np.random.default_rng(sessions)
    found = [
        stats.components(groups_of(random, sessions, rounds, within, between)) for _ in range(600)
    ]
    inside = [each for each, _ in found if each is not None]
    apart = [each for _, each in found if each is not None]
    assert len(inside) == len(apart) == 600
    assert math.sqrt(np.mean(np.square(inside))) == pytest.approx(within, rel=0.2)
    assert math.sqrt(np.mean(np.square(apart))) == pytest.approx(
        between, rel=0.15, abs=within / math.sqrt(rounds)
    )


def test_components_leave_outliers_among_the_rounds_alone() -> None:
    random = np.random.default_rng(0)
    groups = groups_of(random, 5, 20, 0.01, 0.0)
    spoilt = [[value * 3 if index < 4 else value for index, value in enumerate(g)] for g in groups]
    within, between = stats.components(spoilt)
    assert within is not None
    assert between is not None
    assert within < 0.02
    assert between < 0.02


@given(
    st.lists(st.lists(st.floats(0.5, 2), min_size=2, max_size=9), min_size=2, max_size=6),
    st.floats(1e-6, 1e6),
)
def test_components_are_relative(groups: list[list[float]], scale: float) -> None:
    scaled = stats.components([[scale * value for value in group] for group in groups])
    assert scaled == pytest.approx(stats.components(groups), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(
    ("groups", "known"),
    [
        ([], (False, False)),
        ([[]], (False, False)),
        ([[1.0]], (False, False)),
        ([[1.0], [2.0]], (False, False)),
        ([[1.0, 1.1]], (True, False)),
        ([[1.0, 1.1], []], (True, False)),
        ([[1.0, 1.1], [2.0]], (True, True)),
    ],
)
def test_components_need_two_rounds_and_two_sessions(
    groups: list[list[float]], known: tuple[bool, bool]
) -> None:
    found = stats.components(groups)
    assert tuple(each is not None for each in found) == known


def test_equal_rounds_have_no_scatter_at_all() -> None:
    assert stats.components([[2.0] * 5] * 3) == (0.0, 0.0)


# Quantiles


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50), st.floats(0, 1))
def test_a_quantile_is_numpys(numbers: list[float], q: float) -> None:
    assert stats.quantile(numbers, q) == pytest.approx(
        float(np.quantile(numbers, q)), rel=1e-9, abs=1e-6
    )


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
