"""Host facts, affinity and memory of the machine that the agent runs on."""

import contextlib
import os
import platform
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchbox.agent.host import instructions
from benchbox.agent.host.emulation import emulator

try:
    import resource
except ImportError:  # Windows has no getrusage
    resource = None  # type: ignore[assignment]

PROCESSORS = "devices/system/cpu"  # below /sys
CPUS = Path("/sys") / PROCESSORS
TASKS = Path("/proc/self/task")
THREAD = Path("/proc/thread-self")
BOARD = Path("/proc/device-tree/model")
IS_64_BIT = struct.calcsize("P") == 8
BIND_S = 1.0  # for a new thread to bind itself, on a machine that is busy


def host() -> dict[str, object]:
    """Facts that identify the kind of machine; none names the machine or its user."""
    memory = sizes(Path("/proc/meminfo"))
    facts: dict[str, object] = {
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "bits": None if IS_64_BIT else 32,  # of the process, whatever the kernel has
        "cpu": cpu_model(),
        "instructions": instructions.read(proc_fields(Path("/proc/cpuinfo"))),
        "cpus": os.cpu_count(),
        "cpus_usable": len(usable_cpus()),
        "memory_bytes": memory.get("MemTotal"),
        "memory_available_bytes": memory.get("MemAvailable"),
        "virtual": _virtual(),
        "emulated": emulator(),
        "boot": _boot(),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _boot() -> str | None:
    """Id of this start of the system, the same for all who reach it.

    An emulated processor is another device than the machine that emulates it. No record has it.
    """
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + (emulator() or "")
    return None


def cpu_model() -> str | None:
    """Return the processor's name as the system prints it, None where it does not."""
    fields = proc_fields(Path("/proc/cpuinfo"))
    name = fields.get("model name") or fields.get("Model") or fields.get("Hardware")
    return name or _board() or platform.processor() or None


def _board() -> str | None:
    """Return the board's model, which stands for its processor where the system names none."""
    return contents(BOARD).decode(errors="replace").strip("\0 \n") or None


def _virtual() -> bool | None:
    flags = proc_fields(Path("/proc/cpuinfo")).get("flags")
    return None if flags is None else "hypervisor" in flags.split()


def sizes(path: Path) -> dict[str, int]:
    """Return the sizes in a /proc file, as meminfo, in bytes."""
    fields = ((name, text.split()) for name, text in proc_fields(path).items())
    return {
        name: int(words[0]) * 1024
        for name, words in fields
        if words[1:] == ["kB"] and words[0].isdecimal()
    }


def proc_fields(path: Path) -> dict[str, str]:
    """Return the `key : value` lines of a /proc file; the first of each key."""
    fields: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in path.read_text(errors="replace").splitlines():
            key, colon, value = line.partition(":")
            if colon:
                fields.setdefault(key.strip(), value.strip())
    return fields


def rss_bytes() -> int | None:
    """Return this process's resident memory in bytes, None where /proc does not say."""
    return sizes(Path("/proc/self/status")).get("VmRSS")


def peak_rss_bytes() -> int | None:
    """Return the most resident memory that this process ever had, in bytes.

    Linux counts what its parent had when it started it, too.
    """
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def mark_peak() -> int | None:
    """Begin to watch for the most resident memory; return what there is now, None if it cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets VmHWM
    except OSError:
        return None
    return rss_bytes()


def peak_since(mark: int | None) -> int | None:
    """Return by how many bytes this process has grown at most since it was marked."""
    most = sizes(Path("/proc/self/status")).get("VmHWM")
    return None if mark is None or most is None else most - mark


def usable_cpus() -> list[int]:
    """Return the processors that this process may run on, ascending."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def choose_cpus(threads: int, usable: Iterable[int], folder: Path | None = None) -> list[int]:
    """Return the processors to pin `threads` to: the fastest, and of equals the last.

    The first processor is where most systems deliver their interrupts. Two that share a core are
    taken only where there are not enough cores, slower ones only where there are not enough of the
    fastest. `folder` is the one that describes them, the system's where none is given.
    """
    place = folder or CPUS
    ordered = sorted(usable, key=lambda cpu: (-capacity(cpu, place), -cpu))
    cores: dict[str, int] = {}
    for cpu in ordered:
        cores.setdefault(_core(cpu, place), cpu)
    alone = list(cores.values())
    return [*alone, *(cpu for cpu in ordered if cpu not in alone)][:threads]


def _core(cpu: int, folder: Path) -> str:
    """Return the processors that share a core with this one, as the kernel prints them."""
    siblings = contents(folder / f"cpu{cpu}/topology/thread_siblings_list")
    return siblings.decode(errors="replace").strip() or str(cpu)


def capacity(cpu: int, folder: Path) -> int:
    """Capacity of a processor relative to the others; 0 where it is unknown."""
    for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        with contextlib.suppress(ValueError):
            return int(contents(folder / f"cpu{cpu}" / name))
    return 0


def contents(path: Path) -> bytes:
    """Bytes of a file, empty where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def ranges(cpus: Iterable[int]) -> str:
    """Return processors as the kernel prints them: 0-3,6."""
    every = sorted(set(cpus))
    starts = [cpu for cpu in every if cpu - 1 not in every]
    ends = [cpu for cpu in every if cpu + 1 not in every]
    pairs = zip(starts, ends, strict=True)
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in pairs)


def pin(cpus: Sequence[int]) -> None:
    """Bind the calling thread to the first of `cpus`; the others are for the pool's threads.

    Raises RuntimeError where the system refuses that, or does not do it.
    """
    if hasattr(os, "sched_setaffinity") and cpus:
        try:
            os.sched_setaffinity(0, {cpus[0]})
        except OSError as error:
            raise RuntimeError(f"{_not_bound(cpus[0])}: {error.strerror}") from None
        check_bound(cpus)


def check_bound(cpus: Sequence[int]) -> None:
    """Raise RuntimeError unless the calling thread is bound to the first of `cpus`, as asked.

    Where the system shows no masks, nothing is known and nothing raised.
    """
    if cpus and _own_mask() not in (None, str(cpus[0])):
        raise RuntimeError(_not_bound(cpus[0]))


def _not_bound(cpu: int) -> str:
    return f"the thread is not bound to processor {cpu}, its mask is {_own_mask()}"


def _own_mask() -> str | None:
    """Return the mask of the calling thread as the kernel prints it, None where it shows none."""
    shown = proc_fields(THREAD / "status").get("Cpus_allowed_list")
    if shown is None and hasattr(os, "sched_getaffinity"):
        return ranges(os.sched_getaffinity(0))
    return shown


@contextlib.contextmanager
def spread(cpus: Sequence[int]) -> Iterator[None]:
    """Have the calling thread, and those that it starts meanwhile, run on all of `cpus`."""
    if hasattr(os, "sched_setaffinity") and len(cpus) > 1:
        os.sched_setaffinity(0, set(cpus))
    try:
        yield
    finally:
        pin(cpus)


def check_pool(threads: int, cpus: Sequence[int], before: Sequence[str] | None) -> None:
    """Raise RuntimeError unless every processor but the first got a thread bound to it alone.

    `before` are the masks of the threads that there were. Where the kernel shows no masks, nothing
    is known and nothing raised.
    """
    if before is None or threads < 2:
        return
    until = time.monotonic() + BIND_S
    while loose := _unbound(cpus[1:threads], before):
        if time.monotonic() > until:
            raise RuntimeError(f"no thread of the pool is bound to processor {loose[0]}")
        time.sleep(0.01)


def _unbound(cpus: Sequence[int], before: Sequence[str]) -> list[int]:
    """Return those of `cpus` that no thread is bound to which is not in `before`, where known."""
    masks = affinity()
    if masks is None:
        return []
    fresh = Counter(masks) - Counter(before)
    return [cpu for cpu in cpus if not fresh[str(cpu)]]


def affinity() -> list[str] | None:
    """Return the mask of every thread of this process as the kernel prints it, if it does."""
    masks = []
    for task in sorted(TASKS.glob("*"), key=lambda path: int(path.name)):
        mask = proc_fields(task / "status").get("Cpus_allowed_list")
        if mask is not None:
            masks.append(mask)
    return masks or None
