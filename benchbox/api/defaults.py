"""Defaults of options, from the environment or benchbox.toml: left out where they do not apply.

They may be meant for other runs. An option that is typed is refused by the commands themselves.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass

from benchbox import devices
from benchbox.devices.registry import Processors


@dataclass(frozen=True, slots=True)
class DeviceOptions:
    """The threads, processors and providers that are asked for on one device."""

    threads: int | None
    cpus: Sequence[Processors]
    providers: Sequence[str]


def fitting(asked: DeviceOptions, name: str, typed: Set[str]) -> DeviceOptions:
    """The options for the device `name`, without defaults that do not apply; `typed` ones stay.

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
    return DeviceOptions(threads, cpus or [()], providers or [""])
