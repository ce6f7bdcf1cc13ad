"""What `benchbox device` does."""

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchbox import devices, emulated, registry, seen
from benchbox.agent.system import ranges
from benchbox.cli import gpucheck, parsing
from benchbox.cli.output import console
from benchbox.conditions import LABELS
from benchbox.devices import Device
from benchbox.errors import DeviceError, UsageError
from benchbox.registry import Entry
from benchbox.render.cells import printable
from benchbox.transports import install_runtime, open_agent, open_board

MIB = 1 << 20
LEAST_FREE_BYTES = 256 * MIB  # ONNX Runtime, numpy and some graphs
HOT_C = 75.0  # most boards begin to throttle at 80 to 85
KHZ = 1000  # in a MHz
OF_ALL = ("throttled", "nvpmodel", "jetson_clocks")  # not of single processors


def show() -> None:
    """Print every device: what it is, and when it was last reached."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for header in ("device", "what it is", "last seen", "from"):
        table.add_column(header, overflow="fold")
    known, times = registry.entries(), seen.times()
    for name, what in devices.names():
        entry = known.get(name)
        file = "" if entry is None else str(entry.file)
        table.add_row(*map(printable, (name, what, times.get(name, ""), file)))
    console().print(table)


def add(name: str, url: str, python: str, threads: int | None, cpus: str | None) -> None:
    """Register a device."""
    path = registry.add(Entry(name, url, python, threads, parsing.one_choice(cpus)))
    console().print(f"{name} is in {path}; try it: benchbox device check {name}", markup=False)


def remove(name: str) -> None:
    """Forget a device."""
    path = registry.remove(name)
    console().print(f"{name} is no longer in {path}", markup=False)


def check(name: str, *, install: bool, clean: bool) -> None:
    """Print what a device is; raises DeviceError when it is not usable."""
    device = devices.resolve(name)
    if device.gpu:
        gpucheck.check(device, "--install" * install or "--clean" * clean)
        return
    if not device.url:
        raise UsageError(f"device {name!r} is this machine; benchbox doctor looks at it")
    facts, lacks = _facts(device, console(stderr=True), install=install, clean=clean)
    missing = _missing(device, facts, lacks)
    stdout = console()
    for label, value in _rows(facts):
        stdout.print(Text(f"{label:<13} {printable(value)}"))
    if missing:
        raise DeviceError(f"device {device.name!r}: {missing}")
    with open_agent(device) as agent:  # that it starts there is the better half of being ready
        if reason := emulated.reason(agent):
            stdout.print(Text(f"{'emulation':<13} {printable(reason)}"))
    stdout.print(f"{device.name} is ready", markup=False)


def _facts(
    device: Device, stderr: Console, *, install: bool, clean: bool
) -> tuple[dict[str, Any], Sequence[str]]:
    """Return what the board says of itself, and what an agent needs and is not there."""
    if clean:
        with open_board(device) as board:
            stderr.print(f"removed {board.clean() / MIB:.0f} MB there")
    if install:
        stderr.print("installing what an agent needs there")
        install_runtime(device)
    with open_board(device) as board:
        return board.look(), board.lacks


def _missing(device: Device, facts: dict[str, Any], lacking: Sequence[str]) -> str:
    """Return what keeps a board from being used, and what to do."""
    devices.require_arm(device, facts["machine"])
    if lacking:
        lacks = " and no ".join(lacking)
        return f"its Python has no {lacks}; benchbox device check {device.name} --install"
    if facts["free_bytes"] < LEAST_FREE_BYTES:
        return f"{facts['free_bytes'] / MIB:.0f} MB are free there; graphs may not fit: --clean"
    usable = [cpu for cluster in facts["clusters"] for cpu in cluster["cpus"]]
    named = set() if isinstance(device.cpus, str) else set(device.cpus)
    absent = sorted(named - set(usable))
    if absent or device.threads > len(usable):
        return f"it has the processors {ranges(usable)}; register it with other --threads or --cpus"
    return ""


def _rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    setting = facts.get("setting", {})
    rows = [
        ("model", facts.get("model", "not said")),
        ("architecture", f"{facts['machine']}, {facts['system']}"),
        ("software", versions or "no Python: the native runner is pushed"),
    ]
    rows += [("processors", _cluster(cluster)) for cluster in facts["clusters"]]
    if (celsius := facts.get("temperature_c")) is not None:
        warm = "; it may throttle soon" if celsius >= HOT_C else ""
        rows.append(("heat", f"{celsius:.0f} °C{warm}"))
    rows += [(LABELS[name], setting[name]) for name in OF_ALL if name in setting]
    return [*rows, ("free space", f"{facts['free_bytes'] / MIB:.0f} MB")]


def _cluster(cluster: dict[str, Any]) -> str:
    khz, top_khz = cluster.get("khz"), cluster.get("top_khz")
    governor, limit = cluster.get("governor"), cluster.get("limit")
    parts = [ranges(cluster["cpus"])]
    if "core" in cluster:
        parts.append(cluster["core"])
    if khz or top_khz:
        clocks = [f"{each / KHZ:.0f}" for each in (khz, top_khz) if each]
        parts.append(f"{' of '.join(clocks)} MHz")
    if limit and top_khz and limit != f"{top_khz / KHZ:.0f} MHz":
        parts.append(f"limited to {limit}")
    if governor:
        hint = "" if governor == "performance" else " (performance is steadier)"
        parts.append(f"governor {governor}{hint}")
    return ", ".join(parts)
