"""What to time on: a name of the command line resolved to a transport, a provider, threads."""

import difflib
import importlib.util
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchbox import host
from benchbox.errors import DeviceError, UsageError

Channels = Literal["gpu", "arm"]
CPU_PROVIDER = "CPUExecutionProvider"
ARM_MACHINES = ("aarch64", "arm64")
NOT_YET = ("cuda", "ssh", "adb")
DEVICES = {
    "cpu": "this machine's processor",
    "arm": "this machine's processor, where that is an ARM one",
}


@dataclass(frozen=True, slots=True)
class Device:
    """A place to time graphs on; `channels` says which of a paper's channel sets fits it."""

    name: str
    provider: str
    threads: int
    channels: Channels
    cpus: tuple[int, ...] = ()


def resolve(name: str, threads: int | None = None, cpus: Sequence[int] = ()) -> Device:
    """Return the device that `name` stands for.

    `cpus` are the processors to run on, one for each thread; without `threads` there are as many
    threads as processors named, else one. Raises DeviceError when there is no such device here,
    UsageError when it has no such processors.
    """
    threads = threads if threads is not None else max(1, len(cpus))
    if name.partition(":")[0] in NOT_YET:
        raise DeviceError(
            f"device {name!r}: GPUs, ssh:// and adb:// are not supported yet; "
            "this version times on the processor of the machine it runs on: --device cpu"
        )
    if name not in DEVICES:
        raise DeviceError(f"unknown device {name!r}{_nearest(name)}; benchbox times on: cpu, arm")
    if name == "arm" and platform.machine().lower() not in ARM_MACHINES:
        raise DeviceError(
            f"device 'arm': this machine is {platform.machine()}, not an ARM one; "
            "run benchbox on the board itself, or time here with --device cpu"
        )
    require_onnxruntime()
    _check_threads(threads, cpus)
    return Device(name, CPU_PROVIDER, threads, "arm", tuple(cpus))


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name, DEVICES, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def require_onnxruntime() -> None:
    """Raise DeviceError, with what to install, unless some ONNX Runtime is there."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise DeviceError(
            "ONNX Runtime is not installed: pip install 'benchbox[cpu]' for processors "
            "or 'benchbox[cuda]' for NVIDIA GPUs, one of the two"
        )


def _check_threads(threads: int, cpus: Sequence[int]) -> None:
    usable = host.usable_cpus()
    named = ",".join(map(str, cpus))
    if wrong := sorted(set(cpus) - set(usable)):
        raise UsageError(
            f"--cpus {named}: no processor {wrong[0]} usable here; "
            f"choose from {', '.join(map(str, usable))}"
        )
    if not 1 <= threads <= len(usable):
        raise UsageError(
            f"--threads {threads}: choose 1 to {len(usable)}, the processors usable here"
        )
    if cpus and len(cpus) != threads:
        each = "the thread" if threads == 1 else f"each of the {threads} threads"
        raise UsageError(f"--cpus {named}: name one processor for {each}")


def names() -> Sequence[tuple[str, str]]:
    """Return every device name with what it is."""
    return list(DEVICES.items())
