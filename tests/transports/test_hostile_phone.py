"""Phones that answer what nobody asked them: what they send fills no disk, memory or terminal."""

import contextlib
import os
import re
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from benchbox.cli import device_actions
from benchbox.cli.app import app
from benchbox.devices import CPU_PROVIDER, Device
from benchbox.errors import CaseError, DeviceError
from benchbox.transports.adb import facts as adb_facts
from benchbox.transports.adb import shell as adb_shell
from benchbox.transports.adb import sync
from benchbox.transports.adb.phone import Phone
from benchbox.transports.adb.server import Server
from benchbox.transports.adb.shell import AdbLink
from benchbox.transports.channel import ChannelClosed

pytestmark = pytest.mark.usefixtures("user")
URL, MARK = "adb://odd", "5eed"
STDOUT, EXIT = 1, 3
Chunks = Iterator[bytes]


def packet(kind: int, data: bytes) -> bytes:
    return struct.pack("<BI", kind, len(data)) + data


def printed(text: str) -> Chunks:
    yield packet(STDOUT, text.encode()) + packet(EXIT, b"\0")


def flood() -> Chunks:
    while True:
        yield packet(STDOUT, bytes(1 << 18))


def endless_packet() -> Chunks:
    yield struct.pack("<BI", STDOUT, 0xFFFFFFFF)
    while True:
        yield bytes(1 << 18)


class Odd(socketserver.ThreadingTCPServer):
    """An adb server with one phone, whose shell prints what a function says of a script."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, shell: Callable[[str], Chunks]) -> None:
        self.shell = shell
        super().__init__(("127.0.0.1", 0), Answering)


class Answering(socketserver.StreamRequestHandler):
    server: Odd

    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while self.answer(self.rfile.read(int(self.rfile.read(4), 16)).decode()):
                pass

    def answer(self, asked: str) -> bool:
        said = {"host:version": "0029", "host:devices": "odd\tdevice\n"}
        said["host-serial:odd:features"] = "shell_v2"
        if asked in said:
            self.wfile.write(b"OKAY%04x" % len(said[asked]) + said[asked].encode())
            return False
        self.wfile.write(b"OKAY")
        if asked.startswith("shell"):
            for chunk in self.server.shell(asked):
                self.wfile.write(chunk)
        elif asked == "sync:":
            self.rfile.read(8)
            self.wfile.write(struct.pack("<4sI", b"FAIL", 0xFFFFFFFF) + b"\x1b[2Jno" * 60)
        return asked.startswith("host:transport")


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCHBOX_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def phone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Device]]:
    """Return a phone without Python whose shell prints this of itself, or as a function says."""
    pytest.importorskip("adbutils")
    running: list[Odd] = []

    def attached(facts: str = "", says: Callable[[str], Chunks] | None = None) -> Device:
        def honest(asked: str) -> Chunks:
            mark = re.search('echo "([0-9a-f]+)/system"', asked)
            if "command -v" in asked:
                yield packet(EXIT, b"\1")
            else:
                yield from printed(facts.replace("==", mark[1]) if mark else "aarch64\n")

        running.append(Odd(says or honest))
        threading.Thread(target=running[-1].serve_forever, daemon=True).start()
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(running[-1].server_address[1]))
        return Device("odd", CPU_PROVIDER, 1, "arm", (), URL)

    yield attached
    for server in running:
        server.shutdown()
        server.server_close()


def linked() -> AdbLink:
    return AdbLink(Server(int(os.environ["ANDROID_ADB_SERVER_PORT"])), "odd")


def reached(device: Device) -> Phone:
    return Phone(device, linked())


def refused(act: Callable[[], Any]) -> str:
    with pytest.raises(DeviceError) as caught:
        act()
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "/{outside}",
        "{outside}",
        "/../{outside}",
        "/proc/../..{outside}",
        "/sys/class/thermal/thermal_zone../../../../../..{outside}",
        "/sys/class/thermal/thermal_zone0/type/../../x",
        "/proc",
        "/proc/self/environ",
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_" + "x" * 300 + "_freq",
        "/proc/cpuinfo\0",
        "",
    ],
)
def test_a_file_that_was_not_asked_for_is_refused_and_written_nowhere(
    tmp_path: Path, name: str
) -> None:
    outside = tmp_path / "home/authorized_keys"
    named = name.format(outside=outside)
    with pytest.raises(CaseError, match="not asked for"):
        adb_facts.read(f"{MARK}{named}\nkey\n{MARK}/proc/cpuinfo\nx\n", MARK, "aarch64")
    assert list(tmp_path.iterdir()) == []


def test_what_a_file_holds_is_not_taken_for_another_file() -> None:
    said = f"{MARK}/product\nPixel\n==/system\nforged\n/free\n{MARK}/free\n1000 4096\n"
    found = adb_facts.read(said, MARK, "aarch64")
    assert found["model"] == "Pixel ==/system forged /free"
    assert (found["system"], found["free_bytes"]) == ("", 4_096_000)


def test_the_mark_of_files_is_another_one_each_time(phone: Callable[..., Device]) -> None:
    asked: list[str] = []

    def shell(script: str) -> Chunks:
        asked.extend(re.findall('echo "([0-9a-f]+)/system"', script))
        yield from printed("aarch64\n") if "command -v" not in script else [packet(EXIT, b"\1")]

    with reached(phone(says=shell)) as board:
        board.look()
        board.look()
    assert len(set(asked)) == 2


def test_more_files_than_a_phone_has_are_refused() -> None:
    files = (f"{MARK}/sys/class/thermal/thermal_zone{i}/temp\n1\n" for i in range(5000))
    with pytest.raises(CaseError, match="5000 files"):
        adb_facts.read("".join(files), MARK, "aarch64")


@pytest.mark.parametrize("free", ["² 4096", "9" * 5000 + " 4096", "-1 4096", "many", ""])
def test_free_space_that_is_no_number_is_none(free: str) -> None:
    assert adb_facts.free_bytes(free) == 0


def test_a_phone_writes_no_file_here(phone: Callable[..., Device], tmp_path: Path) -> None:
    device = phone(f"==/{tmp_path}/pwned/authorized_keys\nkey\n==/proc/cpuinfo\nx\n")
    with reached(device) as board:
        assert "says nothing of itself: the phone sent" in refused(board.look)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("shell", "why"),
    [
        (flood, "it wrote more than 1 MB that nobody took"),
        (endless_packet, "it sent a packet of 4294967295 bytes, which adb does not"),
    ],
)
def test_a_phone_fills_no_memory(
    phone: Callable[..., Device],
    monkeypatch: pytest.MonkeyPatch,
    shell: Callable[[], Chunks],
    why: str,
) -> None:
    monkeypatch.setattr(adb_shell, "MOST_BYTES", 1 << 20)

    def says(asked: str) -> Chunks:
        return iter([packet(EXIT, b"\1")]) if "command -v" in asked else shell()

    device = phone(says=says)
    assert why in refused(lambda: reached(device))


def test_an_agent_that_writes_without_end_is_given_up(
    phone: Callable[..., Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adb_shell, "MOST_BYTES", 1 << 20)
    phone(says=lambda _: flood())
    link = linked()
    channel = link.start("agent")
    with pytest.raises(ChannelClosed, match="more than 1 MB"):
        channel.receive(20)
    link.close()


def test_why_a_file_is_not_taken_is_short_and_printable(
    phone: Callable[..., Device], tmp_path: Path
) -> None:
    phone()
    path = tmp_path / "file"
    path.write_bytes(b"")
    link = linked()
    with pytest.raises(CaseError) as caught:
        sync.send(link, path, "/x", lambda *_: None)
    link.close()
    assert str(caught.value).isprintable() and "\\x1b[2Jno" in str(caught.value)


def test_brackets_in_a_phones_name_are_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "Pixel [/9] Pro [red] :skull:"
    facts = {"model": name, "machine": "aarch64", "system": "Linux 6.1", "versions": {}}
    facts |= {"clusters": [{"cpus": [0]}], "free_bytes": 1 << 30}
    board = contextlib.nullcontext(
        SimpleNamespace(look=lambda: facts, lacks=["numpy"], is_busy=False, brings_python=False)
    )
    monkeypatch.setattr(device_actions, "open_board", lambda *_: board)
    runner = CliRunner()
    assert runner.invoke(app, ["device", "add", "odd", URL]).exit_code == 0
    checked = runner.invoke(app, ["device", "check", "odd"])
    assert f"model          {name}\n" in checked.output
    listed = runner.invoke(app, ["device", "list"])
    assert listed.exit_code == 0 and name in listed.output
