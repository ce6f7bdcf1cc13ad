"""Relay of a task: sends its submitter what is measured so far, and ends what nobody waits for."""

import time
from pathlib import Path
from typing import Protocol

from benchbox.fleet import members
from benchbox.fleet.offered import Offered
from benchbox.fleet.task import Task
from benchbox.records import Context, reader

SEND_S = 10.0  # between two messages; the first checkpoint of a run is written then


class TaskWorker(Protocol):
    """A worker that has a task."""

    def is_wanted(self, key: str) -> bool:
        """Whether somebody waits for a task still."""

    def log_event(self, topic: str, message: object) -> None:
        """Tell a submitter something, by its topic."""


class Relay:
    """What a task's worker does between bursts, in the thread that times them."""

    def __init__(self, worker: TaskWorker, asked: Task, offered: Offered, folder: Path) -> None:
        self._worker, self._asked, self._offered, self._folder = worker, asked, offered, folder
        self._sent = 0
        self._due = time.monotonic() + SEND_S

    def between(self) -> None:
        """Send what is new, now and then; raises KeyboardInterrupt where the task is to end."""
        if not self._worker.is_wanted(self._asked.key):
            raise KeyboardInterrupt
        if time.monotonic() >= self._due:
            self._send()
            self._due = time.monotonic() + SEND_S

    def send_all(self) -> None:
        """Send all of it, as the end of the task may not arrive."""
        self._sent = 0
        self._send()

    def _send(self) -> None:
        path = next(self._folder.glob("*/*.jsonl"), None)
        data = b"" if path is None else path.read_bytes()
        first, _, _ = data.partition(b"\n")
        if len(data) <= self._sent or not self._is_of_device(first):
            return
        lines = data[max(self._sent, len(first) + 1) :]
        self._sent = len(data)
        message = self._asked.key, (first + b"\n" + lines).decode()
        self._worker.log_event(self._asked.topic, message)

    def _is_of_device(self, line: bytes) -> bool:
        """Whether the device is what was offered, by the context of its run."""
        return not members.changes(self._offered.facts, reader.parse("a task", Context, line))
