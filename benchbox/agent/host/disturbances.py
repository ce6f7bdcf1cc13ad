"""OS counters and gauges that show disturbances, read at both ends of a burst.

A value that the system does not give is absent, never 0. Names end with their unit; those without
one are counts:

switches             involuntary context switches of the thread, with several of the process
faults_minor, _major page faults, likewise; a major one waited for a disk
collections          of Python's garbage collector
migrations           changes of the processor; where they are not counted, `moved`: whether it did
queued_ns            what the threads waited for a processor, added up
steal_s              what the hypervisor gave to others of the processors' time, added up
pressure_us          while any task of the system waited for a processor; memory_pressure_us and
                     io_pressure_us for memory and for disks
throttled_periods    in which a control group had used up its processor time; throttled_us for how
                     long, added up over processors
thermal_throttles    reductions of the clock for heat
clock_khz            gauge: the lowest clock of the processors
temperature_c        gauge: the hottest sensor
gpu_...              of a GPU, as benchbox.agent.gpu.nvml has them
throttled_bits       gauge: what a Raspberry Pi's firmware does to its clock, and did since it was
                     started, as benchbox.agent.host.health names the bits; those at either end
"""

import contextlib
import gc
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchbox.agent.gpu import nvml
from benchbox.agent.host import counters
from benchbox.agent.host.cgroups import folders
from benchbox.agent.host.counters import Counters

try:
    import resource
except ImportError:  # Windows has no getrusage
    resource = None  # type: ignore[assignment]

PROC = Path("/proc")
SYS = Path("/sys")
LONGEST = 65_536  # bytes of a file that are read; in /proc/stat the processors come first
SENSORS = 8  # phones have eighty
PROCESSOR_SENSOR = re.compile("cpu|core|cluster|pkg|package|soc", re.IGNORECASE)
# A reading takes 33 us on a virtual machine with two processors and neither clock nor temperature,
# and 120 us when the caches hold something else. Some files are dear elsewhere: /proc/stat beside
# thousands of interrupts, clocks and sensors that firmware is asked for. One that takes longer than
# this is left out.
DEAREST_NS = 50_000

Parse = Callable[[Sequence[bytes]], Counters]
GAUGES: dict[str, Callable[[float, float], float]] = {
    "clock_khz": min,
    "temperature_c": max,
    "throttled_bits": lambda before, after: int(before) | int(after),
    **nvml.GAUGES,
}


class CounterReader:
    """The files that this system has, held open. It belongs to the thread that makes it."""

    def __init__(
        self, threads: int, cpus: Sequence[int], proc: Path = PROC, system: Path = SYS
    ) -> None:
        self._threads = threads
        self._queues = _Queues(proc / "self/task")
        self._sources: list[tuple[list[_File], Parse]] = []
        for paths, parse in _sources(threads, cpus, proc, system):
            files = [file for path in paths if (file := _opened(path))]
            if files:
                self._sources.append((files, parse))

    def read_counters(self) -> Counters:
        """Return the counters, each since a beginning of its own, and the gauges."""
        found = _own(self._threads)
        if self._threads > 1:
            found.update(self._queues.read_counters())
        for files, parse in self._sources:
            found.update(parse([file.read() for file in files]))
        return found

    def close(self) -> None:
        """Close the files."""
        self._queues.close()
        for files, _ in self._sources:
            for file in files:
                file.close()
        self._sources.clear()

    def __enter__(self) -> "CounterReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def between(before: Mapping[str, float], after: Mapping[str, float]) -> Counters:
    """Change between two readings: counters as differences, of gauges the worse value.

    A counter that went backwards began anew; it is left out.
    """
    change: Counters = {}
    for name in sorted(before.keys() & after.keys()):
        if name == "processor":
            change["moved"] = int(before[name] != after[name])
        elif name in GAUGES:
            change[name] = GAUGES[name](before[name], after[name])
        elif after[name] >= before[name]:
            change[name] = round(after[name] - before[name], 9)
    return change


def _own(threads: int) -> Counters:
    """Counters of Python and the C library for this process."""
    own: Counters = {"collections": sum(each["collections"] for each in gc.get_stats())}
    if resource is not None:
        # Only Linux counts for a thread alone.
        one = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)
        usage = resource.getrusage(resource.RUSAGE_SELF if threads > 1 else one)
        own["switches"] = usage.ru_nivcsw
        own["faults_minor"], own["faults_major"] = usage.ru_minflt, usage.ru_majflt
    return own


def _sources(
    threads: int, cpus: Sequence[int], proc: Path, system: Path
) -> Iterator[tuple[Iterable[Path], Parse]]:
    """Yield files, and what reads them together."""
    own, each = proc / "thread-self", [system / f"devices/system/cpu/cpu{cpu}" for cpu in cpus]
    if (own / "sched").is_file():
        yield [own / "sched"], counters.migrations
    else:
        yield [own / "stat"], counters.processor
    if threads == 1:
        yield [own / "schedstat"], counters.queued
    yield [proc / "stat"], partial(counters.steal, cpus)
    yield [proc / "pressure/cpu"], partial(counters.pressure, "pressure_us")
    yield [proc / "pressure/memory"], partial(counters.pressure, "memory_pressure_us")
    yield [proc / "pressure/io"], partial(counters.pressure, "io_pressure_us")
    yield [group / "cpu.stat" for group in folders(proc, system)], counters.throttling
    yield [cpu / "cpufreq/scaling_cur_freq" for cpu in each], counters.clock
    yield [cpu / "thermal_throttle/core_throttle_count" for cpu in each], counters.heat
    yield sensors(system / "class/thermal"), counters.temperature
    yield firmware(system), counters.throttled


def firmware(system: Path) -> list[Path]:
    """Return the file in which a Raspberry Pi's kernel shows get_throttled, where there is one."""
    return sorted((system / "devices/platform").glob("soc*/soc*:firmware/get_throttled"))[:1]


def sensors(folder: Path) -> list[Path]:
    """Return the files of the processors' sensors, of any where none is known to be one."""
    processors: list[Path] = []
    others: list[Path] = []
    for zone in sorted(folder.glob("thermal_zone*")):
        name = ""
        with contextlib.suppress(OSError):
            name = (zone / "type").read_text(errors="replace")
        (processors if PROCESSOR_SENSOR.search(name) else others).append(zone / "temp")
    return (processors or others)[:SENSORS]


class _File:
    """A file that is read again and again; empty once it cannot be."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)

    def read(self) -> bytes:
        try:
            return os.pread(self._descriptor, LONGEST, 0)
        except OSError:
            return b""

    def close(self) -> None:
        os.close(self._descriptor)


def _opened(path: Path) -> _File | None:
    """Return the file, None where there is none or where reading it takes long."""
    try:
        file = _File(path)
    except OSError:
        return None
    if min(_cost_ns(file) for _ in range(3)) <= DEAREST_NS:
        return file
    file.close()
    return None


def _cost_ns(file: _File) -> int:
    start = time.perf_counter_ns()
    file.read()
    return time.perf_counter_ns() - start


class _Queues:
    """Time that all threads of this process waited for a processor; threads come and go."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, _File] = {}
        self._waited_ns: dict[str, float] = {}
        self._total_ns: float = 0

    def read_counters(self) -> Counters:
        self._follow()
        is_known = False
        for thread, file in self._files.items():
            for now in counters.queued([file.read()]).values():
                is_known = True
                self._total_ns += max(0, now - self._waited_ns.get(thread, 0))
                self._waited_ns[thread] = now
        return {"queued_ns": self._total_ns} if is_known else {}

    def _follow(self) -> None:
        """Open the files of new threads, close those of ended ones."""
        threads: set[str] = set()
        with contextlib.suppress(OSError):
            threads = {path.name for path in self._folder.iterdir()}
        for thread in self._files.keys() - threads:
            self._files.pop(thread).close()
            self._waited_ns.pop(thread, None)
        for thread in threads - self._files.keys():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                self._files[thread] = _File(self._folder / thread / "schedstat")

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()
