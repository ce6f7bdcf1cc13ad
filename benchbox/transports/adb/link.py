"""Processes on a phone: each is an `adb shell` of its own, over the server's one connection."""

import contextlib
import threading
import time

from benchbox.transports.adb import program
from benchbox.transports.channel import ChannelClosed, Timeout
from benchbox.transports.link import RemoteChannel

ALIVE_S = 1.0
MISSED_S = 3.0  # that a phone on a network says nothing, before the link counts as lost
SENDING_S = 60.0  # the same where it has much to take in first, on a slow network
MUCH_BYTES = 1 << 14
ECHOING = "while read -r n; do echo '{}'; done"  # what a shell does itself, without a process


class AdbLink:
    """A phone that is attached, and the processes that were started there."""

    def __init__(self, serial: str) -> None:
        self._argv = [program.path(), "-s", serial, "shell", "-T", "-e", "none"]
        self._serial = serial
        self._channels: list[RemoteChannel] = []
        self._sent_at = -SENDING_S
        self._closing = threading.Event()
        self._watching: threading.Thread | None = None
        # adb itself sees the loss of a cable, and not that of a network.
        if program.is_networked(serial):
            self._watching = threading.Thread(target=self._watch, name="adb", daemon=True)
            self._watching.start()

    def start(self, command: str) -> RemoteChannel:
        """Start a shell command; raises ChannelClosed when the link is lost."""
        if self._closing.is_set():
            raise ChannelClosed("the link to the device is lost (closed)")
        self._channels = [channel for channel in self._channels if not channel.is_closed]
        self._channels.append(_Channel(self, command))
        return self._channels[-1]

    def command(self, command: str) -> list[str]:
        """Return the command line here of a shell command there."""
        return [*self._argv, command]

    def sending(self, size: int) -> None:
        """Note that much was sent, behind which answers wait on a slow network."""
        if size > MUCH_BYTES:
            self._sent_at = time.monotonic()

    def answered(self) -> None:
        """Note that there is an answer to what was sent: no more of it is on its way."""
        self._sent_at = -SENDING_S

    def _watch(self) -> None:
        """Ask for a sign of life every second; without one, end all that runs over the link."""
        with contextlib.closing(RemoteChannel(self.command(ECHOING), status)) as asked:
            while not self._closing.wait(ALIVE_S):
                try:
                    asked.send({})
                    while not self._is_answered(asked):
                        if self._closing.is_set() or self._is_overdue():
                            raise ChannelClosed("no answer")
                except ChannelClosed:
                    self._cut()
                    return

    @staticmethod
    def _is_answered(asked: RemoteChannel) -> bool:
        try:
            asked.receive(MISSED_S)
        except Timeout:
            return False
        return True

    def _is_overdue(self) -> bool:
        return time.monotonic() - self._sent_at > SENDING_S

    def _cut(self) -> None:
        if not self._closing.is_set():
            self._closing.set()
            for channel in self._channels:
                channel.cut()
            program.disconnect(self._serial)  # else it never tries anew

    def close(self) -> None:
        """End the processes; may be called again."""
        self._closing.set()
        for channel in self._channels:
            channel.close()
        self._channels.clear()
        if self._watching is not None:
            self._watching.join()


class _Channel(RemoteChannel):
    """A channel that tells its link of what is on its way."""

    def __init__(self, link: AdbLink, command: str) -> None:
        super().__init__(link.command(command), status)
        self._link = link

    def write(self, data: bytes) -> None:
        self._link.sending(len(data))
        super().write(data)
        self._link.sending(len(data))

    def _read(self, timeout_s: float) -> bool:
        found = super()._read(timeout_s)
        if found:
            self._link.answered()
        return found


def status(code: int, stderr: str) -> int | None:
    """Return the exit code there by adb's own; None where the link is lost."""
    if not 0 <= code < 255 or (code == 1 and stderr.startswith(("adb: ", "error: "))):
        return None
    return code
