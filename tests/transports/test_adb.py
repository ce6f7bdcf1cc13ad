"""Phones: a real adbd with Android's shell behind it, and an adb that says what one may hear."""

import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchbox.devices import CPU_PROVIDER, Device
from benchbox.errors import DeviceError
from benchbox.transports import open_agent, open_target
from benchbox.transports.adb import link, program
from benchbox.transports.board import target
from tests import board
from tests.board.running import free_port
from tests.helpers.on_boards import benchbox, graphs, lose_and_resume
from tests.transports.conftest import Remote

__all__ = ["graphs"]  # fixture
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("home", "graphs")]


def test_a_run_whose_phone_is_lost_is_kept_and_resumed(
    there: "board.Phone", monkeypatch: pytest.MonkeyPatch
) -> None:
    benchbox("device", "add", "phone", there.url, "--python", sys.executable)
    reasons, text = lose_and_resume(there.end_adbd, there.start_adbd, monkeypatch, "phone")
    assert "lost, and it cannot be reached again (not reachable)" in reasons[0], reasons
    assert reasons[1].startswith("the agent is gone: the link to the device is lost"), reasons
    assert there.serial not in text and there.host not in text


def test_a_slow_network_is_no_lost_phone(
    over_adb: Remote, there: "board.Phone", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers to signs of life wait behind what is sent for longer than they may take."""
    monkeypatch.setattr(link, "MISSED_S", 1.0)
    big = tmp_path / "big.onnx"
    big.write_bytes(bytes(150_000))
    with open_target(over_adb.device) as opened:
        there.slow(256)
        try:
            opened.push({"big": big})
        finally:
            there.slow(None)
        assert opened.push({}) == {}


# a phone that cannot be used: one line each


ADB = """\
#!/bin/sh
case "$*" in
  start-server) exit 0 ;;
  devices) echo "List of devices attached"; cat "$0.attached" ;;
  *features) cat "$0.features" ;;
  *connect*) echo "$*" >> "$0.asked" ;;
esac
"""


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return the refusal of adb://R58 where adb says that these phones are attached."""
    adb = tmp_path / "bin/adb"
    adb.parent.mkdir()
    adb.write_text(ADB)
    adb.chmod(0o755)
    monkeypatch.setenv("PATH", f"{adb.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(program, "SETTLE_S", 0.3)

    def refused(attached: str, features: str = "", serial: str = "R58") -> str:
        Path(f"{adb}.attached").write_text(attached)
        Path(f"{adb}.features").write_text(features)
        return refusal(f"adb://{serial}")

    return refused


def refusal(url: str) -> str:
    with pytest.raises(DeviceError) as caught:
        open_agent(Device("phone", CPU_PROVIDER, 1, "arm", (), url))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("attached", "sentence"),
    [
        (
            "A1\tdevice\nB2\tunauthorized\n",
            "device 'phone': no phone R58 is attached, attached: A1 (device), B2 (unauthorized); "
            "plug it in and switch on USB debugging",
        ),
        ("R58\tunauthorized\n", "it has not accepted this computer; unlock it, accept"),
        ("R58\toffline\n", "it is offline; unlock it, plug it in again"),
        ("R58\tno permissions (missing udev rules?); see [url]\n", "may not open its USB device"),
        ("R58\trecovery\n", "it is in the state 'recovery'; start it into Android"),
        ("R58\tdevice\n" * 2, "2 phones say that they are R58; unplug all but one"),
        ("R58\tdevice\n", "no shell_v2, which came with Android 7"),  # nor other features
    ],
)
def test_a_phone_that_cannot_be_used_says_what_to_do(
    says: Callable[..., str], attached: str, sentence: str
) -> None:
    assert sentence in says(attached, features="cmd\nstat_v2\n")


def test_a_phone_on_a_network_that_is_offline_is_connected_to_anew(
    says: Callable[..., str], tmp_path: Path
) -> None:
    phone = "10.0.0.1:5555"
    assert "it is offline" in says(f"{phone}\toffline\n", serial=phone)
    asked = (tmp_path / "bin/adb.asked").read_text()
    assert asked == f"disconnect {phone}\nconnect {phone}\n"


@pytest.mark.usefixtures("adb_server")
def test_a_phone_that_refuses_the_network_says_so() -> None:
    said = refusal(f"adb://127.0.0.1:{free_port()}")
    assert "Connection refused; is adb over the network switched on there?" in said


def test_without_an_adb_program_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adbutils", None)
    monkeypatch.setenv("PATH", "")
    assert refusal("adb://R58") == (
        "device 'phone': phones over adb need the adb program: put your own into PATH, or pip "
        "install 'benchbox[adb]'"
    )


def test_a_server_that_cannot_be_started_says_why(
    says: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "none is" in says("")
    Path(shutil.which("adb") or "").write_text("#!/bin/sh\necho hopeless >&2\nexit 1\n")
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(free_port()))
    said = refusal("adb://R58")
    assert "no adb server can be started at port" in said and "(hopeless)" in said


@pytest.mark.parametrize("port", ["adb", "70000", "٣"])
def test_a_port_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", port)
    assert f"ANDROID_ADB_SERVER_PORT={port!r}: write the number of a port" in refusal("adb://R58")


def test_what_is_no_adb_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("adbutils")
    monkeypatch.setattr(program, "REPLY_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(other.getsockname()[1]))
        assert "no adb server" in refusal("adb://R58")


def test_an_error_in_the_middle_of_a_run_names_no_serial_number(
    says: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "_reached", {"adb://R58"})
    assert says("") == "device 'phone': lost, and it cannot be reached again (not attached)"
    said = says("R58\toffline\n")
    assert said.startswith("device 'phone': lost, and it cannot be reached again (")
    assert "R58" not in said
