"""Options that nobody typed, which hold where they have a meaning, and are left out elsewhere.

Their values are from the environment or from benchbox.toml, where they are meant for the runs that
they fit. What is typed is for the commands themselves to refuse.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass

from benchbox import devices
from benchbox.devices.registry import Processors


@dataclass(frozen=True, slots=True)
class Place:
    """What the command line asks of one device: threads, processors, providers."""

    threads: int | None
    cpus: Sequence[Processors]
    providers: Sequence[str]


def fitting(asked: Place, name: str, typed: Set[str]) -> Place:
    """Return what is asked of the device `name`, less what has no meaning there; `typed` stays.

    One thread drives a GPU, and some providers are for one kind of device alone.
    """
    device = devices.resolve(name)
    threads, cpus, providers = asked.threads, asked.cpus, asked.providers
    if device.gpu and "threads" not in typed:
        threads = None
    if device.gpu and "cpus" not in typed:
        cpus = [each for each in cpus if isinstance(each, str) or len(each) <= 1]
    if "provider" not in typed:
        providers = [each for each in providers if devices.takes(device, each)]
    return Place(threads, cpus or [()], providers or [""])
