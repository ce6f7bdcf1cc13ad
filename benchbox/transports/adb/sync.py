"""Sends a file to a phone by adb's own protocol for files."""

import socket
import struct
from collections.abc import Callable
from pathlib import Path

from benchbox.errors import CaseError
from benchbox.transports.adb.server import exactly
from benchbox.transports.adb.shell import AdbLink
from benchbox.transports.channel import ChannelClosed
from benchbox.transports.files import chunks, told
from benchbox.transports.replies import MOST_TEXT, line

STALLED_S = 60.0  # that nothing of a file is taken, before the link counts as lost
MODE = 0o100755  # a file that all may run; a loader must be
# Four letters and a length: adb's file_sync_protocol.h. A packet of data has 64 KiB at most.
WORD = struct.Struct("<4sI")
DATA_BYTES = 1 << 16


def send(link: AdbLink, path: Path, target: str, tell: Callable[[int, int], None]) -> None:
    """Send a file, and tell how many of its bytes that are yet, and its size.

    Raises CaseError for what the phone does not take, ChannelClosed when the link is lost.
    """
    connection = link.open("sync:")
    try:
        connection.settimeout(STALLED_S)
        with path.open("rb") as file:
            _packet(connection, "SEND", f"{target},{MODE}".encode())
            size = path.stat().st_size
            for chunk in told(size, 0, chunks(file, size), tell):
                for start in range(0, len(chunk), DATA_BYTES):
                    link.sending()
                    _packet(connection, "DATA", chunk[start : start + DATA_BYTES])
        connection.sendall(WORD.pack(b"DONE", int(path.stat().st_mtime) & 0xFFFFFFFF))
        status, size = WORD.unpack(exactly(connection, WORD.size))
        link.answered()
        if status != b"OKAY":
            said = exactly(connection, min(size, MOST_TEXT)).decode(errors="replace")
            raise CaseError(f"on the device: {line(said)}")
    except (TimeoutError, ConnectionError) as error:
        raise ChannelClosed(f"the link to the device is lost ({error})") from None
    finally:
        connection.close()


def _packet(connection: socket.socket, word: str, data: bytes) -> None:
    connection.sendall(WORD.pack(word.encode(), len(data)) + data)
