import math
import random
from statistics import NormalDist

import pytest

from benchbox.analysis import choice
from benchbox.analysis.latency import Basis, Latency


def latency(p50: float, low: float | None, high: float | None, basis: Basis = "quiet") -> Latency:
    return Latency(p50, low, high, None, None, p50, p50 / 2, 99, 0.9, 20, basis=basis)


@pytest.mark.parametrize(
    ("found", "budget", "fit"),
    [
        (latency(10, 9, 11), 11, "fits"),
        (latency(10, 9, 11), 10.9, "may fit"),
        (latency(10, 9, 11), 9, "may fit"),
        (latency(10, 9, 11), 8.9, "does not fit"),
        (latency(10, None, None), 1000, "may fit"),  # of what is not known nothing is promised
        (latency(10, None, None), 4.9, "does not fit"),  # not even its fastest call
        (latency(10, 9, 11, "all"), 11, "fits"),  # undisturbed it takes no longer
        (latency(10, 9, 11, "all"), 5.1, "may fit"),
        (latency(10, 9, 11, "undisturbed"), 4.9, "does not fit"),
    ],
)
def test_the_whole_interval_decides(found: Latency, budget: float, fit: str) -> None:
    assert choice.fit(choice.bounds(found), budget) == fit


def test_the_front_has_what_nothing_beats_in_both() -> None:
    points = [(1.0, 60.0), (2.0, 70.0), (2.0, 69.0), (3.0, 70.0), (4.0, 80.0), (1.0, 60.0)]
    assert choice.front(points) == [True, True, False, False, True, True]
    assert choice.front([]) == []


def test_a_percentile_holds_its_interval_though_calls_of_a_round_are_alike() -> None:
    rng, held, tries = random.Random(1), 0, 300
    true = NormalDist(0, math.hypot(1, 1)).inv_cdf(0.95)
    for _ in range(tries):
        rounds = [[level + rng.gauss(0, 1) for _ in range(15)] for level in _levels(rng, 60)]
        found = choice.percentile_bounds(rounds, 0.95)
        assert found is not None
        held += found[1] <= true <= found[2]
    assert held / tries >= 0.9


def _levels(rng: random.Random, count: int) -> list[float]:
    return [rng.gauss(0, 1) for _ in range(count)]


def test_a_percentile_of_too_few_calls_is_not_known_and_its_end_may_not_be() -> None:
    assert choice.percentile_bounds([[1.0] * 20] * 6, 0.99) is None  # needs 662 calls
    assert choice.percentile_bounds([[1.0] * 1000], 0.9) is None  # of one round
    found = choice.percentile_bounds([*[[1.0] * 100] * 9, [9.0] * 100], 0.9)
    assert found is not None
    assert found[2] == math.inf
