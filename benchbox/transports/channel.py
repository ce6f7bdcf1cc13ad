"""JSON lines to and from a process, with a deadline on every reply."""

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

MOST_BYTES = 64 << 20  # of a line: a million samples of a burst have 10 MB
STDERR_TAIL = 2000  # characters of diagnostics that are worth keeping
GRACE_S = 2.0


class ChannelClosed(Exception):  # noqa: N818 - an event that the other side caused, not yet an error
    """The other side is gone; the text says how it ended."""


class Noise(ChannelClosed):
    """The other side speaks something else than JSON lines; `said` is how it begins."""

    def __init__(self, line: bytes) -> None:
        self.said = " ".join(line[:80].decode(errors="replace").split())
        super().__init__(f"it spoke something else than JSON lines: {line[:80]!r}")


class Timeout(Exception):  # noqa: N818 - see above
    """No reply came within its deadline."""


class Channel(Protocol):
    """A way to one agent. `send` and `receive` raise ChannelClosed, `receive` raises Timeout."""

    def send(self, message: Mapping[str, object]) -> None:
        """Send one message."""

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """Return the next message."""

    def close(self) -> None:
        """End the other side, by force where it does not go by itself."""


class JsonLines:
    """The receiving end of a channel; who inherits fills the buffer."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """Return the next message; raises Timeout, or ChannelClosed when the other side is gone."""
        deadline = time.monotonic() + timeout_s
        known = 0
        while (end := self._buffer.find(b"\n", known)) < 0:
            known = len(self._buffer)
            if known > MOST_BYTES:
                raise ChannelClosed(f"it wrote {MOST_BYTES >> 20} MB without an end of line")
            self._read(deadline)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise Noise(line)
        return message

    def _read(self, deadline: float) -> None:
        """Add what the other side wrote to the buffer; sleeps until there is something."""
        raise NotImplementedError


def encode(message: Mapping[str, object]) -> bytes:
    """Return a message as it is sent."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class ProcessChannel(JsonLines):
    """A channel to a child process's stdin and stdout; its stderr is kept for the post-mortem."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the channel
        # In a session of its own: Ctrl-C is for the parent, which then ends its children in order.
        self._process = subprocess.Popen(
            argv,
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,
            bufsize=0,
        )

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def send(self, message: Mapping[str, object]) -> None:
        """Send one message; raises ChannelClosed when the child is gone."""
        assert self._process.stdin is not None
        line = encode(message)
        try:
            while line:
                line = line[self._process.stdin.write(line) :]
        except (BrokenPipeError, ValueError):
            raise ChannelClosed(self._epitaph()) from None

    def _read(self, deadline: float) -> None:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            raise Timeout
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            raise ChannelClosed(self._epitaph())
        self._buffer += chunk

    def _epitaph(self) -> str:
        """Say how the child ended, with the last line that it wrote to stderr."""
        try:
            code = self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            return "it closed its output"
        how = f"it was ended by {_signal_name(-code)}" if code < 0 else f"it ended with code {code}"
        lines = self.stderr_tail().splitlines()
        return f"{how} ({lines[-1].strip()})" if lines else how

    def stderr_tail(self) -> str:
        """Return the last that the child wrote to stderr, stripped."""
        if self._stderr.closed:
            return ""
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - STDERR_TAIL))
        return self._stderr.read().decode(errors="replace").strip()

    def close(self) -> None:
        """Close the child's stdin; a child that does not end by that is killed."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stderr.close()

    def kill(self) -> None:
        """End the child at once."""
        self._process.kill()
        self.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
