"""Boards of one kind set beside each other, simulated with known differences."""

import math
import random

import pytest

from benchbox.analysis import between_boards
from benchbox.analysis.between_boards import UNKNOWN_SD, Boards
from benchbox.analysis.stats import Interval

CASES = {"a": 0.002, "b": 0.010, "c": 0.050}


def timed(
    effects: dict[str, float], noise: random.Random, sd: float = 0.005, cases: int = 3
) -> Boards:
    """Boards that took 1 + effect times as long, each figure unsure by `sd`."""

    def figure(s: float, effect: float) -> Interval:
        value = s * (1 + effect) * math.exp(noise.gauss(0, sd))
        return Interval(value, value * math.exp(-1.96 * sd), value * math.exp(1.96 * sd))

    found = {
        case: {board: figure(s, effect) for board, effect in effects.items()}
        for case, s in list(CASES.items())[:cases]
    }
    return between_boards.between(found)


@pytest.mark.parametrize("odd", [0.10, -0.10])
@pytest.mark.parametrize("cases", [1, 3])
def test_an_odd_board_is_named_with_what_it_takes(odd: float, cases: int) -> None:
    boards = {f"pi-{n}": 0.0 for n in range(5)} | {"pi-9": odd}
    for seed in range(20):
        found = timed(boards, random.Random(seed), cases=cases).apart
        assert list(found) == ["pi-9"]
        assert found["pi-9"].low < 1 + odd < found["pi-9"].high


@pytest.mark.parametrize("count", [2, 3, 20])
def test_equal_boards_are_not_named(count: int) -> None:
    boards = {f"pi-{n}": 0.0 for n in range(count)}
    assert not any(timed(boards, random.Random(seed), cases=1).apart for seed in range(50))


def test_of_two_boards_one_is_set_beside_the_faster() -> None:
    found = timed({"pi-1": 0.0, "pi-2": 0.12}, random.Random(1))
    assert found.effects["pi-1"].value == 1
    assert list(found.apart) == ["pi-2"]


def test_noise_of_figures_is_no_spread_of_boards() -> None:
    boards = {f"pi-{n}": 0.0 for n in range(10)}
    noisy = [timed(boards, random.Random(seed), sd=0.02, cases=1).sd for seed in range(50)]
    spread = {f"pi-{n}": 0.02 * (n - 4.5) / 3 for n in range(10)}
    real = [timed(spread, random.Random(seed)).sd for seed in range(50)]
    assert sorted(noisy)[25] < 0.008
    assert sorted(real)[25] > 0.015


def test_boards_that_share_no_case_have_the_spread_of_experience() -> None:
    own = Interval(1.0, 0.99, 1.01)
    found = between_boards.between({"a": {"pi-1": own}, "b": {"pi-2": own}})
    assert found == Boards({}, UNKNOWN_SD, UNKNOWN_SD)


def test_an_odd_board_widens_no_figure_but_its_own() -> None:
    found = timed({f"pi-{n}": 0.0 for n in range(5)} | {"pi-9": 0.3}, random.Random(3))
    own = Interval(1.0, 0.99, 1.01)
    assert found.widened(own, ["pi-1"]).half_width < 0.03
    assert found.widened(own, ["pi-9"]).half_width > 0.1


def test_boards_that_share_cases_by_others_are_set_beside_each_other() -> None:
    def at(value: float) -> Interval:
        return Interval(value, value * 0.995, value * 1.005)

    found = between_boards.between(
        {
            "a": {"pi-1": at(1.0), "pi-2": at(1.0)},
            "b": {"pi-2": at(7.0), "pi-3": at(7.0)},
            "c": {"pi-3": at(3.0), "pi-4": at(3.3)},
        }
    )
    assert [round(each.value, 2) for each in found.effects.values()] == [1.0, 1.0, 1.0, 1.1]
    assert list(found.apart) == ["pi-4"]


def test_an_interval_has_the_spread_less_of_a_case_that_several_boards_timed() -> None:
    own = Interval(1.0, 0.99, 1.01)
    boards = Boards({}, sd=0.01)
    one, four = (boards.widened(own, [f"pi-{n}" for n in range(count)]) for count in (1, 4))
    assert 0.021 < one.half_width < 0.023
    assert own.half_width < four.half_width < one.half_width
