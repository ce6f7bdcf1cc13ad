"""The work of the `benchbox device` commands."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console

from benchbox import devices
from benchbox.api import parsing
from benchbox.cli import cpu_check, gpu_check
from benchbox.cli.bar import Bar
from benchbox.cli.choices import ANYTHING, CUDA
from benchbox.cli.list import table
from benchbox.cli.output import console, print_rows
from benchbox.cli.progress import Live
from benchbox.devices import Device, kernels, last_seen, providers, registry
from benchbox.devices.registry import Entry
from benchbox.errors import DeviceError, UsageError
from benchbox.report import energy
from benchbox.report.conditions import LABELS
from benchbox.report.console import show_tables
from benchbox.report.formatting import cpu_list
from benchbox.report.table import Column
from benchbox.report.text import by_text
from benchbox.transports import client, local, open_agent, open_target, require_gpu
from benchbox.transports.board import setup
from benchbox.transports.board.target import Target, lacking

MIB, GB = 1 << 20, 10**9
LITTLE_FREE_BYTES = 256 * MIB  # ONNX Runtime, numpy and some graphs need less
HOT_C = 75.0  # most boards begin to throttle at 80 to 85
KHZ = 1000  # in a MHz
UNTOLD = ("free_bytes", "versions")  # of this machine: an agent has those of its own Python
OF_ALL = ("throttled", "nvpmodel", "jetson_clocks")  # not of single processors


def show() -> None:
    """Print every device: what it is, and when it was last reached."""
    known = registry.entries()
    found = devices.names()
    entries = [known.get(name) for name, _ in found]
    seen = [last_seen.last(entry.url) if entry else last_seen.LastSeen() for entry in entries]
    about = [
        "; ".join(filter(None, (what, s.what))) for (_, what), s in zip(found, seen, strict=True)
    ]
    names = tuple(name for name, _ in found)
    columns = [
        Column("device", names, text=True),
        Column("what it is", tuple(about), text=True),
        Column("last seen", tuple(each.at for each in seen), text=True, drop=1),
    ]
    files = [f"registered in {entry.file}" if entry else "" for entry in entries]
    show_tables([table("Devices", columns, by_text(names, files))], console())


def add(
    name: str,
    url: str,
    python: str,
    threads: int | None,
    cpus: str | None,
    provider: str = "",
    *,
    install: str,
) -> None:
    """Register a device; with `install`, put there what it lacks, and check it."""
    if url == "local" and "/" in python:  # of this folder, and meant in any other
        python = str(parsing.path(python, "--python").absolute())
    entry = Entry(name, url, python, threads, parsing.one_choice(cpus), provider)
    _check_install(install)
    if install == CUDA and not url.startswith("ssh:"):
        raise UsageError(f"device {name!r}: --install cuda: of an ssh:// address")
    if url == "local" and install:
        raise UsageError(f"device {name!r} is this machine; --install is for others")
    if url == "local":
        here, device = local.facts(), Device(name, devices.CPU_PROVIDER, 1, "arm", typed=name)
        devices.require_claims(device, here["machine"], here.get("model", ""))
    known = registry.entries().get(name)
    path = registry.add(entry)
    if known is not None and replace(known, file=entry.file) != entry:
        console(stderr=True).print(f"in place of: {registry.command(known)}")
    advice = "" if install else f"; try it: benchbox device check {name}"
    console().print(f"{name} is in {path}{advice}")
    if not install:
        return
    try:
        check(name, "", install=install, clean=False)
    except DeviceError:
        console(stderr=True).print(f"{name} stays registered: benchbox device remove {name}")
        raise


def remove(name: str) -> None:
    """Forget a device, and when it was last reached."""
    entry = registry.entries().get(name)
    path = registry.remove(name)
    if entry is not None:
        last_seen.forget(entry.url)
    console().print(f"{name} is no longer in {path}")


def _check_install(install: str) -> None:
    if install not in ("", ANYTHING, CUDA):
        raise UsageError(f"--install {install}: write --install, or --install cuda for a GPU")


def _with_gpu(name: str, install: str) -> str:
    """The name of a device, of its first GPU with `--install cuda`; raises UsageError."""
    _check_install(install)
    if install != CUDA or devices.resolve(name).gpu:
        return name
    if name.startswith("ssh:"):
        raise UsageError(
            f"--install cuda: register it: benchbox device add NAME {name} --install cuda"
        )
    return f"{name}:{CUDA}"


def check(
    name: str, provider: str, threads: int | None = None, *, install: str, clean: bool
) -> None:
    """Print what a device is; raises DeviceError when it is not usable.

    Its ceilings are measured, on a GPU by `provider` if one is named, else by so many threads.
    With `install` for CUDA it is the first GPU of a device that is registered for its processors.
    """
    name = _with_gpu(name, install)
    device = devices.resolve(name, threads, provider=providers.named(provider) if provider else "")
    if provider and not device.gpu:
        raise UsageError(f"--provider: only for GPUs, and device {name!r} is none")
    if (install or clean) and not device.url:
        here = "; here: pip install 'benchbox[cuda]'" if device.gpu else ""
        raise UsageError(
            f"device {name!r} is this machine; --install and --clean are for others{here}"
        )
    if device.gpu:
        if device.url:
            _prepare(device, console(stderr=True), install=bool(install), clean=clean)
            with _opened(device) as target:
                found = setup.facts(target)
            devices.require_claims(device, found["machine"], found.get("model", ""))
        gpu_check.check(device, _rows(found) if device.url else [])
        return
    if device.url:
        is_busy = _examine(device, install=bool(install), clean=clean)
        if is_busy:
            console().print(f"{device.name} is in use: another benchbox is timing on it")
            return
    else:
        print_rows(_rows({k: v for k, v in local.facts().items() if k not in UNTOLD}))
    _start(device)


def _start(device: Device) -> None:
    """Start an agent, without which a device is not ready, and measure the ceilings."""
    with Live(console(stderr=True), 1) as live:
        agent = open_agent(device, live.sending)
    with agent:  # it is ready only if an agent starts there
        if reason := client.reason(agent):
            print_rows([("emulation", reason)])
        if not device.url:
            print_rows([("software", _listed(agent.hello["versions"]))])
        there, hello = agent.hello["host"], agent.hello
        known = [*hello["providers"], *hello.get("plugins", ())]
        system = "" if device.url.startswith("adb:") else there.get("system", "")
        print_rows(providers.rows(known, system, there["machine"]))
        print_rows([("energy", energy.source(there))])
        if not reason:
            print_rows(cpu_check.rows(agent, device))
    console().print(f"{device.name} is ready")


def _examine(device: Device, *, install: bool, clean: bool) -> bool:
    """Print the facts of a board; return whether another benchbox is timing on it.

    Raises DeviceError when something is missing there.
    """
    stderr = console(stderr=True)
    _prepare(device, stderr, install=install, clean=clean)
    with _opened(device) as target:
        found, lacks, is_busy = setup.facts(target), target.lacks, target.is_busy
        is_sent = target.brings_python
    print_rows(_rows(found, is_sent=is_sent))
    if found["free_bytes"] < LITTLE_FREE_BYTES and not clean:
        stderr.print(
            f"little space: benchbox device check {device.command_name} --clean makes some",
        )
    what = last_seen.describe(found.get("model"), found["machine"], found["clusters"])
    last_seen.note(device.url, what)
    if missing := _missing(device, found, lacks):
        raise DeviceError(f"device {device.name!r}: {missing}")
    return is_busy


def _opened(device: Device) -> Target:
    """Reach a board; what is sent there for that is shown."""
    with Live(console(stderr=True), 1) as live:
        return open_target(device, live.sending)


def _prepare(device: Device, stderr: Console, *, install: bool, clean: bool) -> None:
    """Empty a board's folder, and install what an agent needs, if asked to."""
    if clean:
        with _opened(device) as target:
            stderr.print(f"removed {setup.clean(target) / MIB:.0f} MB there")
    if not install:
        return
    lacks_cuda = bool(device.gpu) and _lacks_cuda(device)
    with _opened(device) as target:
        if lacks_cuda or (not device.gpu and (target.lacks or setup.import_error(target))):
            if lacks_cuda:
                free = setup.require_cuda(target)
                stderr.print(
                    f"downloading {setup.CUDA_DOWNLOAD_MB / 1000:.1f} GB there, which become "
                    f"{setup.CUDA_SIZE_MB / 1000:.1f} GB; {free / GB:.0f} GB are free"
                )
            stderr.print("installing what an agent needs there")
            with Bar(stderr) as bar:
                line = bar.line()

                def show(taken_s: float, last: str) -> None:
                    minutes, seconds = divmod(int(taken_s), 60)
                    line.draw(f"{minutes}:{seconds:02d}", None, last)

                setup.install(target, show)
        elif target.brings_python:
            stderr.print("nothing to install: no Python there, so that one is sent")
        else:
            stderr.print("nothing to install: an agent has what it needs there")


def _lacks_cuda(device: Device) -> bool:
    """Whether a GPU cannot be used for want of what is installed; raises DeviceError otherwise."""
    try:
        require_gpu(device)
    except DeviceError as error:
        if "--install" not in str(error):
            raise
        return True
    return False


def _missing(device: Device, found: dict[str, Any], lacks: Sequence[str]) -> str:
    """The reason why a board cannot be used and what to do, empty when it can."""
    devices.require_claims(device, found["machine"], found.get("model", ""))
    if lacks:
        cure = f"benchbox device check {device.command_name} --install"
        return lacking(lacks, found.get("bits"), cure)
    usable = [cpu for cluster in found["clusters"] for cpu in cluster["cpus"]]
    named = set() if isinstance(device.cpus, str) else set(device.cpus)
    absent = sorted(named - set(usable))
    if absent or device.threads > len(usable):
        return (
            f"it has the processors {cpu_list(usable)}; register it with other --threads or --cpus"
        )
    return ""


def _rows(found: dict[str, Any], *, is_sent: bool = False) -> list[tuple[str, str]]:
    setting = found.get("setting", {})
    narrow = ", 32-bit Python" if found.get("bits") == 32 else ""
    rows = [
        ("model", found.get("model", "not said")),
        ("architecture", f"{found['machine']}, {found['system']}{narrow}"),
    ]
    if versions := _listed(found.get("versions", {})):
        rows.append(("software", f"no Python; sent: {versions}" if is_sent else versions))
    rows += _clusters(found["clusters"])
    rows += kernels.rows(found.get("instructions"), found["machine"])
    if (celsius := found.get("temperature_c")) is not None:
        warm = "; it may throttle soon" if celsius >= HOT_C else ""
        rows.append(("heat", f"{celsius:.0f} °C{warm}"))
    rows += [(LABELS[name], setting[name]) for name in OF_ALL if name in setting]
    if (free := found.get("free_bytes")) is not None:
        little = "; large graphs may not fit" if free < LITTLE_FREE_BYTES else ""
        rows.append(("free space", f"{free / MIB:.0f} MB{little}"))
    return rows


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _clusters(clusters: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """A row for each cluster, by its word in --cpus; the fastest come first."""
    if len(clusters) < 2:
        return [("processors", _cluster(each)) for each in clusters]
    words = ["big", *["middle"] * (len(clusters) - 2), "little"]
    return [
        (f"{word} cluster", f"CPU {_cluster(each)}")
        for word, each in zip(words, clusters, strict=True)
    ]


def _cluster(cluster: dict[str, Any]) -> str:
    khz, top_khz = cluster.get("khz"), cluster.get("top_khz")
    governor, limit = cluster.get("governor"), cluster.get("limit")
    parts = [cpu_list(cluster["cpus"])]
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
