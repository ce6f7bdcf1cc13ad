"""Look-up of a device's name: the entry that it stands for, and the GPU there, if it is one."""

import difflib
import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace

from benchbox.devices import claims, registry
from benchbox.devices.address import adb_serial, masked, ssh_address
from benchbox.devices.registry import Entry
from benchbox.errors import DeviceError, UsageError

DIGITS = 12  # of 6, two of some thousand addresses are the same
PRINTED = re.compile(r"(?:(?P<name>[a-z0-9][a-z0-9_-]*)-)?cuda-(?P<index>0|[1-9]\d?)")
GPU = re.compile(r"(?:(?P<name>[a-z0-9][a-z0-9_-]*):)?cuda(?::(?P<index>0|[1-9]\d?))?")
DEVICES = {
    "cpu": "this machine's processor",
    "arm": "this machine's processor, where that is an ARM one",
    "cuda": "this machine's first NVIDIA GPU; cuda:1 is its second",
}


def placed(name: str) -> tuple[Entry, str]:
    """The entry of a name, as it is recorded, and the GPU there that it stands for, if any.

    That is `cuda` or `cuda:1` of this machine, `box:cuda:1` of a registered one, or `box` where
    that is registered with a provider for GPUs; `box:cpu` are the processors there. Names of
    tables, `box-cuda-1` and `box-cpu`, are the same.
    """
    match = GPU.fullmatch(name) or _printed(name)
    if match is None and (entry := with_processors(name)):
        own = f"{entry.name}-cpu" if entry.provider else entry.name
        return replace(entry, name=own, provider=""), ""
    if match is None:
        entry = _entry(name)
        if not entry.provider:
            return entry, ""
        return replace(entry, name=f"{name}-cuda-0"), "cuda:0"
    gpu = f"cuda:{match['index'] or 0}"
    if not match["name"]:
        return Entry(name.replace(":", "-"), "local"), gpu
    entry = _entry(match["name"])
    if not entry.url.startswith("ssh:"):
        raise UsageError(
            f"device {name!r}: only GPUs of this machine (cuda) and over ssh are timed"
        )
    return replace(entry, name=f"{entry.name}-{gpu.replace(':', '-')}"), gpu


def _printed(name: str) -> re.Match[str] | None:
    """The parts of a GPU's name as tables have it, None for a name of one's own."""
    match = None if registry.find(name) else PRINTED.fullmatch(name)
    return match if match and (not match["name"] or registry.find(match["name"])) else None


def with_processors(name: str) -> Entry | None:
    """The registered device of `box:cpu`; `box-cpu` where `box` is its GPU; else None."""
    if registry.find(name):
        return None
    own = name.removesuffix(":cpu")
    entry = registry.find(own if own != name else name.removesuffix("-cpu"))
    return entry if entry and (own != name or entry.provider) else None


def _entry(name: str) -> Entry:
    """The entry for a name from the command line, registered or not."""
    if name.startswith("ssh://"):
        ssh_address(name)
        return Entry(shareable(name), name)
    if name.startswith("adb:"):
        adb_serial(name)
        return Entry(shareable(name), name)
    if name.startswith("cuda:"):
        raise DeviceError(f"device {name!r}: write cuda, or cuda:1 for the second GPU")
    entry = registry.find(name)
    if entry is not None:
        return entry
    if name not in DEVICES:
        raise DeviceError(_unknown(name))
    return Entry(name, "local")


def _unknown(name: str) -> str:
    """The message for an unknown device, with what to write instead."""
    known = list(dict.fromkeys([*DEVICES, *registry.entries()]))
    if (own := name.partition(":")[0]) in registry.entries():
        return f"unknown device {name!r}: write {own}, {own}:cuda, {own}:cuda:1 or {own}:cpu"
    if ":" in name or "@" in name:
        return (
            f"unknown device {masked(name)!r}: write an address as "
            "ssh://[user@]host[:port] or adb://serial"
        )
    is_usable = registry.NAME.fullmatch(name) and not claims.of(name)
    own = name if is_usable else "NAME"
    return (
        f"unknown device {name!r}{_nearest(name, known)}; benchbox times on: {', '.join(known)}; "
        f"a board gets a name by: benchbox device add {own} ssh://user@host"
    )


def shareable(url: str) -> str:
    """A name for an unregistered address that reveals neither host nor user nor serial."""
    return f"{url[:3]}-{hashlib.sha256(url.encode()).hexdigest()[:DIGITS]}"


def _nearest(name: str, known: Sequence[str]) -> str:
    meant = {claims.GPU: "cuda", claims.ARM: "arm", claims.X86: "cpu"}
    close = [meant[what] for what in claims.of(name) if what in meant]
    close = close or difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def names() -> Sequence[tuple[str, str]]:
    """Every device name with its address or description; raises UsageError for a broken file."""
    known = {
        name: f"{entry.url}, {entry.provider}" if entry.provider else entry.url
        for name, entry in registry.entries().items()
    }
    unusable = {name: f"not usable: {why}" for name, why in registry.wrong().items()}
    return list({**DEVICES, **known, **unusable}.items())
