"""Phones: a real adbd with Android's shell behind it, and an adb that says what one may hear."""

import csv
import io
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from benchbox.cli import device_actions
from benchbox.cli.app import app
from benchbox.cli.progress import Live
from benchbox.devices import CPU_PROVIDER, Device
from benchbox.errors import DeviceError
from benchbox.specs import TensorSpec
from benchbox.transports import open_agent
from benchbox.transports.adb import program
from benchbox.transports.board import target
from tests import board
from tests.transports.conftest import Remote
from tests.transports.test_ssh_board import (
    EMULATED,
    ENDLESS,
    FIGURES,
    MEASURED,
    benchbox,
    by_case,
    newest,
    once,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("home")]
WriteOnnx = Callable[..., Path]
X = (TensorSpec("x", (32, 32)),)
SHORT = ("--quick", "--precision", "90%", "--max-time", "1s")


@pytest.fixture
def device(over_adb: Remote) -> Device:
    return over_adb.device


# the command


def add_phone(there: "board.Phone") -> None:
    added = benchbox("device", "add", "phone", there.url, "--python", sys.executable)
    assert added.exit_code == 0, added.output


def test_a_phone_is_added_checked_and_cleaned(there: "board.Phone") -> None:
    add_phone(there)
    checked = benchbox("device", "check", "phone")
    assert checked.exit_code == 0, checked.output
    assert checked.stdout.endswith("phone is ready\n")
    assert list((there.storage / "benchbox/files").iterdir())
    cleaned = benchbox("device", "check", "phone", "--clean")
    assert cleaned.exit_code == 0, cleaned.output
    assert "removed " in cleaned.stderr


@pytest.mark.parametrize("is_cable_out", [False, True])
def test_a_run_whose_phone_is_lost_is_kept_and_resumed(
    there: "board.Phone",
    write_onnx: WriteOnnx,
    monkeypatch: pytest.MonkeyPatch,
    is_cable_out: bool,
) -> None:
    for name in ("a", "b"):
        write_onnx(name)
    add_phone(there)
    with monkeypatch.context() as patched:
        lose = there.link_down if is_cable_out else there.end_adbd
        patched.setattr(Live, "measuring", once(lose))
        try:
            lost = benchbox("run", "a.onnx", "b.onnx", "-d", "phone", *ENDLESS)
        finally:
            there.link_up() if is_cable_out else there.start_adbd()
    assert lost.exit_code == 1, lost.output
    run = newest()
    assert {status for status, _ in by_case(run).values()} == {"failed"}
    reasons = sorted(reason for _, reason in by_case(run).values())
    assert "lost, and it cannot be reached again (not reachable)" in reasons[0], reasons
    assert reasons[1].startswith("the agent is gone: the link to the device is lost"), reasons
    before = {record.case: len(record.bursts) for record in run.records}
    longer = (*SHORT, "--max-time", "6s")
    resumed = benchbox("run", "a.onnx", "b.onnx", "-d", "phone", *longer, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert newest().path == run.path
    assert {status for status, _ in by_case(newest()).values()} <= MEASURED
    after = {record.case: len(record.bursts) for record in newest().records}
    assert all(after[case] > count for case, count in before.items()), (before, after)
    text = run.path.read_text()
    assert not [part for part in (there.serial, there.host) if part in text]


def test_a_slow_network_is_no_lost_phone(there: "board.Phone", write_onnx: WriteOnnx) -> None:
    """Answers to signs of life wait behind what is sent for longer than they may take."""
    path = write_onnx("big")
    model = onnx.load(path)
    weights = np.frombuffer(np.random.default_rng(0).bytes(400_000), dtype=np.uint8)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "unused"))
    onnx.save(model, path)
    add_phone(there)
    there.slow(256)
    try:
        result = benchbox("run", "big.onnx", "-d", "phone", *SHORT)
    finally:
        there.slow(None)
    assert result.exit_code == 0, result.output
    assert {status for status, _ in by_case(newest()).values()} <= MEASURED


def test_a_run_on_an_emulated_phone_keeps_what_it_times_in_its_record(
    emulated_phone: "board.Phone", adb_server: "board.AdbServer", write_onnx: WriteOnnx
) -> None:
    assert adb_server.port
    write_onnx("a")
    longer = (*SHORT[:-1], "4s")  # for a first burst, on a machine that does other things
    arguments = ("run", "a.onnx", "-d", emulated_phone.url, *longer, "--allow-emulated")
    result = benchbox(*arguments, "--export-csv", "-")
    assert result.exit_code == 0, result.output
    (row,) = csv.DictReader(io.StringIO(result.stdout))
    assert (row["status"], row["reason"]) == ("skipped", EMULATED)
    assert re.fullmatch(r"adb-[0-9a-f]{6}", row["device"])
    assert [row[name] for name in FIGURES] == [""] * len(FIGURES)
    run = newest()
    assert (run.context.host["machine"], run.context.host["emulated"]) == ("aarch64", "qemu-user")
    assert run.records[0].bursts
    text = run.path.read_text()
    assert not [part for part in (emulated_phone.serial, emulated_phone.host) if part in text]


def test_brackets_in_a_phones_name_are_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "Pixel [/9] Pro [red] :skull:"
    facts = {"model": name, "machine": "aarch64", "system": "Linux 6.1", "versions": {}}
    facts |= {"clusters": [{"cpus": [0]}], "free_bytes": 1 << 30}
    found = SimpleNamespace(lacks=["numpy"], is_busy=False, brings_python=False)
    monkeypatch.setattr(device_actions, "open_target", lambda *_: nullcontext(found))
    monkeypatch.setattr(device_actions.setup, "facts", lambda _: facts)
    runner = CliRunner()
    assert runner.invoke(app, ["device", "add", "odd", "adb://odd"]).exit_code == 0
    checked = runner.invoke(app, ["device", "check", "odd"])
    assert f"model          {name}\n" in checked.output
    listed = runner.invoke(app, ["device", "list"])
    assert listed.exit_code == 0 and name in listed.output


# a phone that cannot be used: one line each


ADB = """\
#!/bin/sh
case "$*" in
  start-server) exit 0 ;;
  devices) echo "List of devices attached"; cat "$0.attached" ;;
  *features) cat "$0.features" ;;
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

    def refused(attached: str, features: str = "") -> str:
        Path(f"{adb}.attached").write_text(attached)
        Path(f"{adb}.features").write_text(features)
        return refusal("adb://R58")

    return refused


def refusal(url: str) -> str:
    with pytest.raises(DeviceError) as caught:
        open_agent(Device("phone", CPU_PROVIDER, 1, "arm", (), url))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_unknown_serial_number_is_answered_with_those_attached(
    says: Callable[..., str],
) -> None:
    assert says("A1\tdevice\nB2\tunauthorized\n") == (
        "device 'phone': no phone R58 is attached, attached: A1 (device), B2 (unauthorized); "
        "plug it in and switch on USB debugging"
    )
    assert "no phone R58 is attached, none is; plug it in" in says("")


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ("unauthorized", "it has not accepted this computer; unlock it, accept"),
        ("offline", "it is offline; unlock it, plug it in again"),
        ("no permissions (missing udev rules?); see [url]", "may not open its USB device"),
        ("recovery", "it is in the state 'recovery'; start it into Android"),
    ],
)
def test_a_phone_in_another_state_says_what_to_do(
    says: Callable[..., str], state: str, sentence: str
) -> None:
    assert sentence in says(f"R58\t{state}\n")


def test_two_phones_of_one_serial_number_are_not_guessed_between(says: Callable[..., str]) -> None:
    said = says("R58\tdevice\nR58\tdevice\n")
    assert "2 phones say that they are R58; unplug all but one" in said


def test_a_phone_without_the_shell_protocol_is_too_old(says: Callable[..., str]) -> None:
    said = says("R58\tdevice\n", features="cmd\nstat_v2\n")
    assert "no shell_v2, which came with Android 7" in said and "ssh://user@phone:8022" in said


@pytest.mark.usefixtures("adb_server")
def test_a_phone_that_refuses_the_network_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        said = refusal(f"adb://127.0.0.1:{taken.getsockname()[1]}")
    assert "Connection refused; is adb over the network switched on there?" in said


def test_without_an_adb_program_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adbutils", None)
    monkeypatch.setenv("PATH", "")
    assert refusal("adb://R58") == (
        "device 'phone': phones over adb need the adb program: put your own into PATH, or pip "
        "install 'benchbox[adb]'"
    )


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def test_a_server_that_cannot_be_started_says_why(
    says: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "none is" in says("")
    Path(shutil.which("adb") or "").write_text("#!/bin/sh\necho hopeless >&2\nexit 1\n")
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(free_port()))
    said = refusal("adb://R58")
    assert "no adb server can be started at port" in said and "(hopeless)" in said


def test_a_server_is_started_where_there_is_none(
    boards: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert boards
    port = free_port()
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
    monkeypatch.setenv("HOME", str(tmp_path))
    try:
        assert "no phone R58 is attached" in refusal("adb://R58")
    finally:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            line = path.read_bytes() if path.exists() else b""
            if f"tcp:{port}".encode() in line and b"fork-server" in line:
                os.kill(int(path.parent.name), signal.SIGKILL)


@pytest.mark.parametrize("port", ["adb", "0", "70000", "٣"])
def test_a_port_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", port)
    assert f"ANDROID_ADB_SERVER_PORT={port!r}: write the number of a port" in refusal("adb://R58")


def test_what_is_no_adb_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("adbutils")
    monkeypatch.setattr(program, "REPLY_S", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(other.getsockname()[1]))
        assert "no adb server" in refusal("adb://R58")


def test_an_error_in_the_middle_of_a_run_names_no_serial_number(
    says: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "_reached", {"adb://R58"})
    assert says("") == ("device 'phone': lost, and it cannot be reached again (not attached)")
    said = says("R58\toffline\n")
    assert said.startswith("device 'phone': lost, and it cannot be reached again (")
    assert "R58" not in said
