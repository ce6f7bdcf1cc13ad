"""How long a device is waited for, on a clock and a device that are simulated."""

from types import SimpleNamespace

import pytest

from benchbox.agent.host import clusters
from benchbox.errors import AgentError, CaseError
from benchbox.records.cooldown import CLOSE_C, Cooldown
from benchbox.report import conditions
from benchbox.runner.cooldown import POLL_S, Cooling
from tests.helpers.record_files import context, record


class Device:
    """Cools down by so many degrees in a second, and not below 20."""

    def __init__(self, celsius: float | None, per_s: float = 2.0) -> None:
        self.celsius, self.per_s, self.now_s = celsius, per_s, 0.0
        self.error: Exception | None = None

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        if self.celsius is not None:
            self.celsius = max(20.0, self.celsius - self.per_s * seconds)

    def health(self) -> SimpleNamespace:
        if self.error is not None:
            raise self.error
        return SimpleNamespace(temperature_c=self.celsius)


def cooling(device: Device, most_s: float = 60.0, **more: object) -> Cooling:
    return Cooling(most_s, clock=device.clock, sleep=device.sleep, **more)  # type: ignore[arg-type]


def after(device: Device, waits: Cooling, celsius: float | None, session: int = 1) -> Cooldown:
    """A session after the first, before which the device is so warm."""
    waits.before(0, device)
    assert device.now_s == 0.0
    device.celsius = celsius
    waits.before(session, device)
    return waits.done[session]


@pytest.mark.parametrize(
    ("celsius", "per_s", "most_s", "waited_s", "end_c", "is_back"),
    [
        (60.0, 2.0, 60.0, 10.0, 40.0, True),  # as cool as before the first session
        (40.0 + CLOSE_C, 2.0, 60.0, 0.0, 40.0 + CLOSE_C, True),  # close enough
        (40.0 + CLOSE_C + 0.1, 2.0, 60.0, POLL_S, 40.0 + CLOSE_C + 0.1 - 2 * POLL_S, True),
        (60.0, 0.1, 7.5, 7.5, 59.25, False),  # no longer than was allowed
    ],
)
def test_a_later_session_waits_until_it_is_as_cool_as_then(
    celsius: float, per_s: float, most_s: float, waited_s: float, end_c: float, is_back: bool
) -> None:
    device = Device(40.0, per_s)
    wait = after(device, cooling(device, most_s), celsius)
    assert wait == Cooldown(1, waited_s, 40.0, celsius, pytest.approx(end_c))
    assert wait.is_back == is_back


def test_who_watches_hears_how_warm_it_is_and_how_long_it_may_take() -> None:
    heard: list[tuple[float, ...]] = []
    device = Device(40.0, per_s=2.0)
    after(device, cooling(device, 9.0, notify=lambda *now: heard.append(now)), 44.0)
    assert heard == [(44.0, 41.0, 9.0), (42.0, 41.0, 8.0)]


@pytest.mark.parametrize("error", [None, CaseError("unknown request 'health'")])
def test_a_device_that_shows_no_temperature_is_not_waited_for(error: Exception | None) -> None:
    device = Device(None)
    device.error = error
    wait = after(device, cooling(device), None)
    assert (wait, wait.is_back) == (Cooldown(1, 0.0), True)


def test_a_sensor_that_fails_meanwhile_ends_the_wait() -> None:
    device = Device(40.0)
    waits = cooling(device, notify=lambda *_: setattr(device, "celsius", None))
    assert after(device, waits, 60.0) == Cooldown(1, 1.0, 40.0, 60.0, None)


def test_a_device_that_is_lost_is_not_taken_for_one_without_sensors() -> None:
    device = Device(40.0)
    device.error = AgentError("the agent is gone")
    with pytest.raises(AgentError, match="gone"):
        cooling(device).before(0, device)


def test_without_any_time_for_it_nothing_is_asked() -> None:
    device = Device(40.0)
    device.error = AgentError("asked")
    waits = cooling(device, 0.0)
    waits.before(0, device)
    assert waits.of([0]) == ()


def test_waits_are_told_by_session_those_of_an_earlier_run_too() -> None:
    device, earlier = Device(40.0), Cooldown(3, 1.0, 30.0, 35.0, 31.0)
    waits = cooling(device, done=[earlier])
    waits.before(4, device)
    assert [each.session for each in waits.of([4, 3, 9, 4])] == [3, 4]
    assert waits.of([3]) == (earlier,)
    assert waits.done[4].first_c == 30.0  # the first of all is what later ones wait for


# in words


def test_waits_that_were_too_short_are_told_of_once_whatever_the_cases() -> None:
    def notes(*waits: tuple[Cooldown, ...]) -> list[str]:
        return conditions.notes(
            context(), [record(i, f"case{i}", cooldowns=each) for i, each in enumerate(waits)]
        )

    first = Cooldown(0, 0.0, 40.0, 40.0, 40.0)
    assert notes((first, Cooldown(1, 9.0, 40.0, 70.0, 41.0))) == []
    waits = (first, Cooldown(1, 60.0, 40.0, 80.0, 61.4))
    assert notes(waits, (*waits, Cooldown(2, 60.0, 40.0, 80.0, 55.0))) == [
        "it had not cooled down before 2 of 2 processes: 61 °C after 60 s, 40 °C before the first; "
        "give it longer with --cooldown"
    ]


def test_a_board_that_was_throttled_from_the_beginning_is_told_of() -> None:
    def notes(throttled: str) -> list[str]:
        return conditions.notes(context(host={"setting": {"throttled": throttled}}), [])

    assert notes("under-voltage now, throttled now, throttled since it was started") == [
        "when the run began the board's firmware said: under-voltage, throttled"
    ]
    assert notes("throttled since it was started") == []


def test_threads_on_unequal_processors_are_told_of() -> None:
    big, middle = clusters.Cluster((7,), 1024, 2_900_000, "Cortex-X1"), (4, 5, 6)
    there = [big, clusters.Cluster(middle, 774, 2_400_000)]
    host = {"clusters": [cluster.facts() for cluster in there]}

    def notes(*cpus: int, threads: int) -> list[str]:
        return conditions.notes(context(host=host, cpus=[*cpus], threads=threads), [])

    assert notes(7, 6, 5, threads=3) == [
        "its threads ran on unequal processors, and the slowest decides: "
        "1 on 7 (Cortex-X1), 2 on 4-6"
    ]
    assert notes(6, 5, threads=2) == notes(7, 6, threads=1) == []
