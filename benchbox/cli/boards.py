"""What `benchbox device` does."""

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchbox import devices, emulated, providers, registry, seen
from benchbox.agent import facts
from benchbox.agent.system import ranges
from benchbox.cli import gpucheck, parsing
from benchbox.cli.output import console
from benchbox.cli.progress import Live
from benchbox.conditions import LABELS
from benchbox.devices import Device
from benchbox.errors import DeviceError, UsageError
from benchbox.registry import Entry
from benchbox.render.cells import printable
from benchbox.transports import open_agent, open_board

MIB = 1 << 20
LEAST_FREE_BYTES = 256 * MIB  # ONNX Runtime, numpy and some graphs
HOT_C = 75.0  # most boards begin to throttle at 80 to 85
KHZ = 1000  # in a MHz
LABEL = 14  # characters
OF_ALL = ("throttled", "nvpmodel", "jetson_clocks")  # not of single processors


def show() -> None:
    """Print every device: what it is, and when it was last reached."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for header in ("device", "what it is", "last seen", "from"):
        table.add_column(header, overflow="fold")
    known = registry.entries()
    for name, what in devices.names():
        entry = known.get(name)
        last = seen.last(entry.url) if entry else seen.Seen()
        told = "\n".join(printable(each) for each in (what, last.what) if each)
        file = "" if entry is None else str(entry.file)
        table.add_row(printable(name), told, printable(last.at), printable(file))
    console().print(table)


def add(
    name: str, url: str, python: str, threads: int | None, cpus: str | None, *, install: bool
) -> None:
    """Register a device; with `install`, put there what it lacks, and check it."""
    path = registry.add(Entry(name, url, python, threads, parsing.one_choice(cpus)))
    advice = "" if install else f"; try it: benchbox device check {name}"
    console().print(f"{name} is in {path}{advice}", markup=False)
    if install:
        check(name, "", install=True, clean=False)


def remove(name: str) -> None:
    """Forget a device, and what was seen of it."""
    entry = registry.entries().get(name)
    path = registry.remove(name)
    if entry is not None:
        seen.forget(entry.url)
    console().print(f"{name} is no longer in {path}", markup=False)


def check(name: str, provider: str, *, install: bool, clean: bool) -> None:
    """Print what a device is; raises DeviceError when it is not usable.

    A `provider` that is named measures what a GPU does at best.
    """
    device = devices.resolve(name, provider=providers.named(provider) if provider else "")
    if provider and not device.gpu:
        raise UsageError(f"--provider: only for GPUs, and device {name!r} is none")
    if device.gpu:
        gpucheck.check(device, "--install" * install or "--clean" * clean)
        return
    if device.url:
        is_busy = _look(device, install=install, clean=clean)
    elif install or clean:
        raise UsageError(f"device {name!r} is this machine; --install and --clean are for others")
    else:
        is_busy = False
        here = {key: value for key, value in facts.read().items() if key != "free_bytes"}
        _print(_rows(here))
    stdout = console()
    if is_busy:
        stdout.print(f"{device.name} is in use: another benchbox is timing on it", markup=False)
        return
    with Live(console(stderr=True), 1) as live:
        agent = open_agent(device, live.sending)
    with agent:  # that it starts there is the better half of being ready
        if reason := emulated.reason(agent):
            _print([("emulation", reason)])
    stdout.print(f"{device.name} is ready", markup=False)


def _print(rows: Sequence[tuple[str, str]]) -> None:
    for label, value in rows:
        console().print(Text(f"{label:<{LABEL}} {printable(value)}"))


def _look(device: Device, *, install: bool, clean: bool) -> bool:
    """Print what a board says of itself; return whether another benchbox is timing on it.

    Raises DeviceError where it lacks something.
    """
    _prepare(device, console(stderr=True), install=install, clean=clean)
    with open_board(device) as board:
        told, lacks, is_busy = board.look(), board.lacks, board.is_busy
    _print(_rows(told))
    what = seen.describe(told.get("model"), told["machine"], told["clusters"])
    seen.note(device.url, what)
    if missing := _missing(device, told, lacks):
        raise DeviceError(f"device {device.name!r}: {missing}")
    return is_busy


def _prepare(device: Device, stderr: Console, *, install: bool, clean: bool) -> None:
    """Empty a board's folder, and put there what an agent needs, where asked for."""
    if clean:
        with open_board(device) as board:
            stderr.print(f"removed {board.clean() / MIB:.0f} MB there")
    if not install:
        return
    with open_board(device) as board:
        if board.lacks:
            stderr.print("installing what an agent needs there")
            board.install()
        elif board.brings_runtime:
            stderr.print("nothing to install: no Python there, so that the native runner is sent")
        else:
            stderr.print("nothing to install: an agent has what it needs there")


def _missing(device: Device, told: dict[str, Any], lacking: Sequence[str]) -> str:
    """Return what keeps a board from being used, and what to do."""
    devices.require_arm(device, told["machine"])
    if lacking:
        lacks = " and no ".join(lacking)
        return f"its Python has no {lacks}; benchbox device check {device.command_name} --install"
    if told["free_bytes"] < LEAST_FREE_BYTES:
        least = LEAST_FREE_BYTES // MIB
        free = f"{told['free_bytes'] / MIB:.0f} MB are free there, {least} MB should be"
        return f"{free}; free some, or: benchbox device check {device.command_name} --clean"
    usable = [cpu for cluster in told["clusters"] for cpu in cluster["cpus"]]
    named = set() if isinstance(device.cpus, str) else set(device.cpus)
    absent = sorted(named - set(usable))
    if absent or device.threads > len(usable):
        return f"it has the processors {ranges(usable)}; register it with other --threads or --cpus"
    return ""


def _rows(told: dict[str, Any]) -> list[tuple[str, str]]:
    versions = ", ".join(f"{name} {version}" for name, version in told["versions"].items())
    setting = told.get("setting", {})
    rows = [
        ("model", told.get("model", "not said")),
        ("architecture", f"{told['machine']}, {told['system']}"),
        ("software", versions or "no Python: the native runner is pushed"),
    ]
    rows += _clusters(told["clusters"])
    if (celsius := told.get("temperature_c")) is not None:
        warm = "; it may throttle soon" if celsius >= HOT_C else ""
        rows.append(("heat", f"{celsius:.0f} °C{warm}"))
    rows += [(LABELS[name], setting[name]) for name in OF_ALL if name in setting]
    if (free := told.get("free_bytes")) is not None:
        rows.append(("free space", f"{free / MIB:.0f} MB"))
    return rows


def _clusters(found: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return a row for each cluster, by the word that --cpus has for it; the fastest come first."""
    if len(found) < 2:
        return [("processors", _cluster(each)) for each in found]
    words = ["big", *["middle"] * (len(found) - 2), "little"]
    return [
        (f"{word} cluster", f"CPU {_cluster(each)}")
        for word, each in zip(words, found, strict=True)
    ]


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
