import random
from collections.abc import Callable, Iterator
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbox.analysis import changepoint
from benchbox.analysis.changepoint import Levels, detect

SEEDS = range(10)
Shape = Callable[[float], float]  # share of the series -> how much slower than at first


def flat(_: float) -> float:
    return 1.0


def step(at: float, to: float) -> Shape:
    return lambda share: to if share >= at else 1.0


def ramp(begin: float, end: float, to: float) -> Shape:
    return lambda share: 1 + (to - 1) * min(1.0, max(0.0, (share - begin) / (end - begin)))


def series(shape: Shape, count: int = 600, noise: float = 0.01, seed: int = 0) -> list[float]:
    generator = random.Random(seed)
    return [0.002 * shape(i / count) * (1 + generator.gauss(0, noise)) for i in range(count)]


def visits(generator: random.Random, stays_s: float, absences_s: float) -> Iterator[bool]:
    """A slow state that comes and goes, window by window, after such times on average."""
    slow = False
    while True:
        mean = stays_s if slow else absences_s
        yield from [slow] * (1 + round(generator.expovariate(1 / mean)))
        slow = not slow


def found(values: list[float]) -> Levels:
    result = detect(values)
    assert result is not None
    return result


# nothing happens


@pytest.mark.parametrize(("count", "noise"), [(20, 0.05), (60, 0.0), (60, 0.01), (600, 0.05)])
def test_a_level_series_has_no_change_and_is_steady_from_the_start(
    count: int, noise: float
) -> None:
    courses = [found(series(flat, count, noise, seed)) for seed in SEEDS]
    # The noise of twenty windows is not known well.
    allowed = 2 if count == 20 and noise == 0.05 else 0
    assert sum(each.change is not None for each in courses) <= allowed
    assert fmean(each.ratio for each in courses) == pytest.approx(1.0, abs=0.02)
    if noise < 0.05:
        assert all(each.steady_from == 0 for each in courses)
        assert all(each.drift == 0 for each in courses)


@pytest.mark.parametrize(
    ("shape", "ratio"),
    [
        (step(0.4, 1.02), None),  # below the effect
        (lambda share: 1.4 if 0.3 <= share < 0.7 else 1.0, 1.0),  # it passed
        (step(0.9, 1.4), None),  # too late to tell
        (step(0.3, 0.8), 0.8),  # faster
    ],
    ids=["small", "passed", "late", "faster"],
)
def test_other_courses_are_no_change(shape: Shape, ratio: float | None) -> None:
    courses = [found(series(shape, seed=seed)) for seed in SEEDS]
    assert not any(each.change for each in courses)
    assert ratio != 0.8 or courses[0].steady_from == pytest.approx(180, abs=4)
    assert ratio is None or all(each.ratio == pytest.approx(ratio, abs=0.01) for each in courses)


# it gets slower for good


@pytest.mark.parametrize(
    ("count", "at", "to"), [(600, 0.1, 1.06), (600, 0.23, 3.0), (600, 0.75, 1.31), (30, 0.5, 1.3)]
)
def test_a_step_is_found_where_it_is(count: int, at: float, to: float) -> None:
    short = count == 30
    for seed in SEEDS:
        each = found(series(step(at, to), count, seed=seed))
        assert each.change == pytest.approx(count * at, abs=2 if short else 4)
        assert each.ratio == pytest.approx(to, rel=0.02 if short else 0.01)
        assert each.steady.low <= each.steady.value <= each.steady.high
        assert short or each.steady_from == pytest.approx(count * at, abs=4)
        assert short or each.steady.half_width < 0.01


def test_the_interval_of_the_steady_state_covers_it() -> None:
    steady = [found(series(step(0.3, 1.3), noise=0.03, seed=seed)).steady for seed in range(60)]
    assert sum(each.low <= 0.002 * 1.3 <= each.high for each in steady) >= 53


def test_a_ramp_begins_where_it_leaves_the_first_level() -> None:
    crosses = 600 * (0.2 + 0.4 * changepoint.EFFECT / 0.4)
    for seed in SEEDS:
        each = found(series(ramp(0.2, 0.6, 1.4), seed=seed))
        assert each.change == pytest.approx(crosses, abs=12)
        assert 0.53 * 600 <= each.steady_from <= 0.62 * 600
        assert (each.steady.value, each.drift) == (pytest.approx(0.0028, rel=0.01), 0)


def test_a_ramp_that_has_not_ended_goes_on() -> None:
    for seed in SEEDS:
        each = found(series(ramp(0, 1, 1.3), seed=seed))
        assert each.change == pytest.approx(60, abs=20)
        assert each.drift > 0


def test_a_throttled_processor_that_swings_is_slow_all_the_same() -> None:
    right = 0
    for seed in SEEDS:
        generator = random.Random(seed)
        levels = visits(generator, 3, 20)  # back at full clock for some seconds now and then
        values = series(step(0.3, 1.4), seed=seed)
        values = [v / 1.4 if i >= 180 and next(levels) else v for i, v in enumerate(values)]
        each = found(values)
        right += each.change == pytest.approx(180, abs=40)
        assert each.ratio == pytest.approx(1.4, rel=0.02)
    assert right >= 0.9 * len(SEEDS)


# what is no change


@pytest.mark.parametrize(("stays_s", "absences_s"), [(5, 10), (40, 20), (40, 60)])
def test_slow_states_that_come_and_go_are_no_change(stays_s: float, absences_s: float) -> None:
    def changes(seed: int) -> bool:
        slow = visits(random.Random(seed), stays_s, absences_s)
        values = [v * (1.4 if next(slow) else 1.0) for v in series(flat, seed=seed)]
        return found(values).change is not None

    # One that happens to come late and stay until the end cannot be told from a change.
    assert sum(map(changes, range(40))) <= 2


@given(st.lists(st.floats(1e-6, 10), max_size=80), st.floats(0.01, 100))
def test_any_series_has_an_answer_that_does_not_depend_on_its_unit(
    values: list[float], unit: float
) -> None:
    each = detect(values)
    assert (each is None) == (len(values) < changepoint.FEWEST)
    if each is None:
        return
    assert each.change is None or 0 < each.change < len(values)
    assert 0 <= each.steady_from < len(values)
    assert each.steady.low <= each.steady.value <= each.steady.high
    scaled = detect([value * unit for value in values])
    assert scaled is not None
    assert scaled.ratio == pytest.approx(each.ratio)
