"""What a transport gives: a link to a device, and the processes that are started over it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from benchbox.transports import replies

BUSY = "another benchbox is timing on it"
NARROW = (
    "its Python is 32-bit, and ONNX Runtime has 64-bit wheels only; use a 64-bit system there, as "
    "the 64-bit Raspberry Pi OS"
)

# A file's name, the bytes of it that are sent, its size: None while it is yet being made here.
Sending = Callable[[str, int, int | None], None]
Telling = Callable[[float, str], None]  # the seconds that something took so far, what it said last


def silent(_name: str, _sent: int, _size: int | None) -> None:
    """Tell nobody that a file is sent."""


def untold(_taken_s: float, _said: str) -> None:
    """Tell nobody that something takes a while."""


def lacking(lacks: Sequence[str], bits: int | None, name: str) -> str:
    """Return what a device's Python of 32 or 64 `bits` lacks, and what commands help it."""
    if bits == 32:
        return NARROW
    return f"its Python has no {' and no '.join(lacks)}; benchbox device check {name} --install"


class Remote(Protocol):
    """A process at the other end of a link, and a channel of JSON lines to it.

    What sends or receives raises channel.ChannelClosed when the process or the link is gone.
    """

    def send(self, message: Mapping[str, object]) -> None:
        """Send one message."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def post(self, message: Mapping[str, object]) -> None:
        """Send a message from a thread of the link's own, if anybody is there."""

    def drain(self, timeout_s: float) -> None:
        """Wait until what was written is on its way."""

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """Return the next message; raises channel.Timeout."""

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the process to end; return its exit code, None where it has none."""

    @property
    def exit_status(self) -> int | None:
        """The exit code, None where it has none."""

    def epitaph(self) -> str:
        """Say how the process ended, with the last line that it wrote to stderr."""

    def stderr_tail(self) -> str:
        """Return the last that the process wrote to stderr, stripped."""

    def close(self) -> None:
        """Close the process's stdin, which ends it."""


class Link(Protocol):
    """A connection to a device."""

    def start(self, command: str) -> Remote:
        """Start a shell command; raises channel.ChannelClosed when the link is lost."""

    def every(self, seconds: float, call: Callable[[], None]) -> None:
        """Make a call again and again, in a thread of the link's own, until it is closed."""

    def close(self) -> None:
        """End the connection and what runs over it; may be called again."""


def how_ended(signal: str | None, code: int | None, lost: str, stderr: str) -> str:
    """Say how a remote process ended: by a signal, with a code, or with its link."""
    if signal is not None:
        how = f"it was ended by SIG{signal}"
        how += ", as a system out of memory does" if signal == "KILL" else ""
    elif code is not None and code >= 0:
        how = f"it ended with code {code}"
    else:
        return "the link to the device is lost" + (f" ({lost})" if lost else "")
    lines = stderr.splitlines()
    return f"{how} ({replies.line(lines[-1])})" if lines else how
