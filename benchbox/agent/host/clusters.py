"""Clusters of equal processors, the fastest first, and the words that name them.

A phone has two or three clusters of processors; what a pool of threads on two of them does waits
for the slower.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchbox.agent.host import machine
from benchbox.agent.host.counters import number
from benchbox.agent.host.disturbances import PROC, SYS

WORDS = ("big", "middle", "little")
ARM, QUALCOMM, NVIDIA = "0x41", "0x51", "0x4e"  # implementers, as /proc/cpuinfo gives them
CORES: Mapping[tuple[str, str], str] = {  # MIDR_EL1 in the cores' technical reference manuals
    (ARM, "0xc07"): "Cortex-A7",
    (ARM, "0xc09"): "Cortex-A9",
    (ARM, "0xc0f"): "Cortex-A15",
    (ARM, "0xd03"): "Cortex-A53",
    (ARM, "0xd04"): "Cortex-A35",
    (ARM, "0xd05"): "Cortex-A55",
    (ARM, "0xd07"): "Cortex-A57",
    (ARM, "0xd08"): "Cortex-A72",
    (ARM, "0xd09"): "Cortex-A73",
    (ARM, "0xd0a"): "Cortex-A75",
    (ARM, "0xd0b"): "Cortex-A76",
    (ARM, "0xd0c"): "Neoverse-N1",
    (ARM, "0xd0d"): "Cortex-A77",
    (ARM, "0xd40"): "Neoverse-V1",
    (ARM, "0xd41"): "Cortex-A78",
    (ARM, "0xd42"): "Cortex-A78AE",
    (ARM, "0xd44"): "Cortex-X1",
    (ARM, "0xd46"): "Cortex-A510",
    (ARM, "0xd47"): "Cortex-A710",
    (ARM, "0xd48"): "Cortex-X2",
    (ARM, "0xd49"): "Neoverse-N2",
    (ARM, "0xd4d"): "Cortex-A715",
    (ARM, "0xd4e"): "Cortex-X3",
    (ARM, "0xd4f"): "Neoverse-V2",
    (ARM, "0xd80"): "Cortex-A520",
    (ARM, "0xd81"): "Cortex-A720",
    (ARM, "0xd82"): "Cortex-X4",
    (QUALCOMM, "0x800"): "Kryo 2xx Gold",
    (QUALCOMM, "0x801"): "Kryo 2xx Silver",
    (QUALCOMM, "0x802"): "Kryo 3xx Gold",
    (QUALCOMM, "0x803"): "Kryo 3xx Silver",
    (QUALCOMM, "0x804"): "Kryo 4xx Gold",
    (QUALCOMM, "0x805"): "Kryo 4xx Silver",
    (NVIDIA, "0x003"): "Denver 2",
    (NVIDIA, "0x004"): "Carmel",
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """Processors that are alike, ascending; what the system does not tell of them is None.

    `capacity` is the kernel's, 1024 for the fastest; `core` is the name of what they are.
    """

    cpus: tuple[int, ...]
    capacity: int | None = None
    top_khz: int | None = None
    core: str | None = None

    def facts(self) -> dict[str, object]:
        """The known facts as JSON types."""
        known = {"capacity": self.capacity, "top_khz": self.top_khz, "core": self.core}
        found = {name: value for name, value in known.items() if value is not None}
        return {"cpus": list(self.cpus), **found}


def read(usable: Iterable[int], proc: Path = PROC, sys: Path = SYS) -> list[Cluster]:
    """Return the clusters of the usable processors, the fastest first.

    Those are alike that have the same capacity or, where the system gives none, the same highest
    clock; all of which nothing is known are one cluster.
    """
    folder = sys / machine.PROCESSORS
    alike: dict[int, list[int]] = {}
    for cpu in sorted(usable):
        alike.setdefault(machine.capacity(cpu, folder), []).append(cpu)
    cores = _cores(proc)
    return [_cluster(cpus, folder, cores) for _, cpus in sorted(alike.items(), reverse=True)]


def choose(word: str, threads: int, found: Sequence[Cluster], sys: Path = SYS) -> list[int]:
    """Return the processors of the cluster that a word names, one for each thread.

    `big` is the fastest cluster, `little` the slowest, `middle` what lies between. Raises
    ValueError where the word has no meaning here, or the cluster too few processors.
    """
    if word not in WORDS:
        raise ValueError(f"--cpus {word}: write processors as 0,1 or one of {', '.join(WORDS)}")
    named = _named(found)
    if word not in named:
        raise ValueError(f"{_what_there_is(named, found)}: --cpus {word} has no meaning here")
    cpus = named[word]
    if threads > len(cpus):
        plural = "" if len(cpus) == 1 else "s"
        raise ValueError(
            f"the {word} cluster has the processor{plural} {machine.ranges(cpus)}, "
            f"{threads} threads asked for"
        )
    return machine.choose_cpus(threads, cpus, sys / machine.PROCESSORS)


def _named(found: Sequence[Cluster]) -> dict[str, tuple[int, ...]]:
    if len(found) < 2:
        return {}
    between = tuple(cpu for cluster in found[1:-1] for cpu in cluster.cpus)
    named = {"big": found[0].cpus, "middle": between, "little": found[-1].cpus}
    return {word: cpus for word, cpus in named.items() if cpus}


def _what_there_is(named: Mapping[str, Sequence[int]], found: Sequence[Cluster]) -> str:
    if named:
        there = (f"{word} ({machine.ranges(cpus)})" for word, cpus in named.items())
        return f"it has the clusters {' and '.join(there)}"
    count = sum(len(cluster.cpus) for cluster in found)
    return "there is one processor" if count == 1 else f"all {count} processors are equal"


def _cluster(cpus: Sequence[int], folder: Path, cores: Mapping[int, str]) -> Cluster:
    first = folder / f"cpu{cpus[0]}"
    return Cluster(
        tuple(cpus),
        number(machine.contents(first / "cpu_capacity")),
        number(machine.contents(first / "cpufreq/cpuinfo_max_freq")),
        cores.get(cpus[0]),
    )


def _cores(proc: Path) -> dict[int, str]:
    """Return the name of each processor's core; that of an unknown one is its numbers."""
    cores = {}
    for block in _blocks(machine.contents(proc / "cpuinfo").decode(errors="replace")):
        cpu = number(block.get("processor", "").encode())
        implementer, part = block.get("CPU implementer"), block.get("CPU part")
        if cpu is not None and implementer and part:
            key = (implementer.lower(), part.lower())
            cores[cpu] = CORES.get(key, f"{implementer} {part}")
    return cores


def _blocks(text: str) -> Iterator[dict[str, str]]:
    """Yield the fields of each processor in /proc/cpuinfo."""
    for block in text.split("\n\n"):
        pairs = (line.partition(":") for line in block.splitlines())
        yield {key.strip(): value.strip() for key, colon, value in pairs if colon}
