"""How to reach an agent: a transport gives a channel of JSON lines, `Agent` speaks over it."""

from benchbox.devices import Device
from benchbox.transports.agent import Agent, Loaded
from benchbox.transports.local import open_local

__all__ = ["Agent", "Loaded", "open_agent"]


def open_agent(device: Device) -> Agent:
    """Start a fresh agent process on `device` and greet it.

    Raises DeviceError when the device cannot be used.
    """
    return Agent(open_local(), device)
