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


def resolve(name: str, threads: int = 1) -> Device:
    """Return the device that `name` stands for.

    Raises DeviceError when there is none here, UsageError when it has fewer processors than
    `threads`.
    """
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
    _check_threads(threads)
    return Device(name, CPU_PROVIDER, threads, "arm")


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


def _check_threads(threads: int) -> None:
    usable = host.usable_cpus()
    if not 1 <= threads <= usable:
        raise UsageError(f"--threads {threads}: choose 1 to {usable}, the processors usable here")


def names() -> Sequence[tuple[str, str]]:
    """Return every device name with what it is."""
    return list(DEVICES.items())
