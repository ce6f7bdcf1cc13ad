"""What a run learns of its machine, and what the next one takes from it."""

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from benchbox.analysis import adjusted
from benchbox.analysis.adjusted import UNKNOWN, Slopes
from benchbox.analysis.levels import Usual
from benchbox.analysis.machine import CENTERS, Known, Machine
from benchbox.analysis.samples import Burst
from benchbox.analysis.states import Bases

COMPUTE_NS, STREAM_NS, LATENCY_NS = 16_000.0, 120_000.0, 1e8
USUAL = Usual(COMPUTE_NS, STREAM_NS)
KNOWN = Known(Bases(COMPUTE_NS), USUAL)
TRUE = Slopes(0.7, 0.0, 0.4, 0.0)
SURE = Slopes(0.7, 0.05, 0.4, 0.03, 0.0, 0.01)
Course = Callable[[int], float]  # round -> ln over the usual state


def still(_: int) -> float:
    return 0.0


def steps(number: int) -> float:
    return 0.04 * (number // 5 % 2)


def waves(number: int) -> float:
    return 0.2 * math.sin(number / 7)


def timed(
    clock: Course = still, memory: Course = still, rounds: int = 60, processes: float = 0.0
) -> list[Burst]:
    """Bursts in three processes that differ by so much."""
    rng, bursts = random.Random(0), []
    for number in range(rounds):
        session = 3 * number // rounds
        state = TRUE.clock * clock(number) + TRUE.memory * memory(number)
        state += processes * (session - 1)
        latencies = [LATENCY_NS * math.exp(state + rng.gauss(0, 0.003)) for _ in range(6)]
        ends = [COMPUTE_NS * math.exp(clock(number) + rng.gauss(0, 0.002)) for _ in "ab"]
        copies = [STREAM_NS * math.exp(memory(number) + rng.gauss(0, 0.02)) for _ in "ab"]
        bursts.append(
            Burst(
                session,
                number,
                tuple(map(round, latencies)),
                (0,) * 6,
                ((0, round(ends[0])), (6, round(ends[1]))),
                stream_ns=tuple(map(round, copies)),
            )
        )
    return bursts


def run_of(bursts: list[Burst], known: Known | None = KNOWN, *, adjusts: bool = True) -> Machine:
    machine = Machine(known, adjusts=adjusts)
    for burst in bursts:
        machine.add(burst)
    machine.update()
    return machine


def test_a_machine_adjusts_only_where_it_is_to_and_both_sentinels_ran() -> None:
    bursts = timed()
    bare = [replace(burst, stream_ns=()) for burst in bursts]
    for machine in (run_of(bursts, adjusts=False), run_of(bare), run_of([])):
        assert machine.usual is None
        assert machine.adjust("a", "ab", bursts) is None
    assert run_of(bursts).adjust("a", "ab", bursts) is not None


def usual_over(clock: float, memory: float, known: Known) -> tuple[Usual, Known]:
    """What is usual to a run in such a state, and what is known after it."""
    bursts = timed(lambda _: clock, lambda _: memory)
    machine = run_of(bursts, known)
    machine.adjust("a", "ab", bursts)
    machine.update()
    assert machine.usual is not None
    return machine.usual, machine.after()


@pytest.mark.parametrize(
    ("clock", "memory", "slopes", "moved"),
    [
        (0.03, -0.1, SURE, (0.0, 0.0)),
        (0.03, -0.1, UNKNOWN, (0.03, -0.1)),  # what is not known would widen it
        (0.0, 0.01, UNKNOWN, (0.0, 0.0)),
        (0.3, 0.3, SURE, (0.3, 0.3)),  # the copy is as slow as the processor
    ],
)
def test_figures_are_set_back_to_what_was_usual_where_that_is_near_and_slopes_are_known(
    clock: float, memory: float, slopes: Slopes, moved: tuple[float, float]
) -> None:
    usual, known = usual_over(clock, memory, replace(KNOWN, slopes={"ab": slopes}))
    assert math.log(usual.compute_ns / COMPUTE_NS) == pytest.approx(moved[0], abs=0.006)
    assert math.log(usual.stream_ns / STREAM_NS) == pytest.approx(moved[1], abs=0.01)
    assert known.usual == USUAL
    # The run after it that is like those before finds again what they had.
    usual, _ = usual_over(0.0, 0.0, known)
    assert math.log(usual.compute_ns / COMPUTE_NS) == pytest.approx(0.0, abs=0.006)
    assert math.log(usual.stream_ns / STREAM_NS) == pytest.approx(0.0, abs=0.01)


def test_what_is_usual_moves_where_most_of_the_last_runs_were() -> None:
    known = Known()
    at = []
    for clock in (0.0, 0.06, 0.0, 0.06, 0.06, 0.06):
        _, known = usual_over(clock, clock, known)
        assert known.usual is not None
        at.append(round(math.log(known.usual.compute_ns / COMPUTE_NS), 2))
    assert at == [0.0, 0.0, 0.0, 0.0, 0.06, 0.06]


@pytest.mark.parametrize(
    ("before", "clock"),
    [
        (-0.2, still),
        (0.2, still),
        (0.06, still),
        (0.08, lambda number: 0.08 * (number % 10 < 3)),  # still common, and 8% slower
    ],
)
def test_what_one_run_had_for_usual_is_left_in_the_next_that_is_not_like_it(
    before: float, clock: Course
) -> None:
    _, known = usual_over(before, before, Known())
    bursts = timed(clock)
    machine = run_of(bursts, known)
    assert machine.usual is not None
    assert math.log(machine.usual.compute_ns / COMPUTE_NS) == pytest.approx(0.0, abs=0.006)
    assert math.log(machine.usual.stream_ns / STREAM_NS) == pytest.approx(0.0, abs=0.02)
    case = machine.adjust("a", "ab", bursts)
    found = case and adjusted.interval(case, machine.tau)
    assert found and found[0].value * 1e9 == pytest.approx(LATENCY_NS, rel=0.01)


def test_a_first_run_takes_the_level_of_the_rounds_in_its_usual_state() -> None:
    """Not that of a neighbour who slows both down now and then."""
    bursts = timed(lambda n: 0.3 * (n % 20 > 12), lambda n: 0.4 * (n % 20 > 12))
    usual = run_of(bursts, None).usual
    assert usual is not None
    assert usual.compute_ns == pytest.approx(COMPUTE_NS, rel=0.01)
    assert usual.stream_ns == pytest.approx(STREAM_NS, rel=0.01)


def test_slopes_are_learned_and_lead_the_next_run_however_little_it_shows() -> None:
    bursts = timed(steps, waves)
    machine = run_of(bursts)
    machine.adjust("a", "ab", bursts)
    known = machine.after()
    learned = known.slopes["ab"]
    assert learned.clock == pytest.approx(TRUE.clock, abs=0.1)
    assert learned.memory == pytest.approx(TRUE.memory, abs=0.05)
    # One level for all of it shows no slope; what was learned brings the figure back all the same.
    crowded = timed(memory=lambda _: 0.15)
    errors = []
    for each in (KNOWN, known):
        following = run_of(crowded, each)
        following.adjust("b", "ab", crowded)
        following.update()
        case = following.adjust("b", "ab", crowded)
        found = case and adjusted.interval(case, following.tau)
        assert found
        errors.append(abs(found[0].value * 1e9 / LATENCY_NS - 1))
    assert errors[1] < 0.015 < errors[0]
    assert list(run_of([], known).after().slopes) == ["ab"]  # kept though the run had others


def test_the_last_runs_of_a_graph_are_kept() -> None:
    bursts, known = timed(), KNOWN
    for _ in range(CENTERS + 1):
        machine = run_of(bursts, known)
        machine.adjust("a", "ab", bursts)
        known = machine.after()
    assert len(known.centers["ab"]) == CENTERS
    assert known.centers["ab"][0].latency_s * 1e9 == pytest.approx(LATENCY_NS, rel=0.01)
    assert run_of([], known).after().centers == known.centers


def test_a_case_with_too_few_segments_teaches_nothing() -> None:
    bursts = timed(steps, waves)
    machine = run_of(bursts)
    case = machine.adjust("a", "ab", bursts[:5])
    assert case is not None and case.slopes == UNKNOWN
    assert machine.after().slopes == {}
    assert machine.adjustment(case) is None


def test_what_processes_differ_by_widens_latencies_and_not_ratios_that_share_it() -> None:
    bursts = timed(processes=0.02)
    double = [replace(b, latencies_ns=tuple(2 * ns for ns in b.latencies_ns)) for b in bursts]
    machine = run_of(bursts)
    assert machine.tau == machine.ratio_tau == adjusted.UNKNOWN_TAU
    case, reference = (machine.adjust(key, key, b) for key, b in (("b", double), ("a", bursts)))
    assert case is not None and reference is not None
    machine.compare("b", case, reference)
    unknown, own = 2 * adjusted.UNKNOWN_TAU**2, 0.02**2 / math.log(2)
    assert machine.tau == pytest.approx(math.sqrt((unknown + own) / 3), rel=0.1)
    assert machine.ratio_tau == pytest.approx(math.sqrt(unknown / 3), rel=0.01)
    assert adjusted.UNKNOWN_TAU < Machine(machine.after()).tau <= machine.tau
    told = machine.adjustment(case)
    assert told is not None and machine.usual is not None
    assert (told.usual_compute_ns, told.usual_stream_ns) == (machine.usual.compute_ns, STREAM_NS)
    assert told.widths.processes == pytest.approx(1.96 * machine.tau / math.sqrt(3))
    assert told.shift == pytest.approx(case.shift)
