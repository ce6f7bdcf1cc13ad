"""Agents whose figures tell which bytes were timed, and the check that records say the same.

The latency of a graph is made up from the sha256 of the file that was loaded, whatever its name: a
sample that is filed under another graph than the one that was timed is seen at once.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchbox import host
from benchbox.devices import Device
from benchbox.records import Run
from benchbox.sampling.session import Ask, Timed, samples
from benchbox.transports import Agent, Loaded
from benchbox.transports.local import open_local

NEAR = 0.02  # of a figure to what it must be; those of two graphs differ by more, as a rule


def latency_ns(sha256: str) -> int:
    """The latency of a graph: 0.1 to 6.6 ms."""
    return 100_000 + 100 * int(sha256[:4], 16)


class TruthfulAgent(Agent):
    """An agent whose calls take what the bytes that it loaded stand for, give or take 0.5%."""

    def load(self, graph: str, path: str, *args: Any, **kwargs: Any) -> Loaded:
        loaded = super().load(graph, path, *args, **kwargs)
        self._usual = getattr(self, "_usual", {}) | {graph: latency_ns(host.sha256(Path(path)))}
        return loaded

    def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
        for index, timed in enumerate(super().time(bursts, expected_s)):
            if not timed.latencies_ns:
                yield timed
                continue
            usual = self._usual[timed.graph]
            off = (index * 7 % 11 - 5) * usual // 1000  # so that no interval is a point
            told = {"latencies_ns": [usual + off] * len(timed.latencies_ns)}
            yield Timed(timed.graph, samples(told))


def open_agent(device: Device, **_: object) -> Agent:
    return TruthfulAgent(open_local(), device)


def check(run: Run) -> None:
    """Assert that every sample belongs to the graph whose sha256 stands beside it."""
    for record in (*run.records, *run.earlier):
        for burst in record.bursts:
            assert record.graph, f"{record.key}: samples without a graph"
            right = latency_ns(record.graph["sha256"])
            wrong = [ns for ns in burst.latencies_ns if abs(ns / right - 1) > NEAR]
            assert not wrong, f"{record.key}: {wrong[0]} ns are not of its graph, {right} ns"
