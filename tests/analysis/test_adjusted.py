"""Latencies adjusted to the usual state of a machine whose state is known."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

import pytest

from benchbox.analysis import adjusted
from benchbox.analysis.adjusted import UNKNOWN, Adjusted, RunCenter, Slopes
from benchbox.analysis.levels import MemoryLevels, Usual
from benchbox.analysis.samples import Burst

USUAL = Usual(16_000.0, 120_000.0, 400_000.0)
LATENCY_NS = 1e6
CALLS = 6
Course = Callable[[int], float]


def steady(_: int) -> float:
    return 0.0


def drifting(number: int) -> float:
    return 0.04 * math.sin(number / 9)


def timed(
    slopes: tuple[float, float, float] = (0.9, 0.2, 0.1),
    clock: Course = steady,
    memory: Course = steady,
    refill: Course = steady,
    preempted: float = 0.0,
    outliers: float = 0.0,
    rounds: int = 40,
    sessions: int = 3,
    seed: int = 0,
) -> list[Burst]:
    """Bursts of a graph that follows the sentinels by these slopes; all are ln over usual."""
    rng, bursts = random.Random(seed), []
    for number in range(rounds):
        courses = zip(slopes, (clock, memory, refill), strict=True)
        state = sum(slope * course(number) for slope, course in courses)
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
        refills = [round(4e5 * math.exp(refill(number) + rng.gauss(0, 0.3))) for _ in "ab"]
        marks = ((0, ends[0]), (CALLS, ends[1]))
        session = number * sessions // rounds
        bursts.append(
            Burst(
                session,
                number,
                tuple(latencies),
                tuple(switches),
                marks,
                stream_ns=tuple(copies),
                refill_ns=tuple(refills),
            )
        )
    return bursts


def adjust(bursts: Sequence[Burst], prior: Slopes = UNKNOWN) -> Adjusted:
    return adjusted.adjust(bursts, MemoryLevels(bursts), USUAL, prior)


@pytest.mark.parametrize(
    "disturbed",
    [
        {},
        {"clock": drifting},
        {"clock": lambda number: 0.03 if number > 20 else 0.0},
        {"memory": drifting, "slopes": (0.9, 0.5, 0.1)},
        {"refill": lambda number: 12 * drifting(number)},
        {"refill": lambda _: 0.5, "slopes": (0.9, 0.2, 0.14)},
        {"preempted": 0.3},
        {"outliers": 0.2},
        {"clock": drifting, "preempted": 0.2, "outliers": 0.1},
        {"clock": drifting, "sessions": 1},
        {"clock": drifting, "rounds": 8},
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_the_latency_of_the_usual_state_is_found(disturbed: dict[str, object], seed: int) -> None:
    found = adjust(timed(**disturbed, seed=seed))  # type: ignore[arg-type]  # by name
    assert abs(median(found.rounds.values()) / 1e-3 - 1) < 0.015


def test_slopes_are_those_of_the_graph_with_as_much_data_and_of_the_prior_without() -> None:
    slopes = adjust(timed((0.5, 0.0, 0.1), clock=drifting, rounds=200)).slopes
    assert abs(slopes.clock - 0.5) < 3 * slopes.clock_se < 0.3
    assert adjust(timed(rounds=5)).slopes == UNKNOWN


def test_slopes_of_earlier_runs_are_kept_where_a_run_tells_nothing_new() -> None:
    known = Slopes(0.4, 0.02, 0.5, 0.02, 0.2, 0.01)
    slopes = adjust(timed(rounds=30), known).slopes
    assert abs(slopes.clock - 0.4) < 0.02 and abs(slopes.memory - 0.5) < 0.02
    assert abs(slopes.refill - 0.2) < 0.01


def test_slopes_that_a_run_does_not_show_are_told_by_the_latencies_of_others() -> None:
    bursts = timed((0.9, 0.2, 0.3), refill=lambda _: 0.3)
    runs = [
        RunCenter(1e-3 * math.exp(0.3 * z), replace(USUAL, refill_ns=4e5 * math.exp(z)))
        for z in (-0.2, 0.0, 0.1, 0.2)
    ]
    alone, known = (
        adjusted.adjust(bursts, MemoryLevels(bursts), USUAL, earlier=each) for each in ([], runs)
    )
    assert abs(known.slopes.refill - 0.3) < 2 * known.slopes.refill_se < 0.1
    # What runs have in common is to count once.
    assert known.learned.refill == pytest.approx(alone.slopes.refill, abs=0.01)
    assert known.learned.refill_se == pytest.approx(alone.slopes.refill_se, abs=0.01)
    center = adjusted.center(known, USUAL)
    assert center.latency_s == pytest.approx(1e-3 * math.exp(0.09), rel=0.01)
    assert math.log(center.readings.refill_ns / 4e5) == pytest.approx(0.3, abs=0.1)


def test_figures_of_bursts_that_come_one_by_one_are_those_of_all() -> None:
    bursts, levels = timed(memory=drifting), MemoryLevels()
    for count, burst in enumerate(bursts, 1):
        levels.add(burst)
        now = adjusted.adjust(bursts[:count], levels, USUAL)
    assert now == adjust(bursts)


def test_a_state_far_from_the_usual_one_does_not_count() -> None:
    found = adjust(timed(clock=lambda number: 0.2 if number % 2 else 0.0))
    assert {number % 2 for _, number in found.rounds} == {0}
    assert found.calls == CALLS * len(found.rounds)
    assert adjust(timed(clock=lambda _: 0.2)) == Adjusted(UNKNOWN, {})


def test_the_shift_and_what_its_error_adds_are_those_at_the_middle_of_the_segments() -> None:
    bursts = timed(clock=lambda _: 0.02)
    found = replace(adjust(bursts), slopes=Slopes(0.5, 0.1, 0.0, 0.0, 0.0, 0.0))
    assert found.shift == pytest.approx(0.01, rel=0.05)
    interval = adjusted.interval(found, tau=0.0)
    assert interval is not None
    assert interval[1].slopes == pytest.approx(1.96 * 0.002, rel=0.05)


@pytest.mark.parametrize(("sd", "least", "most"), [(0.0, 0.0, 0.0075), (0.02, 0.008, 0.05)])
def test_the_spread_between_processes_is_that_of_all_cases(
    sd: float, least: float, most: float
) -> None:
    rng = random.Random(1)
    found = []
    for _ in range(12):
        offsets = [rng.gauss(0, sd) for _ in range(3)]
        logs = {(s, r): offsets[s] + rng.gauss(0, 0.004) for s in range(3) for r in range(12)}
        found.append(adjusted.process_variance({key: math.exp(v) for key, v in logs.items()}))
    known = [each for each in found if each]
    assert least <= adjusted.between(known) <= most
    # Earlier runs count as much as this one, up to a point.
    assert adjusted.between(known, [0.05**2] * 99) == pytest.approx(0.02, rel=0.02)
    assert adjusted.process_variance({(0, r): 1.0 for r in range(9)}) is None
    assert adjusted.between([]) == adjusted.UNKNOWN_TAU


def test_the_interval_covers_the_truth_though_the_slopes_are_uncertain() -> None:
    covered = 0
    for seed in range(40):
        rng = random.Random(seed)
        values, errors = UNKNOWN.values, (UNKNOWN.clock_se, 0.1, UNKNOWN.refill_se)
        clock, memory, refill = map(rng.gauss, values, errors)
        bursts = timed(
            (clock, memory, refill),
            lambda number: 0.03 + 0.005 * math.sin(number),
            refill=lambda _: 0.3,
            seed=seed,
        )
        found = adjusted.interval(adjust(bursts), adjusted.UNKNOWN_TAU)
        assert found is not None
        covered += found[0].low <= 1e-3 <= found[0].high
    assert covered >= 36
    assert adjusted.interval(adjust(bursts[:5]), tau=0.0) is None


def test_a_ratio_is_of_shared_rounds_and_has_the_errors_of_both_slopes() -> None:
    bursts = timed(clock=drifting)
    halves = [replace(b, latencies_ns=tuple(ns // 2 for ns in b.latencies_ns)) for b in bursts]
    case, reference = adjust(bursts[5:]), adjust(halves)
    found = adjusted.ratio(case, reference, tau=0.0)
    assert found is not None
    assert found[0].value == pytest.approx(2.0, rel=0.002)
    assert found[0].low <= 2.0 <= found[0].high
    errors = [adjusted.interval(each, tau=0.0) for each in (case, reference)]
    assert found[1].slopes == pytest.approx(math.hypot(*(e[1].slopes for e in errors if e)))
    assert adjusted.ratio(case, adjust(halves[:9]), tau=0.0) is None
