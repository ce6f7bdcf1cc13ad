import random
from collections.abc import Iterable

import pytest

from benchbox.analysis import states
from benchbox.analysis.states import Bases, Gate, Histogram, Readings, State

USUAL = 12_000.0
SPREAD = 0.004  # of readings in one state
REACH = states.REACH["compute"]
WINDOW = (REACH + 0.5) * states.STEP  # half of the width of a state


def drawn(*shares: tuple[float, float], count: int = 1000, seed: int = 0) -> list[float]:
    """Readings of a machine that is in states (slowness, share) one after the other."""
    generator = random.Random(seed)
    parts = ([slowness] * round(count * share) for slowness, share in shares)
    return [USUAL * s * generator.gauss(1, SPREAD) for part in parts for s in part]


def histogram(values: Iterable[float]) -> Histogram:
    result = Histogram()
    for value in values:
        result.add(value)
    return result


def share(found: Histogram, state: State) -> float:
    """The share of the readings that belong to a state."""
    inside = sum(n for index, n in found.bins.items() if state.holds(states._reading(index)))
    return inside / found.total


def base_of(values: Iterable[float], before_ns: float | None = None) -> State:
    state = histogram(values).base(before_ns=before_ns)
    assert state is not None
    return state


def is_about(state: State | None, slowness: float) -> bool:
    assert state is not None
    return state.centre_ns / USUAL == pytest.approx(slowness, rel=2 * states.STEP)


def run_of(
    values: Iterable[float], known: Bases | None = None, host: Iterable[float] = ()
) -> Readings:
    result = Readings(known)
    result.add("compute", marks(values), host_marks=marks(host))
    result.update()
    return result


def marks(values: Iterable[float]) -> list[tuple[int, int]]:
    return [(calls, round(value)) for calls, value in enumerate(values)]


def known_of(*shares: tuple[float, float]) -> Bases:
    """The states that a run of such readings hands on."""
    return run_of(drawn(*shares)).after()


def gate_of(known: Bases, *shares: tuple[float, float]) -> State | None:
    return run_of(drawn(*shares), known).gate.compute


# a state


def test_a_state_is_as_wide_on_both_sides_and_no_wider_than_half_a_clock_step() -> None:
    values = drawn((1.0, 1.0))
    assert share(histogram(values), base_of(values)) > 0.98
    state = base_of([USUAL])
    for width in (state.centre_ns / state.low_ns, state.high_ns / state.centre_ns):
        assert width == pytest.approx(1 + WINDOW, rel=0.001)
    assert WINDOW < 0.02


# which one is the base


@pytest.mark.parametrize(
    ("before", "shares", "expected"),
    [
        (None, [(1.0, 0.6), (1.35, 0.4)], 1.0),
        (None, [(1.0, 0.25), (1.35, 0.75)], 1.0),  # slow most of the time
        (None, [(1.0, 0.15), (1.35, 0.85)], 1.35),  # too rare to be taken
        (None, [(0.83, 0.06), (1.0, 0.94)], 1.0),  # a boost
        (None, [(0.83, 0.3), (1.0, 0.7)], 0.83),  # a boost that is no rare one
        (None, [(1.0, 0.3), (1.036, 0.5), (1.35, 0.2)], 1.036),  # of clock steps the commonest
        (None, [(1.0, 0.35), (1.05, 0.65)], 1.05),
        (None, [(1.0, 0.10), (1.2, 0.15), (1.4, 0.20), (1.6, 0.55)], 1.4),
        (None, [(1.15**i, 0.18 if i == 3 else 0.08) for i in range(11)], 1.15**3),  # none common
        # It stays what it was, while it is common and not much slower: else two clock steps of
        # about equal shares would take turns from run to run.
        (1.0, [(1.0, 0.35), (1.05, 0.65)], 1.0),
        (1.0, [(1.0, 0.1), (1.05, 0.9)], 1.05),  # it has become rare
        (1.35, [(1.0, 0.5), (1.35, 0.5)], 1.0),  # a much faster one is common
    ],
)
def test_the_base_is_the_fastest_common_state_and_of_near_ones_the_commonest(
    before: float | None, shares: list[tuple[float, float]], expected: float
) -> None:
    for seed in range(2):
        values = drawn(*shares, seed=seed)
        random.Random(seed).shuffle(values)
        assert is_about(base_of(values, before and before * USUAL), expected), seed


# what was usual before


@pytest.mark.parametrize(
    ("before", "shares", "expected"),
    [
        (1.0, [(1.0, 0.4), (1.08, 0.6)], 1.0),  # common still
        (1.0, [(1.35, 1.0)], 1.35),
        (0.8, [(1.0, 1.0)], 1.0),
        (0.92, [(0.92, 0.3), (1.0, 0.7)], 1.0),  # common, but of another minute
        (1.08, [(1.08, 0.3), (1.0, 0.7)], 1.0),
    ],
)
def test_a_base_of_another_minute_is_left_in_the_run_that_shows_it(
    before: float, shares: list[tuple[float, float]], expected: float
) -> None:
    first = run_of([], known_of((before, 1.0)))
    assert is_about(first.gate.compute, before)
    run = run_of(drawn(*shares), first.after())
    assert is_about(run.gate.compute, expected)
    assert run.shift == pytest.approx(expected / before, rel=2 * states.STEP)
    again = run_of(drawn((1.0, 1.0), seed=1), run.after())
    assert is_about(again.gate.compute, 1.0)


# the gate of a run


def test_few_readings_make_no_gate() -> None:
    few = run_of([USUAL] * (states.MIN_READINGS - 1))
    assert few.gate == Gate()
    few.add("compute", marks([USUAL]))
    assert few.update()
    assert few.gate == Gate(few.gate.compute) != Gate()


def test_the_gate_stays_where_it_is_until_it_moves_by_more_than_a_bin() -> None:
    run = run_of(drawn((1.0, 1.0)))
    before = run.gate
    assert not run.update()
    run.add("compute", marks(drawn((1.003, 1.0), seed=1)))
    assert not run.update()
    assert run.gate == before
    run.add("compute", marks(drawn((0.8, 3.0), seed=2)))
    assert run.update()
    assert is_about(run.gate.compute, 0.8)


def test_a_gpu_and_the_processor_beside_it_have_states_of_their_own() -> None:
    gpu, host = [36_000.0] * 30, [12_000.0] * 30
    run = run_of(gpu, host=host)
    assert run.gate.compute is not None
    assert run.gate.host is not None
    assert run.gate.compute.holds(36_000)
    assert run.gate.host.holds(12_000)
    assert Readings(run.after()).gate.host == run.gate.host
    slower = run_of(gpu, Bases(host=10_000.0), host)
    assert slower.shift is None
    assert slower.host_shift == pytest.approx(1.2, rel=2 * states.STEP)


def test_the_stream_probe_scatters_more_and_has_wider_states() -> None:
    run, generator = Readings(), random.Random(0)
    values = [USUAL * generator.gauss(1, 0.02) for _ in range(500)]
    run.add("stream", marks(values))
    run.update()
    stream = run.gate.stream
    assert stream is not None
    assert share(histogram(values), stream) > 0.95
    assert stream.high_ns - stream.low_ns > 2 * (base_of([USUAL]).high_ns - USUAL)
