"""Processes on a device: each is a local process of ssh or adb, which carries its streams."""

from collections.abc import Callable, Sequence
from typing import Protocol

from benchbox.transports import replies
from benchbox.transports.channel import ProcessChannel, signal_name

LOST = "the link to the device is lost"
SIGNALED = 128  # what a shell adds to the number of the signal that ended its child


class RemoteChannel(ProcessChannel):
    """A channel to a process on a device."""

    def __init__(self, argv: Sequence[str], status: Callable[[int, str], int | None]) -> None:
        """Start it by the program `argv`.

        `status` gives its exit code by that of the program and the end of stderr, None for the
        code of a program that has lost its link.
        """
        super().__init__(argv)
        self._status = status

    @property
    def exit_status(self) -> int | None:
        """The exit code there, None while it runs and where the link is lost."""
        code = self._process.poll()
        return None if code is None else self._status(code, self.stderr_tail())

    def _ended(self, code: int) -> str:
        there = self._status(code, self.stderr_tail())
        if there is None:
            return LOST
        if there > SIGNALED:
            name = signal_name(there - SIGNALED)
            why = ", as a system out of memory does" if name == "SIGKILL" else ""
            return f"it was ended by {name}{why}"
        lines = self.stderr_tail().splitlines()
        last = f" ({replies.line(lines[-1])})" if lines else ""
        return f"it ended with code {there}{last}"


class Link(Protocol):
    """A way to start processes on a device."""

    def start(self, command: str) -> RemoteChannel:
        """Start a shell command; raises ChannelClosed when the link is lost."""

    def close(self) -> None:
        """End what runs over the link; may be called again."""
