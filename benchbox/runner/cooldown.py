"""Cooldown between sessions, until a device is as cool as when the first one began."""

import time
from collections.abc import Callable, Iterable
from typing import Protocol

from benchbox.errors import AgentError, CaseError
from benchbox.records.cooldown import CLOSE_C, Cooldown

POLL_S = 1.0  # between two readings of the sensors


class TemperatureReading(Protocol):
    """The health that a device reports."""

    @property
    def temperature_c(self) -> float | None:
        """The temperature of its hottest sensor, in degrees Celsius; None without one."""


class CoolingDevice(Protocol):
    """A device that reports its health."""

    def health(self) -> TemperatureReading:
        """Its health now; raises CaseError where it cannot be read."""


class Cooling:
    """The waits of a run, each for `max_s` at most; 0 is none at all."""

    def __init__(
        self,
        max_s: float,
        notify: Callable[[float, float, float], None] = lambda *_: None,
        *,
        done: Iterable[Cooldown] = (),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Go on from the waits `done` by an earlier part of the run.

        While it waits, `notify` hears the temperature, the goal, and the seconds left.
        """
        self._max_s, self._notify = max_s, notify
        self._clock, self._sleep = clock, sleep
        self.done = {each.session: each for each in done}
        first = self.done[min(self.done)] if self.done else None
        self._first_c = first.first_c if first else None
        self._began = first is not None

    def before(self, session: int, device: CoolingDevice) -> None:
        """Wait until the device has cooled down; the first time only read its temperature.

        Raises AgentError when the device is lost meanwhile.
        """
        if not self._max_s:
            return
        start_c, started_s = _temperature_c(device), self._clock()
        if not self._began:
            self._began, self._first_c = True, start_c
        end_c = self._wait(device, start_c, started_s)
        waited_s = round(self._clock() - started_s, 3)
        self.done[session] = Cooldown(session, waited_s, self._first_c, start_c, end_c)

    def of(self, sessions: Iterable[int]) -> tuple[Cooldown, ...]:
        """The waits before these sessions, in order."""
        return tuple(self.done[each] for each in sorted(set(sessions)) if each in self.done)

    def _wait(self, device: CoolingDevice, now_c: float | None, started_s: float) -> float | None:
        if self._first_c is None:
            return now_c
        goal_c = self._first_c + CLOSE_C
        while now_c is not None and now_c > goal_c:
            left_s = started_s + self._max_s - self._clock()
            if left_s <= 0:
                break
            self._notify(now_c, goal_c, left_s)
            self._sleep(min(POLL_S, left_s))
            now_c = _temperature_c(device)
        return now_c


def _temperature_c(device: CoolingDevice) -> float | None:
    try:
        return device.health().temperature_c
    except AgentError:
        raise
    except CaseError:  # an agent that has no such request
        return None
