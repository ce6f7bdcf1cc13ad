"""Device: a name from the command line resolved to an address, a provider and threads."""

import importlib.util
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from benchbox import host
from benchbox.agent.ort import plugins as on_device
from benchbox.devices import claims, last_seen, lookup, providers, registry
from benchbox.devices.address import ssh_address
from benchbox.devices.gpu_options import Driving
from benchbox.devices.plugins import PREFIX, Plugin
from benchbox.devices.registry import Entry, Processors
from benchbox.errors import DeviceError, UsageError

Channels = Literal["gpu", "arm"]
CPU_PROVIDER = providers.CPU
SSH_PORT = 22


@dataclass(frozen=True, slots=True)
class Device:
    """A place to time graphs on; `channels` says which of a paper's channel sets fits it.

    `url` is empty for this machine. It, `python` and `typed` (the name that the user typed) are for
    the transport and for messages to that user: no record holds them.
    `plugin` is the library that brings the provider, if any.
    `gpu` is the one of this machine to run on, as `cuda:0`, empty for its processors; `driving`
    says how it is driven.
    """

    name: str
    provider: str
    threads: int
    channels: Channels
    cpus: Processors = ()
    url: str = ""
    python: str = ""
    gpu: str = ""
    driving: Driving | None = None
    plugin: Plugin | None = None
    typed: str = field(default="", compare=False)

    @property
    def command_name(self) -> str:
        """Its name in commands: an unregistered address stands for itself."""
        return self.typed or self.name

    def with_threads(self, threads: int) -> "Device":
        """The device with so many of its threads, on the first of the processors named."""
        cpus = self.cpus if isinstance(self.cpus, str) else self.cpus[:threads]
        return replace(self, threads=threads, cpus=cpus)

    @property
    def hardware(self) -> str:
        """The machine behind it, however its address is spelled; one run at a time uses it."""
        if not self.url.startswith("ssh:"):
            return self.url
        where = ssh_address(self.url)
        return f"ssh://{where.host.lower()}:{where.port or SSH_PORT}"


def resolve(
    name: str,
    threads: int | None = None,
    cpus: Processors = (),
    provider: str = "",
    driving: Driving | None = None,
) -> Device:
    """Resolve a name; a provider that is not the default becomes part of the device's name.

    The default is ONNX Runtime's for processors or CUDA. `cpus` are the processors to run on, one
    for each thread, or a cluster of them, which becomes part of the name. Without `threads` there
    are as many threads as processors named, else one. Defaults come from a registered device.
    `driving` is for GPUs alone. Raises DeviceError when there is no such device, UsageError when
    this machine has no such processors; another machine's are checked by its agent.
    """
    entry, gpu = lookup.placed(name)
    default = providers.GPUS.get(entry.provider, providers.CUDA) if gpu else CPU_PROVIDER
    plugin = _plugin(provider, is_here=entry.url == "local")
    provider = providers.without_options(provider or default)
    own = _named(entry.name, cpus, provider, providers.CUDA if gpu else default, plugin)
    if gpu and entry.url != "local":
        threads = threads or 1  # those of the entry are for its processors
    elif not cpus and threads is None:
        threads, cpus = entry.threads, entry.cpus
    elif not cpus and (threads == entry.threads or isinstance(entry.cpus, str)):
        cpus = entry.cpus
    elif threads is None and isinstance(cpus, str):
        threads = entry.threads
    named = () if isinstance(cpus, str) else cpus
    threads = threads if threads is not None else max(1, len(named))
    is_here = entry.url == "local"
    url = "" if is_here else entry.url
    channels: Channels = "gpu" if gpu else "arm"
    where = (cpus, url, entry.python, gpu)
    device = Device(own, provider, threads, channels, *where, plugin=plugin, typed=name)
    _check_torch(device)
    device = _with_gpu_options(device, name, driving)
    if is_here:
        require_claims(device, platform.machine())
        if not entry.python:
            require_onnxruntime()
        _check_threads(threads, named)
    _check_pairs(threads, named)
    return device


def takes(device: Device, provider: str) -> bool:
    """Whether a provider can run on a device of this kind."""
    provider = providers.without_options(provider)
    if providers.runs_modules(provider):
        return not device.url and (bool(device.gpu) or provider != providers.TORCH_CUDAGRAPH)
    return bool(device.gpu) == (provider in providers.GPUS.values())


def _with_gpu_options(device: Device, name: str, driving: Driving | None) -> Device:
    """Add GPU options to a device; raises UsageError for those that do not fit it."""
    provider = providers.short(device.provider)
    is_known = device.provider in providers.GPUS.values()
    if not device.gpu and is_known:
        raise UsageError(f"--provider {provider}: GPUs are timed by {_gpu_beside(device)}")
    if not device.gpu:
        return device
    if not is_known and not providers.runs_modules(device.provider):
        raise UsageError(f"--provider {provider}: not on GPUs; choose cuda, tensorrt or torch")
    if device.threads != 1:
        raise UsageError(
            f"--threads {device.threads}: one thread drives --device {name}; leave it out"
        )
    return replace(device, driving=(driving or Driving()).by(device.provider))


def _gpu_beside(device: Device) -> str:
    """What stands for a GPU of the machine that has these processors."""
    if not device.url.startswith("ssh:"):
        return "--device cuda"
    if entry := registry.find(device.typed) or lookup.with_processors(device.typed):
        return f"--device {entry.name}:cuda"
    named = registry.command(Entry("NAME", device.url, provider="cuda"))
    return f"--device NAME; name it: {named}"


def _plugin(provider: str, *, is_here: bool) -> Plugin | None:
    """The plug-in of a provider; raises DeviceError for a path here that leads to no file."""
    plugin = providers.plugin(provider)
    if plugin is None or not plugin.library:
        return plugin
    path = Path(plugin.library).expanduser().absolute() if is_here else Path(plugin.library)
    if not path.is_absolute():
        raise UsageError(f"--provider plugin:{path}: write its whole path on the device")
    if is_here:
        try:
            on_device.require_file(PREFIX, str(path))
        except ValueError as error:
            raise DeviceError(f"--provider {error}") from None
    return replace(plugin, library=str(path))


def _named(
    name: str,
    cpus: Processors,
    provider: str,
    default: str = CPU_PROVIDER,
    plugin: Plugin | None = None,
) -> str:
    """A device's name with its cluster and provider, where they are not the default."""
    own = f"{name}-{cpus}" if isinstance(cpus, str) else name
    return own if provider == default else providers.with_provider(own, provider, plugin)


def _check_torch(device: Device) -> None:
    """Raise DeviceError where PyTorch cannot be timed as it is asked for."""
    if not providers.runs_modules(device.provider):
        return
    if device.python and not device.url:
        raise DeviceError(
            f"device {device.name!r}: torch is timed by benchbox's own Python; leave --provider out"
        )
    if device.url:
        raise DeviceError(
            f"device {device.name!r}: torch is timed on the machine that benchbox runs on; run it "
            "on the board itself, or leave --provider out"
        )
    if not device.gpu:
        try:
            providers.require_gpu(device.provider)
        except ValueError as error:
            raise DeviceError(f"device {device.name!r}: {error}") from None


def naming_python(device: Device, *, addressed: bool = True) -> str:
    """Return the command that names another Python of a device, with or without its address."""
    if not addressed:
        return "benchbox device add NAME URL --python PATH"
    known = registry.find(device.command_name) or Entry("NAME", device.url)
    return registry.command(replace(known, python="PATH"))


def require_claims(device: Device, machine: str, model: str | None = None) -> None:
    """Raise DeviceError where a device's name says that it is what it is not."""
    own = device.name.removesuffix(f"-{device.plugin.name}") if device.plugin else device.name
    entry = lookup.with_processors(device.typed)  # of one that is called after its GPU
    has_card = bool(device.gpu or (entry and entry.provider))
    claimed = claims.false_one(own, machine, model, has_card=has_card)
    if not claimed:
        return
    if device.url or device.command_name not in lookup.DEVICES:
        what = "is timed on its processor" if claimed in claims.ON_CARDS else f"is {machine}"
        raise DeviceError(f"device {device.name!r}: it {what}, not {claimed}; give it another name")
    own_boards = " or ".join(f"-d {each}" for each in _perhaps_arm())
    raise DeviceError(
        f"device 'arm': this machine is {machine}, not an ARM one; "
        + (
            f"which of your devices: {own_boards}?"
            if own_boards
            else "run benchbox on the board itself, or `benchbox device add arm ssh://user@host` "
            "(a phone: adb://serial)"
        )
    )


def _perhaps_arm() -> list[str]:
    """The registered devices that are ARM ones, or that were never reached and may be."""
    kinds = {
        name: {*last_seen.last(entry.url).what.split(", ")}
        for name, entry in registry.entries().items()
        if entry.url != "local" and not entry.provider
    }
    known = [name for name, kind in kinds.items() if kind & {*claims.ARM_MACHINES}]
    return known + [name for name, kind in kinds.items() if kind == {""}]


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


def _check_pairs(threads: int, cpus: Sequence[int]) -> None:
    named = ",".join(map(str, cpus))
    if threads < 1:
        raise UsageError(f"--threads {threads}: choose 1 or more")
    if cpus and len(cpus) != threads:
        each = "the thread" if threads == 1 else f"each of the {threads} threads"
        raise UsageError(f"--cpus {named}: name one processor for {each}")
