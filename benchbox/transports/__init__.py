"""How to reach an agent: a transport gives a channel of JSON lines, `Agent` speaks over it."""

from benchbox import devices
from benchbox.devices import Device
from benchbox.errors import DeviceError
from benchbox.transports.agent import Agent, Loaded
from benchbox.transports.local import open_local

__all__ = ["Agent", "Loaded", "open_agent"]


def open_agent(device: Device) -> Agent:
    """Start a fresh agent process on `device` and greet it.

    Raises DeviceError when the device cannot be used, or is not what it is said to be.
    """
    if not device.url:
        return Agent(open_local(), device)
    from benchbox.transports.ssh import open_ssh  # asyncssh takes a while to import

    channel = open_ssh(device)
    agent = Agent(channel, device, place=channel.place)
    try:
        _check(device, agent)
    except DeviceError:
        agent.close()
        raise
    return agent


def _check(device: Device, agent: Agent) -> None:
    """Raise DeviceError where a device has less than was asked of it."""
    there = agent.hello["host"]
    devices.require_arm(device.name, there["machine"])
    if device.threads > there["cpus_usable"]:
        raise DeviceError(
            f"device {device.name!r}: {device.threads} threads asked for, it has "
            f"{there['cpus_usable']} usable processors; choose with --threads"
        )
