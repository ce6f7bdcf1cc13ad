from collections.abc import Callable
from itertools import pairwise, permutations

import numpy as np
import pytest
from numpy.typing import NDArray

from benchbox.analysis import evidence, stats, steps
from benchbox.analysis.steps import Level

# Half-widths of 95% intervals in results/reference: quantiles of 158 records.
HALF_WIDTHS = (0.016, 0.018, 0.020, 0.022, 0.0234, 0.025, 0.028, 0.033, 0.039)
FIVE = float(np.log(1.05))


def series(count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    random = np.random.default_rng(seed)
    sds = random.choice(HALF_WIDTHS, count) / 1.96
    return random.normal(0, sds), sds


def starts(found: list[Level]) -> list[int]:
    return [level.start for level in found[1:]]


@pytest.mark.parametrize("before", [10, 30, 300])
@pytest.mark.parametrize("step", [FIVE, -FIVE])
def test_steps_of_five_percent_are_found_within_three_runs(before: int, step: float) -> None:
    found = 0
    for seed in range(100):
        values, sds = series(before + 3, seed)
        values[before:] += step
        found += any(abs(at - before) <= 2 for at in starts(steps.levels(values, sds)))
    assert found >= 95


def test_the_evidence_for_a_step_lacks_less_the_larger_it_is_and_much_of_a_drift() -> None:
    values, sds = series(40, 4)
    jump = np.arange(40) >= 20
    none = np.zeros((120, 0))
    lacks = [
        evidence.lack(values + size * jump, sds, none[:40], 20) for size in (0.0, 0.01, 0.02, 0.05)
    ]
    assert lacks == sorted(lacks, reverse=True) and lacks[0] > 0 > lacks[-1]
    assert evidence.lack(values + 0.05 * np.arange(40) / 40, sds, none[:40], 20) > 0
    long = np.concatenate([values, values, values]), np.concatenate([sds, sds, sds])
    assert evidence.lack(*long, none, 100) > 0


def test_middles_are_medians() -> None:
    assert set(steps._middles(*np.array([*permutations(range(5))], float).T)) == {2.0}
    for count in range(1, 9):
        values = np.random.default_rng(count).normal(size=count)
        assert stats.middle(values) == np.median(values)


def test_noise_is_no_step() -> None:
    assert sum(len(starts(steps.levels(*series(500, seed)))) for seed in range(40)) <= 8


def correlated(count: int, seed: int) -> NDArray[np.float64]:
    """An AR(1) process of 0.5 and 2%."""
    noise = np.random.default_rng(seed).normal(0, 0.02, count)
    values = noise.copy()
    for now in range(1, count):
        values[now] = 0.5 * values[now - 1] + np.sqrt(0.75) * noise[now]
    return values


def held(count: int, seed: int) -> NDArray[np.float64]:
    """States that last for three runs, 2% apart, and the noise of runs."""
    states = np.random.default_rng(seed).choice([0, 0.02], count // 3 + 1).repeat(3)[:count]
    return states + series(count, seed)[0]


@pytest.mark.parametrize("count", [30, 60])
@pytest.mark.parametrize("made", [correlated, held])
def test_runs_that_are_correlated_have_few_steps_and_no_alarms(
    made: Callable[[int, int], NDArray[np.float64]], count: int
) -> None:
    sds = series(count, 0)[1]
    every = [(values := made(count, seed), steps.levels(values, sds)) for seed in range(40)]
    assert sum(len(found) > 1 for _, found in every) <= 8
    ratios = [b.over(a) for _, found in every for a, b in pairwise(found)]
    ratios += [o for v, f in every if (o := steps.overall(f, v, sds))]
    assert sum(ratio.low > 1.03 for ratio in ratios) <= 2


def test_what_may_be_no_change_is_no_step() -> None:
    levels = steps.levels(correlated(60, 49), series(60, 0)[1])
    assert not any((ratio := b.over(a)).low <= 1 <= ratio.high for a, b in pairwise(levels))


@pytest.mark.parametrize(
    "changes", [{20: 0.025, 40: 0.025, 60: 0.025, 80: 0.025}, {30: 0.077, 70: -0.015}]
)
def test_what_small_steps_add_up_to_is_known(changes: dict[int, float]) -> None:
    for seed in range(20):
        values, sds = series(100, seed)
        for at, step in changes.items():
            values[at:] += step
        overall = steps.overall(steps.levels(values, sds), values, sds)
        assert overall is not None and 1.03 < overall.low < np.exp(sum(changes.values())) + 0.02


def test_noise_beyond_the_intervals_and_single_runs_far_off_are_no_step() -> None:
    values, sds = series(300, 1)
    assert starts(steps.levels(3 * values, sds)) == []
    values[[0, 40, 120, 299]] += 0.4
    assert starts(steps.levels(values, sds)) == []


def test_levels_have_intervals_and_ratios() -> None:
    values, _ = series(60, 2)
    values[20:] += np.log(1.1)
    values[40:] -= np.log(1.3)
    found = steps.levels(values, np.zeros(60))
    assert starts(found) == [20, 40]
    up, down = found[1].over(found[0]), found[2].over(found[1])
    assert up.low < 1.1 < up.high < 1.12
    assert down.low < 1 / 1.3 < down.high
    assert found[0].interval.low < 1 < found[0].interval.high


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6])
def test_few_runs_are_one_level(count: int) -> None:
    (level,) = steps.levels(*series(count, 0))
    assert (level.start, level.end) == (0, count)
