"""Machines for tests: one that is simulated, agents on this one that nothing disturbs, and boards.

A board is what files of /proc and /sys say, and programs on PATH.
"""

import json
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest.mock import patch

from benchbox.agent.__main__ import AgentProgram as Program
from benchbox.agent.timing import arrival
from benchbox.agent.timing import burst as timing_burst
from benchbox.devices import CPU_PROVIDER, Device
from benchbox.sampling.session import Ask, Timed, samples
from benchbox.transports import Agent
from benchbox.transports.client import Loaded
from tests.helpers.agents import open_local

PROBE_NS = 12_000  # of the sentinel in the usual state
PROBES = 4  # of which the first does not count and of the others the fastest
STREAM_NS = 300_000
REFILL_NS = 400_000
TOP_KHZ = 3_000_000
MEMORY_SHARE = 1 / 3  # of what slows a copy down
NS = 1e-9

# The least that an agent's greeting holds.
HOST = {"machine": "x86_64", "cpus_usable": 2}
HELLO = {"reply": "hello", "host": HOST, "providers": [CPU_PROVIDER], "versions": {}, "cpus": [0]}

State = Callable[[float], float]  # seconds since the start -> how much slower than usual it is
Interrupt = Callable[[float], tuple[float, int]]  # seconds of work -> seconds lost, switches
Latency = float | Callable[[], float]


def usual(_: float) -> float:
    return 1.0


def nothing(_: float) -> tuple[float, int]:
    return 0.0, 0


class SimulatedMachine:
    """Times bursts by the agent's own program, on a clock and a processor that are simulated.

    `latencies` are what cases take in the usual state, in seconds. What slows the processor down or
    takes it away does so to calls and probes alike; what crowds the memory slows copies down by all
    of it and calls by a part. An error that a latency raises is a burst's.
    Of a system's counters it has those in `counted`: steal_s, clock_khz.
    """

    RUSAGE_SELF, RUSAGE_THREAD = 0, 1

    def __init__(
        self,
        latencies: Mapping[str, Latency],
        state: State = usual,
        interrupt: Interrupt = nothing,
        noise: float = 0.005,
        seed: int = 0,
        counted: Sequence[str] = (),
        memory: State = usual,
    ) -> None:
        self.latencies = dict(latencies)
        self.state, self.interrupt, self.noise = state, interrupt, noise
        self.now = self.stolen = self.streamed = 0.0
        self.switches = 0
        self.counted, self.memory = counted, memory
        self.calls = 0
        self._random = random.Random(seed)
        self.agent = Program()
        self.agent.sentinel = self.agent.counters = self  # type: ignore[assignment]
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

    def read_counters(self) -> dict[str, float]:
        """The counters of the system."""
        counters = {"steal_s": self.stolen, "clock_khz": TOP_KHZ / self.state(self.now)}
        return {name: value for name, value in counters.items() if name in self.counted}

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

    def level(self) -> tuple[int, ...]:
        start = self.now
        readings = self.copy(), self.refill()
        self.streamed += self.now - start
        return readings

    def levelled_ns(self) -> int:
        spent, self.streamed = self.streamed, 0.0
        return round(spent / NS)

    def refill(self) -> int:
        """The refill sentinel; no graph follows it."""
        return self._probe(REFILL_NS, usual)

    def _probe(self, usual_ns: int, memory: State = usual) -> int:
        readings = []
        for _ in range(PROBES):
            start = self.now
            self.work(usual_ns * NS * memory(start))
            readings.append(self.now - start)
        return round(min(readings[1:]) / NS)

    def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
        """Reply as an agent does."""
        for (graph, *how), _ in zip(bursts, expected_s, strict=True):
            burst = self.burst(graph, *how)
            error = burst.get("error")
            yield Timed(graph, None if error else samples(burst), error)

    def burst(self, graph: str, *how: Any) -> dict[str, Any]:
        with (
            patch.multiple(timing_burst, time=self, resource=self),
            patch.object(arrival, "time", self),
        ):
            return self.agent._burst(graph, *how)


class Calm(Agent):
    """An agent whose calls take what the first ones of their graph took at best, give or take 0.5%.

    It reports no disturbances, so that all calls count: whatever else this machine does makes no
    figure imprecise.
    """

    usual_ns: ClassVar[dict[bytes, int]] = {}  # by the digest of the graph

    def load(self, graph: str, path: str, *args: Any, **kwargs: Any) -> Loaded:
        self._graphs = getattr(self, "_graphs", {}) | {graph: sha256(Path(path).read_bytes())}
        return super().load(graph, path, *args, **kwargs)

    def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
        for timed in super().time(bursts, expected_s):
            latencies = timed.latencies_ns
            if not latencies:
                yield timed
                continue
            usual = self.usual_ns.setdefault(self._graphs[timed.graph].digest(), min(latencies))
            self._bursts = getattr(self, "_bursts", 0) + 1
            off = (self._bursts * 7 % 11 - 5) * usual // 1000  # so that no interval is a point
            yield Timed(timed.graph, samples({"latencies_ns": [usual + off] * len(latencies)}))


def open_calm(device: Device) -> Agent:
    return Calm(open_local(), device)


# boards, as files by their paths

CPU = "sys/devices/system/cpu"
ZONE = "sys/class/thermal/thermal_zone0"
FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
JETSON_CLOCKS = """\
SOC family:tegra234  Machine:NVIDIA Jetson Orin Nano Developer Kit
Online CPUs: 0-1
cpu0: Online=1 Governor=schedutil MinFreq={low} MaxFreq=1510400 CurrentFreq=1510400 c7=1
cpu1: Online=1 Governor=schedutil MinFreq={low} MaxFreq=1510400 CurrentFreq=1510400 c7=1
GPU MinFreq=624750000 MaxFreq=624750000 CurrentFreq=624750000
EMC MinFreq=204000000 MaxFreq=2133000000 CurrentFreq=2133000000 FreqOverride=1
NV Power Mode: 15W
"""


def processor(
    cpu: int, capacity: int | None, top_khz: int, governor: str = "schedutil"
) -> dict[str, str]:
    """The files of a processor that runs at half its highest clock."""
    own = f"{CPU}/cpu{cpu}"
    files = {
        f"{own}/cpufreq/cpuinfo_max_freq": f"{top_khz}\n",
        f"{own}/cpufreq/scaling_max_freq": f"{top_khz}\n",
        f"{own}/cpufreq/scaling_cur_freq": f"{top_khz // 2}\n",
        f"{own}/cpufreq/scaling_governor": f"{governor}\n",
    }
    return files if capacity is None else files | {f"{own}/cpu_capacity": f"{capacity}\n"}


def cpuinfo(parts: Mapping[int, str], implementer: str = "0x41") -> dict[str, str]:
    """The file in which the kernel lists the cores of an Arm machine."""
    blocks = [
        f"processor\t: {cpu}\nCPU implementer\t: {implementer}\nCPU part\t: {part}\n"
        for cpu, part in parts.items()
    ]
    return {"proc/cpuinfo": "\n".join(blocks)}


def phone() -> dict[str, str]:
    """A phone with four little processors, three big ones and one that is bigger still."""
    kinds = {
        **dict.fromkeys(range(4), (250, 1_800_000, "0xd05")),
        **dict.fromkeys((4, 5, 6), (774, 2_400_000, "0xd41")),
        7: (1024, 2_900_000, "0xd44"),
    }
    files = [processor(cpu, size, khz) for cpu, (size, khz, _) in kinds.items()]
    merged = {name: text for each in files for name, text in each.items()}
    return merged | cpuinfo({cpu: part for cpu, (_, _, part) in kinds.items()})


def small_phone() -> dict[str, str]:
    """A big processor, 1, and a little one, 0: as many as a machine for tests has."""
    cores = cpuinfo({0: "0xd03", 1: "0xd08"})
    return processor(0, 446, 950_000) | processor(1, 1024, 1_200_000) | cores


def raspberry(bits: str | None = "0", celsius: float = 50.0) -> dict[str, str]:
    """A Raspberry Pi 5; without bits its kernel has no file for those of the firmware."""
    files = {
        **processor(0, None, 2_400_000, "ondemand"),
        **processor(1, None, 2_400_000, "ondemand"),
        **cpuinfo({0: "0xd0b", 1: "0xd0b"}),
        "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
        f"{ZONE}/type": "cpu-thermal\n",
        f"{ZONE}/temp": f"{celsius * 1000:.0f}\n",
    }
    return files if bits is None else files | {FIRMWARE: f"{bits}\n"}


def program(folder: Path, name: str, prints: str, status: int = 0) -> Path:
    """Write a program that prints something; return the file with a line for each of its starts."""
    folder.mkdir(parents=True, exist_ok=True)
    text, starts = folder / f"{name}.txt", folder / f"{name}.starts"
    text.write_text(prints)
    starts.write_text("")
    script = folder / name
    script.write_text(f"#!/bin/sh\necho $* >> {starts}\n/bin/cat {text}\nexit {status}\n")
    script.chmod(0o755)
    return starts


class Inside:
    """A channel to an agent's program in this process, on the board that a folder's files are.

    It runs in a thread of its own, which it binds to a processor and has flush denormals.
    """

    def __init__(self, root: Path) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._program = Program(root / "proc", root / "sys")
        self._replies: Iterator[Mapping[str, object]] = iter(())

    def send(self, message: Mapping[str, object]) -> None:
        self._replies = self._program.replies(json.loads(json.dumps(message)))

    def receive(self, _timeout_s: float) -> dict[str, Any]:
        reply: dict[str, Any] = json.loads(
            json.dumps(self._thread.submit(next, self._replies).result())
        )
        return reply

    def mask(self) -> set[int]:
        """The processors that its thread may run on."""
        return self._thread.submit(os.sched_getaffinity, 0).result()

    def close(self) -> None:
        self._program.sessions.clear()
        self._thread.shutdown()
