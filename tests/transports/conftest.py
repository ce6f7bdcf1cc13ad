"""Devices of which this machine is one: a shell of it behind the link, an sshd or an adbd."""

import contextlib
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchbox.devices import CPU_PROVIDER, Device
from benchbox.errors import DeviceError
from benchbox.transports import open_agent
from benchbox.transports.adb import connect as adb_connect
from benchbox.transports.link import Link, RemoteChannel
from benchbox.transports.ssh import connect as ssh_connect

if TYPE_CHECKING:
    from tests.board import Board, Phone

PYTHON = os.path.abspath(sys.executable)  # noqa: PTH100 - not through the link
PROC = """\
cd /run/root && [ ! -e proc/self ] || exit 0
touch /run/cpuinfo && mount --bind proc/cpuinfo /run/cpuinfo && mount -t proc proc proc &&
mount --bind /run/cpuinfo proc/cpuinfo"""
KEEPER = "exec(json.loads"  # in its command line


def wait_for(what: Callable[[], object], seconds: float = 20.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(0.05)
    return False


def refused(device: Device, act: Callable[[Device], object] = open_agent) -> str:
    """The one line that an act on a device is refused with."""
    with pytest.raises(DeviceError) as caught:
        act(device)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class ShellLink:
    """A link to a shell of this machine that is at home in a folder."""

    def __init__(self, home: Path) -> None:
        self.home, self.channels = home, list[RemoteChannel]()

    def start(self, command: str) -> RemoteChannel:
        argv = ["env", "-C", str(self.home), f"HOME={self.home}", "sh", "-c", command]
        self.channels.append(RemoteChannel(argv, lambda code, _: code))
        return self.channels[-1]

    def close(self) -> None:
        for channel in self.channels:
            channel.close()


@dataclass
class Shell:
    """A device that is reached by a ShellLink."""

    home: Path

    def device(self, python: str = PYTHON, threads: int = 1, name: str = "board") -> Device:
        return Device(name, CPU_PROVIDER, threads, "arm", (), "ssh://me@board", python)

    def with_python(self, text: str) -> Device:
        """The device with a Python that is a script."""
        path = self.home / "python here"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return self.device("~/python here")

    @property
    def cache(self) -> Path:
        return self.home / ".cache/benchbox"

    def pids(self, text: str) -> list[int]:
        """The programs with a text in their command line that run at home, but for shells."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                is_here = (path / "cwd").resolve() == self.home and not line.startswith("sh ")
                if text in line and is_here:
                    found.append(int(path.name))
        return found

    def agents(self) -> list[int]:
        return self.pids(".cache/benchbox/files")


@pytest.fixture
def shell(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """`ssh://me@board`, which is a shell of this machine with a home of its own."""
    assert home
    there = tmp_path / "board"
    there.mkdir()
    monkeypatch.setattr(ssh_connect, "connect", lambda _: ShellLink(there))
    return Shell(there)


@pytest.fixture
def device(shell: Shell) -> Device:
    return shell.device()


# real links


@dataclass
class Remote:
    """A device that is reached by a real link, and how that is lost."""

    device: Device
    board: "Board"
    cache: Path
    lose: Callable[[], None]
    machine: str = platform.machine()


@pytest.fixture
def over_ssh(ssh_board: "Board", reach: Callable[["Board"], None]) -> Remote:
    """This machine behind an sshd, with nothing kept on it."""
    reach(ssh_board)
    ssh_board.run("rm", "-rf", "/run/home/.cache")
    device = Device("board", CPU_PROVIDER, 1, "arm", (), "ssh://board", PYTHON)
    return Remote(device, ssh_board, ssh_board.home / ".cache/benchbox", ssh_board.hang_up)


@pytest.fixture
def over_ssh_on_arm(emulated_board: "Board", reach: Callable[["Board"], None]) -> Remote:
    """An emulated aarch64 system behind an sshd, with nothing of benchbox kept on it.

    It gets a /proc with its processes, but for what that says of its processors.
    """
    reach(emulated_board)
    emulated_board.run("sh", "-c", PROC)
    cache = emulated_board.home / ".cache/benchbox"
    shutil.rmtree(cache, ignore_errors=True)
    device = Device("board", CPU_PROVIDER, 1, "arm", (), "ssh://board")
    return Remote(device, emulated_board, cache, emulated_board.hang_up, "aarch64")


@pytest.fixture
def there(host_phone: "Phone", adb_server: int, home: Path) -> "Phone":
    """A phone that is switched on, with nothing kept on it."""
    assert adb_server and home
    host_phone.start_adbd()
    host_phone.run("rm", "-rf", "/run/root/data/local/tmp/benchbox")
    return host_phone


@pytest.fixture
def over_adb(there: "Phone") -> Iterator[Remote]:
    """This machine behind an adbd, whose Python its user has named; a cable may be pulled."""
    device = Device("phone", CPU_PROVIDER, 1, "arm", (), there.url, sys.executable)
    yield Remote(device, there, there.storage / "benchbox", there.link_down)
    there.link_up()


@pytest.fixture(params=["ssh", "adb", "ssh_on_arm"])
def remote(request: pytest.FixtureRequest) -> Remote:
    found: Remote = request.getfixturevalue(f"over_{request.param}")
    return found


def connect(device: Device) -> Link:
    reached = ssh_connect if device.url.startswith("ssh") else adb_connect
    return reached.connect(device)
