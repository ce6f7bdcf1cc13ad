"""Boards that ssh reaches."""

from benchbox.devices import Device
from benchbox.devices.address import ssh_address
from benchbox.transports.board.target import was_reached
from benchbox.transports.ssh.connection import SshLink

NO_PYTHON = "install Python 3.10 or newer, or name one with: {}"


def connect(device: Device) -> SshLink:
    """Return a link to a board; raises DeviceError when there can be none."""
    where = ssh_address(device.url)
    return SshLink(where, device.name, again=was_reached(device))
