"""Fleet options: what a run on the devices of a fleet can be asked, and its devices' places."""

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from benchbox.api.options import Baseline, JobOptions
from benchbox.devices import Device, providers
from benchbox.errors import UsageError

if TYPE_CHECKING:
    from benchbox.fleet.members import Member


def placeholders(options: JobOptions, threads: int) -> list[Device]:
    """A device for each -d, by which requests name what the fleet is to choose from.

    With 0 `threads` each has those that its worker offers.
    Raises UsageError for options that a fleet cannot follow, DeviceError for devices that it lacks.
    """
    mode = options.gpu
    refused = {
        "--cpus": options.cpus,
        "--provider": options.provider if "provider" in options.typed else None,
        "--arrival": options.load.arrival,
        "--sustained": options.load.sustained,
        "--profile": options.profile and "profile" in options.typed,
        "--baseline": options.against != Baseline(),
        "--mode, --cache, --tf32 and --conv-search": mode.mode
        or mode.cache
        or mode.tf32
        or mode.conv_search,
    }
    for option, value in refused.items():
        if value:
            raise UsageError(f"{option}: not with --scheduler; run it on the device's own machine")
    names = options.device or [""]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"--device {twice[0]}: given twice")
    members = there(options.scheduler or "")
    return [_placeholder(name, members, threads) for name in names]


def there(scheduler: str) -> Sequence["Member"]:
    """The devices of a fleet; raises a BenchboxError where no scheduler answers."""
    from benchbox.fleet import authority, engine

    engine.require()
    address = authority.parse(scheduler)
    from benchbox.fleet.connection import Connection

    with closing(Connection(address)) as connection:
        return connection.present()


def _placeholder(name: str, members: Sequence["Member"], threads: int) -> Device:
    """What a -d stands for, as it is offered; raises UsageError for a GPU with threads."""
    from benchbox.fleet.members import matching

    first, *_ = matching(name, members)
    gpu = "cuda" if first.provider in providers.GPUS.values() else ""
    if gpu and threads > 1:
        raise UsageError(f"--threads {threads}: one thread drives --device {name}; leave it out")
    return Device(name, first.provider, threads, first.channels, url="fleet:", gpu=gpu)
