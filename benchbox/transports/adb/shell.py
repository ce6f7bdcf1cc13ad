"""Processes on a phone, by adb's shell protocol: stdin, stdout, stderr, exit code, each apart."""

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping

from benchbox.transports.adb.server import Refused, Server, exactly, is_networked
from benchbox.transports.channel import (
    MOST_BYTES,
    STDERR_TAIL,
    ChannelClosed,
    JsonLines,
    Timeout,
    encode,
)
from benchbox.transports.protocols import how_ended

# Kind of a packet and length of what follows: adb's shell_protocol.h.
HEADER = struct.Struct("<BI")
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
CHUNK = 1 << 16
MOST_OF_PACKET = 1 << 20  # adb sends no longer ones: its MAX_PAYLOAD
STALLED_S = 60.0  # that nothing is taken, before the link counts as lost
POST_S = 1.0
END_S = 2.0  # how long the exit code may come after all else
ALIVE_S = 1.0
MISSED_S = 3.0  # that a phone on a network says nothing, before the link counts as lost
SENDING_S = 60.0  # the same where it has much to take in first: a packet has up to 1 MB
MUCH_BYTES = 1 << 14
STAT = struct.pack("<4sI", b"STAT", 1) + b"/"  # adb's file_sync_protocol.h; 16 bytes come back
SIGNALS = {1: "HUP", 2: "INT", 4: "ILL", 6: "ABRT", 7: "BUS", 9: "KILL", 11: "SEGV", 15: "TERM"}


class ShellChannel(JsonLines):
    """A channel to a process on a phone. It reads when it is asked to, and while it writes."""

    def __init__(
        self,
        connection: socket.socket,
        sending: Callable[[], None] = lambda: None,
        answered: Callable[[], None] = lambda: None,
    ) -> None:
        """Take over a connection.

        `sending` hears of every write that takes a while, `answered` of what the process says.
        """
        super().__init__()
        connection.setblocking(False)
        self._sending = sending
        self._answered = answered
        self._connection = connection
        self._packets = bytearray()
        self._stderr = b""
        self._code: int | None = None
        self._ended = False
        self._lost = ""
        self._writing = threading.Lock()

    def send(self, message: Mapping[str, object]) -> None:
        """Send one message; raises ChannelClosed when the other side is gone."""
        self.write(encode(message))

    def write(self, data: bytes) -> None:
        """Send bytes; raises ChannelClosed when the other side is gone, or takes nothing."""
        with self._writing:
            for start in range(0, len(data), CHUNK):
                self._put(_packet(STDIN, data[start : start + CHUNK]))

    def post(self, message: Mapping[str, object]) -> None:
        """Send a message from another thread, if anybody is there; reads nothing."""
        data = _packet(STDIN, encode(message))
        with self._writing, contextlib.suppress(OSError, ValueError):
            if select.select([], [self._connection], [], POST_S)[1]:
                self._connection.send(data)  # so little goes at once, or the link is lost

    def drain(self, timeout_s: float) -> None:
        """Nothing waits here: what was written is on its way."""

    def _put(self, data: bytes) -> None:
        left, until = memoryview(data), time.monotonic() + STALLED_S
        while left:
            if self._ended:
                raise ChannelClosed(self.epitaph())
            readable, writable = self._ready(until, writing=True)
            if readable:
                self._take()
            if writable:
                try:
                    left = left[self._connection.send(left) :]
                except OSError:
                    raise ChannelClosed(self.epitaph()) from None
                until = time.monotonic() + STALLED_S
                if len(data) > MUCH_BYTES:
                    self._sending()

    def _ready(self, until: float, *, writing: bool = False) -> tuple[bool, bool]:
        """Wait until something can be done; raises ChannelClosed when nothing can for too long."""
        mine = [self._connection]
        wait_s = max(0.0, until - time.monotonic())
        try:
            readable, writable, _ = select.select(mine, mine if writing else [], [], wait_s)
        except (OSError, ValueError):  # it is closed
            self._ended = True
            return False, False
        if writing and not readable and not writable:
            raise ChannelClosed(f"it took nothing for {STALLED_S:.0f} s")
        return bool(readable), bool(writable)

    def _take(self) -> None:
        """Take in what has come."""
        try:
            chunk = self._connection.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        self._ended = self._ended or not chunk
        self._packets += chunk
        while len(self._packets) >= HEADER.size:
            kind, size = HEADER.unpack_from(self._packets)
            if size > MOST_OF_PACKET:
                self._give_up(f"it sent a packet of {size} bytes, which adb does not")
                return
            end = HEADER.size + size
            if len(self._packets) < end:
                break
            self._sort(kind, bytes(self._packets[HEADER.size : end]))
            del self._packets[:end]

    def _sort(self, kind: int, data: bytes) -> None:
        if kind in (STDOUT, EXIT):
            self._answered()
        if kind == STDOUT:
            self._buffer += data
            if len(self._buffer) > MOST_BYTES:
                self._give_up(f"it wrote more than {MOST_BYTES >> 20} MB that nobody took")
        elif kind == STDERR:
            self._stderr = (self._stderr + data)[-STDERR_TAIL:]
        elif kind == EXIT:
            self._code, self._ended = data[0] if data else None, True

    def _give_up(self, why: str) -> None:
        """End the connection, as what comes there is no process's output."""
        self._lost = why
        self._packets.clear()
        self._buffer.clear()
        self.drop()

    def _read(self, deadline: float) -> None:
        if self._ended:
            raise ChannelClosed(self.epitaph())
        if not self._ready(deadline)[0] and not self._ended:
            raise Timeout
        self._take()

    def epitaph(self) -> str:
        """Say how the process ended, with the last line that it wrote to stderr."""
        self.wait(END_S)
        code = self._code
        name = SIGNALS.get(code - 128) if code is not None and code > 128 else None
        return how_ended(name, code, self._lost, self.stderr_tail())

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the process to end; return its exit code, None where it has none."""
        until = time.monotonic() + timeout_s
        while not self._ended and time.monotonic() < until:
            if self._ready(until)[0]:
                self._take()
        return self._code

    @property
    def has_ended(self) -> bool:
        """Whether no more comes: the process has ended, or the connection has."""
        return self._ended

    @property
    def exit_status(self) -> int | None:
        """The exit code, None where it has none; 128 more than the signal that ended it."""
        return self._code

    def output(self) -> bytes:
        """Return what has come on stdout and was not received as messages."""
        return bytes(self._buffer)

    def stderr_tail(self) -> str:
        """Return the last that the process wrote to stderr, stripped."""
        return self._stderr.decode(errors="replace").strip()

    def close(self) -> None:
        """Close the process's stdin, which ends it."""
        with self._writing, contextlib.suppress(ChannelClosed):
            self._put(_packet(CLOSE_STDIN, b""))

    def cut(self, why: str) -> None:
        """End the connection from another thread: who waits here sees its end."""
        self._lost = why
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """Give the connection up."""
        self._ended = True
        self._connection.close()


def _packet(kind: int, data: bytes) -> bytes:
    return HEADER.pack(kind, len(data)) + data


class AdbLink:
    """A phone that is attached: every process has a connection of its own to the adb server."""

    def __init__(self, server: Server, serial: str) -> None:
        self._server, self._serial = server, serial
        self._channels: list[ShellChannel] = []
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._sent_at = -SENDING_S
        # adb itself sees the loss of a cable, and not that of a network.
        self._asked = self.open("sync:") if is_networked(serial) else None
        if self._asked is not None:
            self.every(ALIVE_S, self._expect_answer)

    def _expect_answer(self) -> None:
        assert self._asked is not None
        try:
            asked_at = time.monotonic()
            self._asked.sendall(STAT)
            if self._await(self._asked):
                exactly(self._asked, 16)
                return
            waited_s = time.monotonic() - asked_at
            for channel in self._channels:
                channel.cut(f"no answer for {waited_s:.0f} s")
            with contextlib.suppress(Refused, OSError, ValueError):  # else it never tries anew
                self._server.ask(f"host:disconnect:{self._serial}")
            self._closing.set()
        except (OSError, ValueError):  # the channels have the same end
            self._closing.set()

    def _await(self, asked: socket.socket) -> bool:
        """Wait for an answer; return whether it has come by when the link counts as lost."""
        while not select.select([asked], [], [], MISSED_S)[0]:
            if time.monotonic() - self._sent_at > SENDING_S or self._closing.is_set():
                return False
        return True

    def sending(self) -> None:
        """Note that much is sent, behind which answers wait on a slow network."""
        self._sent_at = time.monotonic()

    def answered(self) -> None:
        """Note that there is an answer to what was sent: no more of it is on its way.

        A quick sign of life says less: adb sends in packets, and it can come between two of them.
        """
        self._sent_at = -SENDING_S

    def open(self, service: str) -> socket.socket:
        """Return a connection to a service of the phone; raises ChannelClosed."""
        if self._closing.is_set():
            raise ChannelClosed("the link to the device is lost (closed)")
        try:
            return self._server.open(self._serial, service)
        except (Refused, OSError, ValueError) as error:
            # Records keep it, and have no serial number in them.
            why = " ".join(str(error).split()).replace(self._serial, "it")
            raise ChannelClosed(f"the link to the device is lost ({why})") from None

    def start(self, command: str) -> ShellChannel:
        """Start a shell command; raises ChannelClosed when the link is lost."""
        channel = ShellChannel(self.open(f"shell,v2,raw:{command}"), self.sending, self.answered)
        self._channels.append(channel)
        return channel

    def every(self, seconds: float, call: Callable[[], None]) -> None:
        """Make a call again and again, in a thread of its own, until the link is closed."""

        def calls() -> None:
            while not self._closing.wait(seconds):
                call()

        self._threads.append(threading.Thread(target=calls, name="adb", daemon=True))
        self._threads[-1].start()

    def close(self) -> None:
        """End all connections; what runs over them sees the end of its input."""
        self._closing.set()
        if self._asked is not None:
            with contextlib.suppress(OSError):
                self._asked.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        if self._asked is not None:
            self._asked.close()
        for channel in self._channels:
            channel.drop()
