"""Channels of JSON lines to processes, with a deadline on every reply."""

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

MOST_BYTES = 64 << 20  # of a line: a million samples of a burst have 10 MB
MOST_PARTS = 2_000_000  # of its JSON, each of which takes 100 bytes of memory and more
STDERR_TAIL = 2000  # bytes of diagnostics that are worth keeping
CHUNK = 1 << 16
GRACE_S = 2.0
STALLED_S = 30.0  # that nothing is taken of what is written, before the other side counts as lost
POLL_S = 0.1


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


def encode(message: Mapping[str, object]) -> bytes:
    """Return a message as it is sent."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class ProcessChannel:
    """A channel to a child process's stdin and stdout; the end of its stderr is kept.

    Nothing is read but while somebody waits, so what the child writes fills pipes and no memory.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self._buffer = bytearray()
        self._stderr = b""
        # In a session of its own: Ctrl-C is for the parent, which then ends its children in order.
        self._process = subprocess.Popen(
            argv,
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._stdin = self._process.stdin
        self._outputs = [self._process.stdout, self._process.stderr]  # that have not ended yet
        for pipe in (self._stdin, *self._outputs):
            os.set_blocking(pipe.fileno(), False)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def send(self, message: Mapping[str, object]) -> None:
        """Send one message; raises ChannelClosed when the child is gone."""
        self.write(encode(message))

    def write(self, data: bytes) -> None:
        """Send bytes; raises ChannelClosed when the child is gone, or takes nothing."""
        left = memoryview(data)
        try:
            while left:
                if not select.select([], [self._stdin], [], STALLED_S)[1]:
                    raise ChannelClosed(f"it took nothing for {STALLED_S:.0f} s")
                left = left[os.write(self._stdin.fileno(), left[:CHUNK]) :]
        except (BrokenPipeError, ValueError):
            raise ChannelClosed(self.epitaph()) from None

    def post(self, message: Mapping[str, object]) -> bool:
        """Send a short message if that needs no waiting; return whether it was sent."""
        try:
            os.write(self._stdin.fileno(), encode(message))  # a pipe takes so little whole, or not
        except (OSError, ValueError):
            return False
        return True

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """Return the next message; raises Timeout, or ChannelClosed when the child is gone."""
        deadline = time.monotonic() + timeout_s
        known = 0
        while (end := self._buffer.find(b"\n", known)) < 0:
            known = len(self._buffer)
            if known > MOST_BYTES:
                raise ChannelClosed(f"it wrote {MOST_BYTES >> 20} MB without an end of line")
            if self._process.stdout not in self._outputs:
                raise ChannelClosed(self.epitaph())
            left = deadline - time.monotonic()
            if left <= 0 or not self._read(left):
                raise Timeout
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        if 4 * len(line) > MOST_PARTS < line.count(b",") + line.count(b"[") + 4 * line.count(b"{"):
            raise ChannelClosed(f"it wrote a line of more than {MOST_PARTS} parts")
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise Noise(line)
        return message

    def _read(self, timeout_s: float) -> bool:
        """Take in what the child wrote; return whether there was something, or its end."""
        try:
            ready = select.select(self._outputs, [], [], timeout_s)[0]
            chunks = [(pipe, os.read(pipe.fileno(), CHUNK)) for pipe in ready]
        except (OSError, ValueError):
            raise ChannelClosed("it was closed") from None  # by another thread
        for pipe, chunk in chunks:
            if not chunk:
                pipe.close()
                self._outputs.remove(pipe)
            elif pipe is self._process.stdout:
                self._buffer += chunk
            else:
                self._stderr = (self._stderr + chunk)[-STDERR_TAIL:]
        return bool(ready)

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the child to end, and keep its output; return its exit code, None if it runs on.

        Raises ChannelClosed when it writes more than anybody would take.
        """
        until = time.monotonic() + timeout_s
        while self._process.poll() is None and (left := until - time.monotonic()) > 0:
            if not self._outputs:
                time.sleep(min(left, POLL_S / 10))
            self._read(min(left, POLL_S))
            self._check_size()
        while self._outputs and self._read(0):
            self._check_size()
        return self.exit_status

    def _check_size(self) -> None:
        if self._process.stdout in self._outputs and len(self._buffer) > MOST_BYTES:
            self.kill()
            raise ChannelClosed(f"it wrote more than {MOST_BYTES >> 20} MB that nobody took")

    @property
    def exit_status(self) -> int | None:
        """The exit code, None while it runs; minus the number of the signal that ended it."""
        return self._process.poll()

    @property
    def is_closed(self) -> bool:
        """Whether nothing more can be sent or received."""
        return self._stdin.closed and not self._outputs

    def output(self) -> bytes:
        """The output of the child that nobody has received."""
        return bytes(self._buffer)

    def epitaph(self) -> str:
        """How the child ended, with the last line that it wrote to stderr."""
        self.wait(GRACE_S)
        code = self._process.poll()
        return "it closed its output" if code is None else self._ended(code)

    def _ended(self, code: int) -> str:
        how = f"it was ended by {signal_name(-code)}" if code < 0 else f"it ended with code {code}"
        lines = self.stderr_tail().splitlines()
        return f"{how} ({lines[-1].strip()})" if lines else how

    def stderr_tail(self) -> str:
        """Return the last that the child wrote to stderr, stripped."""
        return self._stderr.decode(errors="replace").strip()

    def close(self) -> None:
        """Close the child's stdin and stdout; a child that does not end by that is killed."""
        self._stdin.close()
        if self._process.stdout in self._outputs:
            self._outputs.remove(self._process.stdout)
            self._process.stdout.close()
        if self.wait(GRACE_S) is None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for pipe in self._outputs:
            pipe.close()
        self._outputs.clear()

    def cut(self) -> None:
        """End the child from another thread: who waits for it here sees its end."""
        self._process.kill()

    def terminate(self) -> None:
        """End the child, which may end its own children before."""
        self._process.terminate()
        self.close()

    def kill(self) -> None:
        """End the child at once."""
        self._process.kill()
        self.close()


def signal_name(number: int) -> str:
    """Return a signal's name, or its number where it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
