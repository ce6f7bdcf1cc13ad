"""Waiting between sessions until a device is as cool as it was when the first one began."""

import time
from collections.abc import Callable, Iterable
from typing import Protocol

from benchbox.errors import AgentError, CaseError
from benchbox.records.cooldown import CLOSE_C, Cooldown

LOOK_S = 1.0  # between two looks at the sensors


class Feels(Protocol):
    """How warm something is."""

    @property
    def temperature_c(self) -> float | None:
        """The temperature of its hottest sensor, in degrees Celsius; None without one."""


class Patient(Protocol):
    """A device that can be asked how it feels."""

    def health(self) -> Feels:
        """Return how it feels; raises CaseError where it cannot say."""


class Cooling:
    """The waits of a run, each for `most_s` at most; 0 is none at all."""

    def __init__(
        self,
        most_s: float,
        notify: Callable[[float, float, float], None] = lambda *_: None,
        *,
        done: Iterable[Cooldown] = (),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Go on from those that are `done`.

        `notify` hears, while it waits, the temperature, the one waited for, and the seconds left.
        """
        self._most_s, self._notify = most_s, notify
        self._clock, self._sleep = clock, sleep
        self.done = {each.session: each for each in done}
        first = self.done[min(self.done)] if self.done else None
        self._first_c = first.first_c if first else None
        self._began = first is not None

    def before(self, session: int, device: Patient) -> None:
        """Wait until the device has cooled down; the first time only see how warm it is.

        Raises AgentError when the device is lost over it.
        """
        if not self._most_s:
            return
        start_c, started_s = _temperature_c(device), self._clock()
        if not self._began:
            self._began, self._first_c = True, start_c
        end_c = self._wait(device, start_c, started_s)
        waited_s = round(self._clock() - started_s, 3)
        self.done[session] = Cooldown(session, waited_s, self._first_c, start_c, end_c)

    def of(self, sessions: Iterable[int]) -> tuple[Cooldown, ...]:
        """Return the waits before these sessions, in order."""
        return tuple(self.done[each] for each in sorted(set(sessions)) if each in self.done)

    def _wait(self, device: Patient, now_c: float | None, started_s: float) -> float | None:
        if self._first_c is None:
            return now_c
        goal_c = self._first_c + CLOSE_C
        while now_c is not None and now_c > goal_c:
            left_s = started_s + self._most_s - self._clock()
            if left_s <= 0:
                break
            self._notify(now_c, goal_c, left_s)
            self._sleep(min(LOOK_S, left_s))
            now_c = _temperature_c(device)
        return now_c


def _temperature_c(device: Patient) -> float | None:
    try:
        return device.health().temperature_c
    except AgentError:
        raise
    except CaseError:  # an agent that has no such request
        return None
