"""Hearer of a run on a fleet: what is told of its devices, its cases and its scheduler."""

from collections.abc import Mapping
from typing import Protocol

from benchbox.errors import BenchboxError
from benchbox.records import Record


class Told(Protocol):
    """Hears of a run's devices."""

    def aside(self, device: str, reason: str) -> None:
        """A device gets no more cases."""

    def resting(self, reasons: Mapping[str, str]) -> None:
        """Devices rest, as they are not as usual."""

    def usual(self, device: str) -> None:
        """A device that rested is as usual again."""

    def left(self, device: str) -> None:
        """A device's worker has left."""

    def back(self, device: str) -> None:
        """A device that had left is there again."""


class Hearer(Told, Protocol):
    """Hears of a run on a fleet as it happens."""

    def exporting(self, done: int, total: int, name: str) -> None:
        """`done` of `total` missing graphs are exported."""

    def finished(self, device: str, record: Record) -> None:
        """A case is finished on a device."""

    def waiting(self, reason: str) -> None:
        """The run waits for a fleet that has gone, or goes on where there is no reason."""

    def failed(self, error: BenchboxError) -> None:
        """Nothing more is timed on what one -d stands for."""

    def stopping(self, count: int) -> None:
        """After Ctrl-C, `count` tasks that have begun are waited for."""
