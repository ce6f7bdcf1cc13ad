"""Set-up of a target: its facts, the installation of what an agent needs, and its removal."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from benchbox import host
from benchbox.agent.gpu import libraries
from benchbox.errors import CaseError, DeviceError
from benchbox.transports import replies, reply_schema
from benchbox.transports.board import commands, zipapp
from benchbox.transports.board.target import BUSY, NARROW, REPLY_S, Target
from benchbox.transports.channel import ChannelClosed, Timeout

INSTALL_S, CUDA_INSTALL_S = 900.0, 7200.0
# On the disk there: of numpy and ONNX Runtime, and with CUDA's libraries, as of 1.31.
SIZE_MB, CUDA_SIZE_MB = 250, 2500
CUDA_DOWNLOAD_MB = 1600  # lies there until it is unpacked
MB = 10**6
CUDA_MACHINES = ("x86_64", "aarch64")  # that PyPI has wheels of onnxruntime-gpu for
IMPORT = "import numpy, onnxruntime"
DRIVER = f"import ctypes; ctypes.CDLL({libraries.DRIVER!r})"
TICK_S = 1.0  # of the clock of an installation
FACTS = {"main": "benchbox.agent.__main__", "arguments": ["--facts"]}

Report = Callable[[float, str], None]  # of the seconds so far, and the last line of what runs


def facts(target: Target) -> dict[str, Any]:
    """The facts of a target, as benchbox.agent.host.facts reads them; raises DeviceError."""
    try:
        program = target.start("remote_facts.py")
        program.send({"sources": zipapp.modules(), "folder": target.folder, **FACTS})
        found = program.receive(REPLY_S)
        replies.check(reply_schema.Facts, found)
        return found
    except (ChannelClosed, CaseError, Timeout) as error:
        raise DeviceError(
            f"device {target.device.name!r}: says nothing of itself: {error}"
        ) from None


def import_error(target: Target) -> str:
    """Why what an agent needs cannot be imported, empty where it can; raises DeviceError."""
    return _error(target, IMPORT)


def _error(target: Target, program: str) -> str:
    """The error of a program in the Python of a target, empty without one; raises DeviceError."""
    try:
        reply = target.ask({"op": "try", "program": program})
        return replies.line(replies.field(reply, "broken", str))
    except (ChannelClosed, CaseError) as error:
        raise DeviceError(f"device {target.device.name!r}: {error}") from None


def clean(target: Target) -> int:
    """Empty the folder of what was pushed; return its size in bytes; raises DeviceError."""
    try:
        reply = target.ask({"op": "clean"})
        if reply.get("busy"):
            raise DeviceError(f"device {target.device.name!r}: not emptied: {BUSY}")
        return replies.field(reply, "bytes", int)
    except (ChannelClosed, CaseError) as error:
        raise DeviceError(f"device {target.device.name!r}: not emptied: {error}") from None


def install(target: Target, report: Report = lambda _seconds, _line: None) -> None:
    """Make an environment with what the agent needs; raises DeviceError, and leaves none then.

    It is used from the next connection on, and an incomplete one is removed with this one.
    """
    try:
        if target.is_busy:  # whose figures it would spoil
            raise CaseError(f"{BUSY}; wait for it to end")
        if target.facts.get("bits") == 32:
            raise CaseError(NARROW)
        _install(target, report)
    except (ChannelClosed, CaseError) as error:
        raise DeviceError(f"device {target.device.name!r}: nothing installed: {error}") from None


def require_cuda(target: Target) -> int:
    """The free bytes of a target that CUDA's packages can be installed on.

    Raises DeviceError for one that they are not made for, without a driver or room for them.
    """
    found = facts(target)
    machine, free = str(found["machine"]), int(found["free_bytes"])
    if machine not in CUDA_MACHINES:
        reason = f"onnxruntime-gpu has wheels for {' and '.join(CUDA_MACHINES)}, this is {machine}"
    elif missing := _error(target, DRIVER):
        reason = f"there is no NVIDIA driver there ({missing.removeprefix('OSError: ')})"
    elif free < (needed_mb := CUDA_DOWNLOAD_MB + CUDA_SIZE_MB) * MB:
        reason = f"no space left there: {needed_mb} MB needed, {free // MB} MB free"
    else:
        return free
    raise DeviceError(f"device {target.device.name!r}: nothing installed: {reason}")


def _install(target: Target, report: Report) -> None:
    gpu = bool(target.device.gpu)
    installer = target.start("remote_installer.py")
    version = host.onnxruntime_version()
    installer.send(commands.installation(target.python, target.folder, version, gpu=gpu))
    target.installer = installer
    started, last, longest_s = time.monotonic(), "", CUDA_INSTALL_S if gpu else INSTALL_S
    while (taken := time.monotonic() - started) < longest_s:
        report(taken, last)
        try:
            reply = installer.receive(TICK_S)
        except Timeout:
            continue
        if "said" not in reply:
            return _check_installed(reply, CUDA_SIZE_MB if gpu else SIZE_MB)
        last = replies.line(reply["said"])
    raise CaseError(f"it took longer than {longest_s / 60:.0f} minutes; {last}")


def _check_installed(reply: Mapping[str, Any], size_mb: int) -> None:
    """Raise CaseError for a last reply of remote_installer.py that is no success."""
    if reply.get("busy"):
        raise CaseError("another benchbox installs there; wait for it to end")
    if "error" in reply:
        raise CaseError(commands.why_not_installed(str(reply["error"]), size_mb))
