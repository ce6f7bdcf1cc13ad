"""Standard output and error that outlive their readers: what cannot be written is dropped."""

import contextlib
import errno
import io
import os
import select
import sys
from typing import Any

# Of a reader that left, a terminal that hung up, and a descriptor that was closed from the start.
NOBODY_READS = (errno.EPIPE, errno.EIO, errno.EBADF)


class Sink(io.RawIOBase):
    """A descriptor whose first error is kept in `lost`; all that is written later is dropped."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.lost: OSError | None = None

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether a terminal shows it."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """Whatever becomes of it."""
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401 - Buffer needs Python 3.12
        """Write or drop bytes."""
        while self.lost is None:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:  # whoever shares the terminal may have made it so
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.lost = error
        return memoryview(data).nbytes


def outlast() -> list[Sink]:
    """Replace stdout and stderr; return the sinks below them.

    Characters that an encoding lacks are spelled. Descriptors that are closed are filled, else the
    next file that is opened would be taken for stdout.
    """
    with contextlib.suppress(OSError):
        while (filled := os.open(os.devnull, os.O_RDONLY)) <= 2:
            pass
        os.close(filled)
    sinks = []
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        before, sink = getattr(sys, name), Sink(descriptor)
        stream = io.TextIOWrapper(
            io.BufferedWriter(sink),
            encoding=before.encoding if before else "utf-8",
            errors="backslashreplace",
            line_buffering=descriptor == 2 or sink.isatty(),
        )
        setattr(sys, name, stream)
        sinks.append(sink)
    return sinks


def lost(sinks: list[Sink]) -> bool:
    """Flush both streams; whether anything could not be written, of which a full disk is told."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    found = [sink.lost for sink in sinks if sink.lost]
    for error in found:
        if error.errno not in NOBODY_READS:
            sys.stderr.write(f"Error: standard output: {error.strerror}; the rest is not there\n")
            break
    sys.stderr.flush()
    return bool(found)
