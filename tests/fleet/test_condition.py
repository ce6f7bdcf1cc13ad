"""Devices that drift or turn hot rest, and come back when they are usual again."""

from dataclasses import replace

from benchbox.analysis.samples import Burst
from benchbox.analysis.states import Gate, state_at
from benchbox.fleet.condition import NEW_USUAL_S, Condition, Glance
from benchbox.records import Record
from tests.helpers.record_files import record

IDLE = Glance(100_000.0, 50.0)


def timed(reading_ns: float, *bursts: Burst) -> list[Record]:
    return [replace(record(), gate=Gate(state_at(reading_ns, 3)), bursts=bursts)]


def burst(celsius: float, *tags: str) -> Burst:
    return Burst(0, 0, (1000,), seen={"temperature_c": celsius}, tags=tags)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def usual(clock: Clock | None = None) -> Condition:
    condition = Condition(IDLE, clock or Clock())
    for reading in (100_000, 101_000, 99_000):
        assert condition.after(1, timed(reading)) == ""
    return condition


def test_a_device_whose_sentinel_drifts_rests_until_it_is_usual_again() -> None:
    condition = usual()
    word = condition.after(1, timed(112_000))
    assert word.startswith("its sentinel takes 1.1")
    assert not condition.look(Glance(112_000.0))
    assert condition.word == word
    assert condition.look(Glance(101_500.0))
    assert condition.after(1, timed(100_500)) == ""


def test_a_faster_device_drifts_too_and_other_threads_read_otherwise() -> None:
    condition = usual()
    assert condition.after(4, timed(130_000)) == ""
    assert "0.8" in condition.after(1, timed(89_000))


def test_slow_creeping_is_seen() -> None:
    condition = usual()
    readings = [100_000 * 1.01**step for step in range(1, 12)]
    assert any(condition.after(1, timed(reading)) for reading in readings)


def test_what_stays_for_long_is_the_new_usual() -> None:
    clock = Clock()
    condition = usual(clock)
    condition.after(1, timed(120_000))
    assert not condition.look(Glance(120_000.0))
    clock.now = NEW_USUAL_S / 2
    assert not condition.look(Glance(140_000.0)), "it still moves"
    clock.now += NEW_USUAL_S / 2
    assert not condition.look(Glance(141_000.0))
    clock.now += NEW_USUAL_S / 2
    assert condition.look(Glance(140_000.0))
    assert condition.after(1, timed(139_000)) == ""


def test_what_two_tasks_in_a_row_read_is_usual_where_a_look_found_nothing() -> None:
    condition = usual()
    for reading in (75_000, 100_000, 75_000):
        assert bool(condition.after(1, timed(reading))) is (reading != 100_000)
        condition.look(IDLE)
    assert condition.after(1, timed(76_000)) == ""
    assert "1.3" in condition.after(1, timed(100_000))


def test_a_hot_device_rests_until_it_is_cooler() -> None:
    condition = usual()
    assert condition.after(1, timed(100_000, burst(60), burst(70))) == ""
    word = condition.after(1, timed(100_000, burst(84, "firmware"), burst(85, "firmware")))
    assert word == "heat slows it down at 85 °C"
    assert not condition.look(Glance(100_000.0, 80.0))
    assert not condition.look(Glance(100_000.0, 70.0, is_held=True))
    assert condition.look(Glance(100_000.0, 70.0))


def test_what_a_device_cannot_tell_keeps_it_from_nothing() -> None:
    condition = Condition(Glance(None))
    assert condition.after(1, [record()]) == ""
    condition = usual()
    condition.after(1, timed(150_000))
    assert condition.look(Glance(None))
