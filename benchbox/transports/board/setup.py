"""Set-up of a target: its facts, the installation of what an agent needs, and its removal."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from benchbox import host
from benchbox.errors import CaseError, DeviceError
from benchbox.transports import replies, reply_schema
from benchbox.transports.board import commands, zipapp
from benchbox.transports.board.target import BUSY, NARROW, REPLY_S, Target
from benchbox.transports.channel import ChannelClosed, Timeout

INSTALL_S = 900.0
TICK_S = 1.0  # of the clock of an installation
FACTS = {"main": "benchbox.agent.__main__", "arguments": ["--facts"]}

Report = Callable[[float, str], None]  # of the seconds so far, and the last line of what runs


def facts(target: Target) -> dict[str, Any]:
    """The facts of a target, as benchbox.agent.host.facts reads them; raises DeviceError."""
    try:
        program = target.link.start(commands.program(target.python))
        program.write(commands.script("remote_facts.py"))
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
    try:
        return replies.line(replies.field(target.ask({"op": "try"}), "broken", str))
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


def _install(target: Target, report: Report) -> None:
    installer = target.link.start(commands.program(target.python))
    installer.write(commands.script("remote_installer.py"))
    version = host.onnxruntime_version()
    installer.send(commands.installation(target.python, target.folder, version))
    target.installer = installer
    started, last = time.monotonic(), ""
    while (taken := time.monotonic() - started) < INSTALL_S:
        report(taken, last)
        try:
            reply = installer.receive(TICK_S)
        except Timeout:
            continue
        if "said" not in reply:
            return _check_installed(reply)
        last = replies.line(reply["said"])
    raise CaseError(f"it took longer than {INSTALL_S / 60:.0f} minutes; {last}")


def _check_installed(reply: Mapping[str, Any]) -> None:
    """Raise CaseError for a last reply of remote_installer.py that is no success."""
    if reply.get("busy"):
        raise CaseError("another benchbox installs there; wait for it to end")
    if "error" in reply:
        raise CaseError(commands.why_not_installed(str(reply["error"])))
