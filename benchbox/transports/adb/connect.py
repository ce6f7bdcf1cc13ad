"""Phones that adb reaches."""

from contextlib import closing

from benchbox.devices import Device
from benchbox.devices.address import adb_serial
from benchbox.errors import DeviceError
from benchbox.transports.adb import program
from benchbox.transports.adb.link import AdbLink
from benchbox.transports.adb.program import AdbRefused
from benchbox.transports.board.commands import shell
from benchbox.transports.board.target import Target, was_reached
from benchbox.transports.bundle.install import install
from benchbox.transports.channel import ChannelClosed
from benchbox.transports.files import Progress, ignore

LOOK_S = 15.0
NO_PYTHON = (
    "name one with: {}, or run Termux and its sshd there: "
    "ssh://user@phone:8022 (by cable: adb forward tcp:8022 tcp:8022, then "
    "ssh://user@127.0.0.1:8022)"
)


def connect(device: Device) -> AdbLink:
    """Return a link to a phone; raises DeviceError when there can be none."""
    serial = adb_serial(device.url)
    try:
        program.start_server()
        program.require(serial)
        return AdbLink(serial)
    except AdbRefused as refused:
        raise _refusal(device, refused) from None


def _refusal(device: Device, refused: AdbRefused) -> DeviceError:
    if was_reached(device):  # in the middle of a run it names no serial: records keep it
        return DeviceError(
            f"device {device.name!r}: lost, and it cannot be reached again ({refused.kind})"
        )
    return DeviceError(f"device {device.name!r}: {' '.join(str(refused).split())}")


def reached(device: Device, progress: Progress = ignore) -> Target:
    """Reach a phone, with its Python or one that is sent there; raises DeviceError.

    A phone has a Python where its user named one, or its shell finds one.
    """
    link = connect(device)
    try:
        has_python = bool(device.python) or _finds(link, "python3")
        sent_python = "" if has_python else install(device, link, progress)
    except ChannelClosed as closed:
        link.close()
        raise DeviceError(f"device {device.name!r}: {closed}") from None
    except BaseException:
        link.close()
        raise
    return Target(device, link, NO_PYTHON, progress, sent_python)


def _finds(link: AdbLink, name: str) -> bool:
    """Whether the phone's shell knows a program."""
    with closing(link.start(shell(f"command -v {name}"))) as asked:
        return asked.wait(LOOK_S) == 0
