from dataclasses import replace

import pytest

from benchbox.analysis import samples
from benchbox.analysis.samples import Burst
from benchbox.analysis.states import Gate, State

MS = 1_000_000
GATE = Gate(State(100.0, 98.0, 102.0), State(1000.0, 950.0, 1050.0))


def burst(round_: int, *latencies_ms: float, switches: tuple[int, ...] | None = None) -> Burst:
    return Burst(0, round_, tuple(int(ms * MS) for ms in latencies_ms), switches)


def tags(*bursts: Burst) -> list[tuple[str, ...]]:
    return [each.tags for each in samples.tagged(bursts, GATE)]


def marked(*readings: int, calls: int = 10) -> Burst:
    """A burst with a reading before every so many calls, and one after the last."""
    count = calls * (len(readings) - 1)
    marks = tuple((calls * index, reading) for index, reading in enumerate(readings))
    return Burst(0, 0, tuple(range(1, count + 1)), (0,) * count, marks)


def test_the_stream_probe_is_judged_by_its_own_state() -> None:
    streamed = replace(marked(1000, 1040, 960, 1100), probe="stream")
    assert streamed.quiet(GATE) == [True] * 20 + [False] * 10
    assert streamed.quiet(Gate(compute=GATE.compute)) == [True] * 30
    assert replace(streamed, probe="compute").quiet(GATE) == [False] * 30


@pytest.mark.parametrize(
    ("around", "quiet"),
    [((1000, 1040), True), ((1000, 9000), True), ((1100, 1200), False), ((900, 1000), False)],
)
def test_the_level_of_the_memory_is_the_lower_of_the_readings_around_a_burst(
    around: tuple[int, int], quiet: bool
) -> None:
    found = replace(marked(100, 101, 99), stream_ns=around)
    assert found.quiet(GATE) == [quiet] * 20
    assert found.quiet(Gate(GATE.compute)) == [True] * 20
    assert found.quiet(GATE, paired=True) == [True] * 20


def test_readings_out_of_the_gates_state_and_switches_are_tagged() -> None:
    assert tags(replace(marked(1000, 1100), probe="stream")) == [("slow",)]
    bursts = [marked(100, 101), marked(100, 135), marked(83, 100), burst(0, 1, switches=(2,))]
    assert tags(*bursts) == [(), ("slow",), ("fast",), ("preempted",)]
    assert samples.tag_shares(bursts, GATE) == {"slow": 0.25, "fast": 0.25, "preempted": 0.25}
    assert samples.tag_shares([], GATE) == {}
    assert samples.tagged(bursts[:3], Gate()) == bursts[:3]


def test_a_clock_below_the_highest_of_a_case_is_tagged() -> None:
    clocks = [replace(burst(i, 1), seen={"clock_khz": 1000.0 * i}) for i in (28, 30, 0)]
    assert tags(*clocks) == [("clock",), (), ()]


def test_threads_of_a_pool_that_wait_for_a_processor_make_no_quiet_burst() -> None:
    waited = burst(0, 1, 1, switches=(0, 0))
    share = samples.QUEUED * waited.duration_ns
    for pool, queued, quiet in ((True, 1.01, False), (True, 0.99, True), (False, 9.0, True)):
        found = replace(waited, pool=pool, seen={"queued_ns": queued * share})
        assert found.quiet() == [quiet, quiet]


def test_a_round_has_the_median_of_its_quiet_samples() -> None:
    bursts = [
        burst(0, 1, 2, 90, switches=(0, 0, 1)),
        burst(0, 3, switches=(0,)),
        burst(1, 7, 7, switches=(1, 1)),
        Burst(1, 0, (5 * MS,)),
    ]
    assert samples.round_medians(bursts) == pytest.approx({(0, 0): 0.002, (1, 0): 0.005})
    assert samples.round_medians([]) == {}


SWITCHED = replace(marked(100, 135, 100, 100), switches=(0,) * 25 + (1,) * 5)


@pytest.mark.parametrize(
    ("found", "gate", "quiet"),
    [
        (
            burst(0, *range(1, 7), switches=(0, 2, 0, 0, 1, 1)),
            Gate(),
            [True, False, False, True, False, False],
        ),
        (burst(0, 1, 2, 3, switches=(0, 0, 2)), GATE, [True, True, False]),  # no readings
        (burst(0, 1, 2), GATE, [True, True]),
        (marked(100, 83, 100, 100), GATE, [False] * 20 + [True] * 10),  # a rare faster state
        (marked(100, 135, 83), Gate(), [True] * 20),
        (SWITCHED, GATE, [False] * 20 + [True] * 5 + [False] * 5),
    ],
)
def test_a_quiet_call_has_no_switch_and_readings_in_the_gates_state(
    found: Burst, gate: Gate, quiet: list[bool]
) -> None:
    assert found.quiet(gate) == quiet
