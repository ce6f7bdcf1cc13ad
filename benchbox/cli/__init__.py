"""The `benchbox` command: the only place that reads arguments, prints, or ends the process."""

import gc
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from benchbox.cli.exits import INTERRUPTED, READER_GONE

# Ctrl-C, requests to end, a terminal that was closed, the end of a batch job's time.
NAMES = ["SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGXCPU"]
ENDINGS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


def main() -> None:
    """Run the command line; it ends as it would have, whoever stopped reading what it prints.

    Only success then becomes READER_GONE. Ctrl-C or a request to end ends it in one line, whenever
    it comes.
    """
    code = INTERRUPTED
    _on_interrupt(_interrupted)  # modules that are being loaded stand no exception
    from benchbox.cli import streams

    sinks = streams.outlast()
    gc.disable()  # nothing that is loaded is garbage: to look for some takes a tenth of a start
    from benchbox.cli.app import app

    gc.freeze()
    gc.enable()
    try:
        _on_interrupt(signal.default_int_handler)
        try:
            app(prog_name="benchbox")
        except SystemExit as end:
            code = int(end.code or 0)
        if streams.lost(sinks) and not code:
            code = READER_GONE
        _on_interrupt(lambda *_: os._exit(code))
    except KeyboardInterrupt:  # outside of the command's own handling
        _on_interrupt(lambda *_: os._exit(INTERRUPTED))
        code = INTERRUPTED
        sys.stderr.write("Interrupted.\n")
        streams.lost(sinks)
    sys.exit(code)


def _on_interrupt(handler: Callable[[int, FrameType | None], object]) -> None:
    """Handle ENDINGS from here on, except those that whoever started the command ignores."""
    for number in ENDINGS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _interrupted(*_: object) -> None:
    if sys.stderr:
        sys.stderr.write("Interrupted.\n")
        sys.stderr.flush()
    os._exit(INTERRUPTED)
