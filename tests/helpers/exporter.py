"""One warm export worker for all tests of a session: importing torch takes seconds."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchbox.transports.channel import ProcessChannel
from benchbox.transports.local import ROOT, python_child


class WarmWorker:
    """Stands in for the channels of all export workers, which take turns on one process."""

    def __init__(self, cache: Path) -> None:
        # As it is before a test has put stand-ins for packages before the real ones.
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        libraries = os.environ.get("LD_LIBRARY_PATH", "")
        self._environment = {"PYTHONPATH": path, "LD_LIBRARY_PATH": libraries}
        self._environment["BENCHBOX_CACHE_DIR"] = str(cache)
        self._turn = threading.Lock()
        self._channel: ProcessChannel | None = None

    def start(self, module: str) -> "WarmWorker":
        """Start the process, if it is not running yet."""
        with self._turn:
            if self._channel is None:
                self._channel = python_child(module, **self._environment)
        return self

    def send(self, message: Mapping[str, object]) -> None:
        assert self._channel is not None
        self._turn.acquire()
        self._channel.send(message)

    def receive(self, timeout_s: float) -> dict[str, Any]:
        assert self._channel is not None
        try:
            return self._channel.receive(timeout_s)
        finally:
            self._turn.release()

    def terminate(self) -> None:
        """Leave it running for the next test."""

    def end(self) -> None:
        if self._channel is not None:
            with self._turn:  # a request of a preparation that was given up may be under way
                self._channel.kill()
