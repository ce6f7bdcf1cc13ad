"""Phones: a real adbd with Android's shell behind it, and servers that say what one may hear."""

import csv
import io
import os
import re
import signal
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner, Result

from benchbox import records
from benchbox.cli.app import app
from benchbox.cli.progress import Live
from benchbox.devices import CPU_PROVIDER, Device
from benchbox.errors import AgentError, CaseError, DeviceError
from benchbox.records import Run
from benchbox.sampling.sampler import Sampler
from benchbox.specs import TensorSpec
from benchbox.transports import open_agent, open_board
from benchbox.transports.adb import connect, phone
from benchbox.transports.adb import server as adb_server
from benchbox.transports.adb.phone import Phone
from benchbox.transports.adb.shell import AdbLink
from benchbox.transports.board import board as board_board
from benchbox.transports.board.commands import shell
from benchbox.transports.channel import ChannelClosed, Timeout
from tests import board
from tests.helpers import sent

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("user")]
WriteOnnx = Callable[..., Path]
X = (TensorSpec("x", (32, 32)),)
MEASURED = {"ok", "imprecise"}  # which of the two is for the machine to say: it may be busy
SHORT = ("--quick", "--precision", "90%", "--max-time", "1s")
ENDLESS = ("--quick", "--precision", "0.0001%", "--max-time", "60s")
EMULATED = "emulated (qemu-user): a figure taken here is no latency"
FIGURES = ("latency_p50_ms", "latency_ci_low_ms", "latency_p90_ms", "images_per_s", "samples")
FILES = "/data/local/tmp/benchbox/files"


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user whom no phone has met."""
    monkeypatch.setenv("BENCHBOX_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setattr(board_board, "_reached", set())
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def there(host_phone: "board.Phone", adb_server: "board.AdbServer") -> "board.Phone":
    """A phone that is switched on, with nothing kept on it."""
    assert adb_server.port
    host_phone.start_adbd()
    host_phone.run("rm", "-rf", f"/run/root{phone.FOLDER}")
    return host_phone


@pytest.fixture
def device(there: "board.Phone") -> Device:
    """The phone, whose Python its user has named."""
    return Device("phone", CPU_PROVIDER, 1, "arm", (), there.url, sys.executable)


@pytest.fixture
def link(device: Device) -> Iterator[AdbLink]:
    connected = connect.connect(device)
    yield connected
    connected.close()


def benchbox(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, prog_name="benchbox")


def newest() -> Run:
    return records.read(max(Path("results").glob("*/*.jsonl")))


def by_case(run: Run) -> dict[str, tuple[str, str]]:
    return {record.case: (record.status, record.reason) for record in run.records}


def once(act: Callable[[], object]) -> Callable[[Live, Sampler], None]:
    """Return what does something as soon as every case has samples, in place of Live.measuring."""
    done: list[bool] = []

    def measuring(_: Live, sampler: Sampler) -> None:
        if not done and all(len(case.bursts) > 2 for case in sampler.cases.values()):
            done.append(True)
            act()

    return measuring


def wait_for(what: Callable[[], bool], seconds: float = 8.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(0.05)
    return False


# processes over the shell protocol


def test_output_errors_and_the_code_come_apart(link: AdbLink) -> None:
    channel = link.start(shell("echo out; echo first >&2; echo why >&2; exit 7"))
    assert channel.wait(10) == 7
    assert (channel.output(), channel.stderr_tail()) == (b"out\n", "first\nwhy")
    assert channel.epitaph() == "it ended with code 7 (why)"
    with pytest.raises(ChannelClosed, match="code 7"):
        channel.send({})


def test_a_signal_is_told_from_a_code(link: AdbLink) -> None:
    channel = link.start(shell("kill -9 $$"))
    channel.wait(10)
    assert channel.epitaph() == "it was ended by SIGKILL, as a system out of memory does"


def test_megabytes_come_back_as_they_were_sent(link: AdbLink) -> None:
    """The process answers while it is still written to: neither side may wait for the other."""
    data = os.urandom(12_000_000)
    channel = link.start(shell("cat"))
    channel.write(data)
    channel.close()
    assert channel.wait(30) == 0
    assert channel.output() == data


def test_no_answer_is_a_timeout_and_no_end(link: AdbLink) -> None:
    channel = link.start(shell("cat"))
    with pytest.raises(Timeout):
        channel.receive(0.2)
    channel.send({"still": "there"})
    assert channel.receive(10) == {"still": "there"}


def test_what_is_no_message_says_so(link: AdbLink) -> None:
    with pytest.raises(ChannelClosed, match="something else than JSON lines: b'Welcome"):
        link.start(shell("echo Welcome")).receive(10)


# an agent on a phone


def test_a_graph_is_timed_on_a_phone_and_nothing_is_sent_twice(
    there: "board.Phone", device: Device, write_onnx: WriteOnnx
) -> None:
    def sent() -> dict[str, int]:
        return {p.name: p.stat().st_ino for p in (there.storage / "benchbox/files").iterdir()}

    kept = []
    for _ in range(2):
        with open_agent(device) as agent:
            agent.load("g", str(write_onnx()), X, 0)
            (timed,) = agent.time([("g", 5)], [0.1])
            assert len(timed.latencies_ns) == 5
        kept.append(sent())
    assert kept[0] == kept[1]
    assert {Path(name).suffix for name in kept[0]} == {".onnx", ".pyz"}
    assert wait_for(lambda: not there.pids(FILES))


def test_an_agent_that_is_stuck_does_not_outlive_its_link(
    there: "board.Phone", device: Device
) -> None:
    agent = open_agent(device)
    (pid,) = there.pids(FILES)
    there.kill(pid, signal.SIGSTOP)  # it sees no end of its input
    agent.close()
    assert wait_for(lambda: not there.pids(FILES))


def test_a_killed_agent_is_told_from_a_lost_link(there: "board.Phone", device: Device) -> None:
    with open_agent(device) as agent:
        (pid,) = there.pids(FILES)
        there.kill(pid)
        with pytest.raises(AgentError, match="ended by SIGKILL, as a system out of memory does"):
            agent.look(0, 0.1)


def test_a_phone_that_is_gone_is_told_as_a_lost_link(there: "board.Phone", device: Device) -> None:
    with open_agent(device) as agent:
        there.end_adbd()
        with pytest.raises(AgentError, match="the link to the device is lost"):
            agent.look(0, 0.1)


def test_pings_keep_the_keeper(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_board, "PING_S", 0.1)
    sent.change(monkeypatch, "remote_keeper.py", "SILENCE_S = 30.0", "SILENCE_S = 0.6")
    with open_board(device) as opened:
        time.sleep(1.2)
        assert opened.push({}) == {}


def test_no_thread_is_left(device: Device) -> None:
    before = set(threading.enumerate())
    for _ in range(2):
        open_board(device).close()
    assert set(threading.enumerate()) == before


def test_the_shell_and_the_keeper_agree_on_the_folder(link: AdbLink, device: Device) -> None:
    """At home where that can be written, else in /data/local/tmp."""
    for home, folder in (
        ("/storage", "/data/local/tmp/benchbox"),
        ("/tmp", "/tmp/.cache/benchbox"),  # noqa: S108 - the phone's own
    ):
        found = link.start(shell(f'HOME={home}; {board_board.commands.FOLDER}; echo "$folder"'))
        found.wait(10)
        line = board_board.commands.program(device.python)
        keeper = link.start(f"export HOME={home}; {line}")
        keeper.write(board_board.commands.script("remote_keeper.py"))
        keeper.send({"op": "hello"})
        assert keeper.receive(20)["folder"] == folder == found.output().decode().strip()


@pytest.mark.parametrize("python", ["$(touch /tmp/hit)", "a'; touch /tmp/hit; '", "~/x; touch hit"])
def test_the_path_of_python_is_never_run_as_a_command(there: "board.Phone", python: str) -> None:
    again = rf"name one with: benchbox device add NAME {there.url} --python PATH, or run Termux"
    with pytest.raises(DeviceError, match=rf"no .* there; {again}"):
        open_agent(Device("phone", CPU_PROVIDER, 1, "arm", (), there.url, python))
    assert not (there.root / "tmp/hit").exists()
    assert not (there.root / "hit").exists()


@pytest.fixture
def pythonless(there: "board.Phone") -> Device:
    """The phone, on which nobody has named a Python."""
    return Device("phone", CPU_PROVIDER, 1, "arm", (), there.url)


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
    resumed = benchbox("run", "a.onnx", "b.onnx", "-d", "phone", *SHORT, "--resume")
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


# a phone without Python keeps files, too


@pytest.fixture
def bare(device: Device) -> Iterator[Phone]:
    with Phone(device, connect.connect(device)) as opened:
        yield opened


def test_files_are_kept_by_their_hash_and_not_sent_again(
    bare: Phone, there: "board.Phone", tmp_path: Path
) -> None:
    files = {name: tmp_path / name for name in ("big.onnx", "two words.bin", "empty")}
    for name, path in files.items():
        path.write_bytes(os.urandom(3_000_001) if name == "big.onnx" else name.encode()[:9])
    files["empty"].write_bytes(b"")
    kept = bare.push(files)
    folder = there.storage / "benchbox/files"
    for name, path in files.items():
        assert (folder / kept[name]).read_bytes() == path.read_bytes()
    before = {path.name: path.stat().st_ino for path in folder.iterdir()}
    assert bare.push(files) == kept
    assert {path.name: path.stat().st_ino for path in folder.iterdir()} == before
    assert list((there.storage / "benchbox/run").iterdir()) == []


def test_a_file_that_arrives_broken_is_not_kept(
    bare: Phone, there: "board.Phone", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.onnx").write_bytes(b"abc")
    monkeypatch.setattr(phone, "digest", lambda _: "0" * 64)
    with pytest.raises(CaseError, match="on the device: a file arrived broken; run it again"):
        bare.push({"x": tmp_path / "x.onnx"})
    assert not list((there.storage / "benchbox/files").iterdir())
    assert not list((there.storage / "benchbox/run").iterdir())


def test_a_file_whose_sending_is_interrupted_leaves_nothing_there(
    device: Device, there: "board.Phone", tmp_path: Path
) -> None:
    (tmp_path / "x.onnx").write_bytes(os.urandom(3_000_000))
    folder = there.storage / "benchbox/run"

    def sending(_name: str, sent: int, _size: int | None) -> None:
        if sent > 1_000_000:
            assert wait_for(lambda: bool(list(folder.iterdir())))
            raise KeyboardInterrupt

    with Phone(device, connect.connect(device), sending) as bare:
        with pytest.raises(KeyboardInterrupt):
            bare.push({"x": tmp_path / "x.onnx"})
        assert list(folder.iterdir()) == []


def test_what_a_killed_program_has_left_is_removed_before_the_next_one_times(
    pythonless: Device, there: "board.Phone"
) -> None:
    with Phone(pythonless, connect.connect(pythonless)) as reached:
        folder = there.storage / "benchbox/run"
        for name in ("new-1", "agent-1", "part-1"):
            (folder / name).write_text("1")
        reached.hold()
        assert [path.name for path in folder.iterdir()] == ["part-1"]


def test_a_file_that_changed_on_the_phone_is_sent_anew(
    bare: Phone, there: "board.Phone", tmp_path: Path
) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(b"abc")
    name, folder = bare.push({"x": path})["x"], bare.gather({"one/x": path})
    kept, made = there.storage / "benchbox/files" / name, there.root / folder[1:] / "one/x"
    kept.write_bytes(b"abd")
    assert bare.push({"x": path}) == {"x": name}
    assert kept.read_bytes() == b"abc"
    made.write_bytes(b"abd")
    assert bare.gather({"one/x": path}) == folder
    assert made.read_bytes() == kept.read_bytes() == b"abc"


def test_a_phone_without_room_is_the_cases_error(
    bare: Phone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.onnx").write_bytes(b"abc")
    monkeypatch.setattr(phone, "SPARE_BYTES", 1 << 60)
    with pytest.raises(CaseError, match=r"on the device: no space left there: \d+ MB needed"):
        bare.place(str(tmp_path / "x.onnx"))


def test_what_was_unused_for_longest_makes_room_on_a_phone(
    bare: Phone, there: "board.Phone", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phone, "MOST_BYTES", 2500)
    kept = []
    for age, letter in enumerate("abc"):
        path = tmp_path / f"{letter}.onnx"
        path.write_bytes(letter.encode() * 1000)
        kept.append(bare.push({"x": path})["x"])
        used = time.time() - 1000 + age * 10
        os.utime(there.storage / "benchbox/files" / kept[-1], (used, used))
    assert {path.name for path in (there.storage / "benchbox/files").iterdir()} == set(kept[1:])


def test_a_folder_of_files_has_their_own_names(
    bare: Phone, there: "board.Phone", tmp_path: Path
) -> None:
    names = ("runner", "it's; touch hit", "below/one.bin")
    files = {name: tmp_path / f"{index}" for index, name in enumerate(names)}
    for name, path in files.items():
        path.write_text(name)
    folder = bare.gather(files)
    assert bare.gather(files) == folder
    for name in names:
        assert (there.root / folder.lstrip("/") / name).read_text() == name
    assert not (there.root / "hit").exists()
    assert bare.clean() > 0
    assert list((there.storage / "benchbox").iterdir()) == []


def test_a_program_is_started_there_and_ends_with_the_phone(
    device: Device, there: "board.Phone"
) -> None:
    with Phone(device, connect.connect(device)) as bare:
        channel = bare.start(["/apex/bin/sh", "-c", 'echo "{\\"a\\": \\"$A\\"}"'], {"A": "b 'c"})
        assert channel.receive(10) == {"a": "b 'c"}
        bare.start(["/apex/bin/sleep", "1000"])
        assert wait_for(lambda: bool(there.pids("sleep 1000")))
    assert wait_for(lambda: there.pids("sleep 1000") == [])
    assert list((there.storage / "benchbox/run").iterdir()) == []


# a phone that cannot be used: one line each


class Scripted(socketserver.ThreadingTCPServer):
    """An adb server that has answers to some questions, and refuses all others."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers
        super().__init__(("127.0.0.1", 0), Speaking)


class Speaking(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        asked = self.rfile.read(int(self.rfile.read(4) or b"0", 16)).decode()
        answers = self.server.answers  # type: ignore[attr-defined]
        text = answers.get(asked, f"unknown: {asked}").encode()
        status = b"OKAY" if asked in answers else b"FAIL"
        self.wfile.write(status + b"%04x" % len(text) + text)


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Return the refusal of adb://R58 by a server that says these phones are attached."""
    pytest.importorskip("adbutils")
    running: list[Scripted] = []
    monkeypatch.setattr(adb_server, "SETTLE_S", 0.3)

    def refused(attached: str, **more: str) -> str:
        features = {"host-serial:R58:features": more.get("features", "")}
        told = {"host:version": "0029", "host:devices": attached, **features}
        running.append(Scripted(told))
        threading.Thread(target=running[-1].serve_forever, daemon=True).start()
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(running[-1].server_address[1]))
        return refusal("adb://R58")

    yield refused
    for server in running:
        server.shutdown()
        server.server_close()


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
    said = says("R58\tdevice\n", features="cmd,stat_v2")
    assert "no shell_v2, which came with Android 7" in said and "ssh://user@phone:8022" in said


@pytest.mark.usefixtures("adb_server")
def test_a_phone_that_refuses_the_network_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        said = refusal(f"adb://127.0.0.1:{taken.getsockname()[1]}")
    assert "Connection refused; is adb over the network switched on there?" in said


def test_without_adbutils_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adbutils", None)
    assert refusal("adb://R58") == (
        "device 'phone': phones over adb need adbutils: pip install 'benchbox[adb]'"
    )


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def test_a_server_that_cannot_be_started_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("adbutils")
    broken = tmp_path / "adb"
    broken.write_text("#!/bin/sh\necho hopeless >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("ADBUTILS_ADB_PATH", str(broken))
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

    class Other(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"SSH-2.0-x\r\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.server_address[1]))
        assert "no adb server" in refusal("adb://R58")
        server.shutdown()


def test_an_error_in_the_middle_of_a_run_names_no_serial_number(
    says: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_board, "_reached", {"adb://R58"})
    assert says("") == ("device 'phone': lost, and it cannot be reached again (not attached)")
    said = says("R58\toffline\n")
    assert said.startswith("device 'phone': lost, and it cannot be reached again (")
    assert "R58" not in said
