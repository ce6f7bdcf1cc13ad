"""One warm export worker for all tests of a session: importing torch takes seconds."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchbox.transports.channel import ProcessChannel
from benchbox.transports.local import python_child


class WarmWorker:
    """Stands in for the channels of all export workers, which take turns on one process."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._turn = threading.Lock()
        self._channel: ProcessChannel | None = None

    def start(self, module: str) -> "WarmWorker":
        """Start the process, if it is not running yet."""
        with self._turn:
            if self._channel is None:
                self._channel = python_child(module, BENCHBOX_CACHE_DIR=str(self._cache))
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
