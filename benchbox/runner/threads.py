"""Threads that devices are measured in at the same time; Ctrl-C reaches who waits for them."""

import threading
from collections.abc import Callable

POLL_S = 0.2  # how often the waiting thread wakes up, so that Ctrl-C reaches it


class Threads:
    """Calls that are made at the same time, each in a thread."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._begun: list[threading.Event] = []
        self._bugs: list[BaseException] = []

    def begin(self, call: Callable[[], None]) -> None:
        """Make a call in a thread; an exception is a bug, and ends the others."""
        done = threading.Event()

        def work() -> None:
            try:
                call()
            except BaseException as error:
                self._bugs.append(error)
                self._stop.set()  # raised now, and not when the last device is done
            finally:
                done.set()

        # Daemons: a second Ctrl-C ends the program whatever a device is at.
        threading.Thread(target=work, daemon=True).start()
        self._begun.append(done)

    @property
    def is_busy(self) -> bool:
        """Whether some call is not over."""
        return not all(done.is_set() for done in self._begun)

    def wait(self) -> None:
        """Wait for all calls; raises the first bug."""
        # Not by Thread.join: until Python 3.13 a thread whose join is interrupted counts as ended.
        for done in self._begun:
            while not done.wait(POLL_S):
                pass
        if self._bugs:
            raise self._bugs[0]
