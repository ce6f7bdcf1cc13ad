"""Machines for tests: one that is simulated, and agents on this one that nothing disturbs."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from benchbox.agent import pacing, timing
from benchbox.agent.__main__ import Agent as Program
from benchbox.devices import Device
from benchbox.transports import Agent
from benchbox.transports.agent import Ask, Timed
from benchbox.transports.local import open_local

PROBE_NS = 12_000  # of the sentinel in the usual state
PROBES = 4  # of which the first does not count and of the others the fastest
STREAM_NS = 300_000
TOP_KHZ = 3_000_000
MEMORY_SHARE = 1 / 3  # of what slows a copy down
NS = 1e-9

State = Callable[[float], float]  # seconds since the start -> how much slower than usual it is
Interrupt = Callable[[float], tuple[float, int]]  # seconds of work -> seconds lost, switches
Latency = float | Callable[[], float]


def usual(_: float) -> float:
    return 1.0


def nothing(_: float) -> tuple[float, int]:
    return 0.0, 0


class Machine:
    """Times bursts by the agent's own program, on a clock and a processor that are simulated.

    `latencies` are what cases take in the usual state, in seconds. What slows the processor down or
    takes it away does so to calls and probes alike; what crowds the memory slows copies down by all
    of it and calls by a part. An error that a latency raises is a burst's.
    Of what systems tell beside that it tells what is in `tells`: steal_s, clock_khz.
    """

    RUSAGE_SELF, RUSAGE_THREAD = 0, 1

    def __init__(
        self,
        latencies: Mapping[str, Latency],
        state: State = usual,
        interrupt: Interrupt = nothing,
        noise: float = 0.005,
        seed: int = 0,
        tells: Sequence[str] = (),
        memory: State = usual,
    ) -> None:
        self.latencies = dict(latencies)
        self.state, self.interrupt, self.noise = state, interrupt, noise
        self.now = self.stolen = self.streamed = 0.0
        self.switches = 0
        self.tells, self.memory = tells, memory
        self.calls = 0
        self._random = random.Random(seed)
        self.agent = Program()
        self.agent.sentinel = self.agent.witness = self  # type: ignore[assignment]
        for graph in self.latencies:
            call = partial(self.call, graph)
            self.agent.sessions[graph] = SimpleNamespace(call=call)  # type: ignore[assignment]

    def perf_counter(self) -> float:
        return self.now

    def perf_counter_ns(self) -> int:
        return round(self.now / NS)

    def getrusage(self, _who: int) -> SimpleNamespace:
        return SimpleNamespace(ru_nivcsw=self.switches)

    def work(self, seconds: float) -> None:
        """Let the time pass that so much work takes now."""
        taken = seconds * self.state(self.now) * (1 + self._random.gauss(0, self.noise))
        lost, switches = self.interrupt(taken)
        self.now += taken + lost
        self.switches += switches
        self.stolen += 0.0 if switches else lost

    def look(self) -> dict[str, float]:
        """The witness."""
        told = {"steal_s": self.stolen, "clock_khz": TOP_KHZ / self.state(self.now)}
        return {name: value for name, value in told.items() if name in self.tells}

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def call(self, graph: str) -> None:
        self.calls += 1
        latency = self.latencies[graph]
        crowded = 1 + (self.memory(self.now) - 1) * MEMORY_SHARE
        self.work(crowded * (latency() if callable(latency) else latency))

    def compute(self) -> int:
        """The compute sentinel."""
        return self._probe(PROBE_NS)

    def copy(self) -> int:
        """The stream sentinel."""
        return self._probe(STREAM_NS, self.memory)

    def stream(self) -> int:
        start = self.now
        reading = self.copy()
        self.streamed += self.now - start
        return reading

    def streamed_ns(self) -> int:
        spent, self.streamed = self.streamed, 0.0
        return round(spent / NS)

    def _probe(self, usual_ns: int, memory: State = usual) -> int:
        readings = []
        for _ in range(PROBES):
            start = self.now
            self.work(usual_ns * NS * memory(start))
            readings.append(self.now - start)
        return round(min(readings[1:]) / NS)

    def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
        """What an agent answers."""
        for (graph, *how), _ in zip(bursts, expected_s, strict=True):
            burst = self.burst(graph, *how)
            yield Timed(graph, burst, burst.get("error"))

    def burst(self, graph: str, *how: Any) -> dict[str, Any]:
        with (
            patch.multiple(timing, time=self, resource=self),
            patch.object(pacing, "time", self),
        ):
            return self.agent._burst(graph, *how)


class Calm(Agent):
    """An agent that tells nothing of what disturbed its calls, so that all of them count."""

    def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
        for timed in super().time(bursts, expected_s):
            yield Timed(timed.graph, {"latencies_ns": timed.latencies_ns}, timed.error)


def open_calm(device: Device) -> Agent:
    return Calm(open_local(), device)
