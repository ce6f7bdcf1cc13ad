"""Latencies adjusted to the usual state of a machine whose state is known."""

import math
import random
from collections.abc import Callable, Sequence
from statistics import median

import pytest

from benchbox.analysis import adjusted
from benchbox.analysis.adjusted import UNKNOWN, Slopes, Usual
from benchbox.analysis.samples import Burst

USUAL = Usual(16_000.0, 120_000.0)
LATENCY_NS = 1e6
CALLS = 6
Course = Callable[[int], float]


def steady(_: int) -> float:
    return 0.0


def drifting(number: int) -> float:
    return 0.04 * math.sin(number / 9)


def timed(
    slopes: tuple[float, float] = (0.9, 0.2),
    clock: Course = steady,
    memory: Course = steady,
    preempted: float = 0.0,
    outliers: float = 0.0,
    rounds: int = 40,
    sessions: int = 3,
    seed: int = 0,
) -> list[Burst]:
    """Bursts of a graph that follows clock and memory by these slopes; both are ln over usual."""
    rng, bursts = random.Random(seed), []
    for number in range(rounds):
        state = slopes[0] * clock(number) + slopes[1] * memory(number)
        latencies, switches, late = [], [], 0.0
        for _ in range(CALLS):
            lost = rng.random() < preempted
            slow = 1.0 if lost else 0.5 * (rng.random() < outliers)
            latencies.append(
                round(LATENCY_NS * math.exp(state + late + rng.gauss(0, 0.004)) * (1 + slow))
            )
            switches.append(int(lost))
            late = 0.15 if lost else 0.0
        ends = [
            round(USUAL.compute_ns * math.exp(clock(number) + rng.gauss(0, 0.003))) for _ in "ab"
        ]
        copies = [
            round(USUAL.stream_ns * math.exp(memory(number) + rng.gauss(0, 0.1))) for _ in "ab"
        ]
        marks = ((0, ends[0]), (CALLS, ends[1]))
        session = number * sessions // rounds
        bursts.append(
            Burst(
                session, number, tuple(latencies), tuple(switches), marks, stream_ns=tuple(copies)
            )
        )
    return bursts


def adjust(bursts: Sequence[Burst], prior: Slopes = UNKNOWN) -> tuple[float, Slopes]:
    """The latency over the true one, and the slopes."""
    found = adjusted.segments(bursts, adjusted.levels(bursts), USUAL)
    slopes = adjusted.fit(found, prior)
    return math.exp(median(adjusted.round_values(found, slopes).values())) / 1e-3, slopes


@pytest.mark.parametrize(
    "disturbed",
    [
        {},
        {"clock": drifting},
        {"clock": lambda number: 0.03 if number > 20 else 0.0},
        {"memory": drifting, "slopes": (0.9, 0.5)},
        {"preempted": 0.3},
        {"outliers": 0.2},
        {"clock": drifting, "preempted": 0.2, "outliers": 0.1},
        {"clock": drifting, "sessions": 1},
        {"clock": drifting, "rounds": 8},
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_the_latency_of_the_usual_state_is_found(disturbed: dict[str, object], seed: int) -> None:
    ratio, _ = adjust(timed(**disturbed, seed=seed))  # type: ignore[arg-type]  # by name
    assert abs(ratio - 1) < 0.015


def test_slopes_are_those_of_the_graph_with_as_much_data_and_of_the_prior_without() -> None:
    _, slopes = adjust(timed((0.5, 0.0), clock=drifting, rounds=200))
    assert abs(slopes.clock - 0.5) < 3 * slopes.clock_se < 0.3
    assert adjust(timed(rounds=5))[1] == UNKNOWN


def test_slopes_of_earlier_runs_are_kept_where_a_run_tells_nothing_new() -> None:
    known = Slopes(0.4, 0.02, 0.5, 0.02)
    _, slopes = adjust(timed(rounds=30), known)
    assert abs(slopes.clock - 0.4) < 0.02 and abs(slopes.memory - 0.5) < 0.02


def test_a_state_far_from_the_usual_one_does_not_count() -> None:
    bursts = timed(clock=lambda number: 0.2 if number % 2 else 0.0)
    found = adjusted.segments(bursts, adjusted.levels(bursts), USUAL)
    assert {each.round[1] % 2 for each in found} == {0}


def test_the_shift_and_its_error_are_those_at_the_middle_of_the_segments() -> None:
    bursts = timed(clock=lambda _: 0.02)
    found = adjusted.segments(bursts, adjusted.levels(bursts), USUAL)
    shift, error = adjusted.shift(found, Slopes(0.5, 0.1, 0.0, 0.0))
    assert shift == pytest.approx(0.01, rel=0.05) and error == pytest.approx(0.002, rel=0.05)


@pytest.mark.parametrize(("sd", "least", "most"), [(0.0, 0.003, 0.005), (0.02, 0.008, 0.05)])
def test_the_spread_between_processes_is_that_of_all_cases(
    sd: float, least: float, most: float
) -> None:
    rng = random.Random(1)
    cases = []
    for _ in range(12):
        offsets = [rng.gauss(0, sd) for _ in range(3)]
        cases.append(
            {(s, r): offsets[s] + rng.gauss(0, 0.004) for s in range(3) for r in range(12)}
        )
    assert least <= adjusted.between(cases) <= most
    assert adjusted.between([{(0, r): 0.0 for r in range(9)}]) == adjusted.UNKNOWN_TAU


def test_the_interval_covers_the_truth_though_the_slopes_are_uncertain() -> None:
    covered = 0
    for seed in range(40):
        bursts = timed(clock=lambda number: 0.03 + 0.005 * math.sin(number), seed=seed)
        found = adjusted.segments(bursts, adjusted.levels(bursts), USUAL)
        slopes = adjusted.fit(found)
        rounds = adjusted.round_values(found, slopes)
        width = adjusted.half_width(found, slopes, rounds, tau=0.0)
        assert width is not None
        covered += abs(median(rounds.values()) - math.log(1e-3)) <= width
    assert adjusted.half_width(found, slopes, {}, tau=0.0) is None
    assert covered >= 36
