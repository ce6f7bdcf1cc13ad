"""`benchbox run` on two devices: this machine, and this machine behind an sshd."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from benchbox import records
from benchbox.records import Run
from tests.board import Board
from tests.helpers.command import BENCHBOX, FOREVER, MEASURED, benchbox, invoke, rows, start

WriteOnnx = Callable[..., Path]
LONG_S = 60.0  # for something that happens at once, on a machine that may be busy

SHORT = ("--quick", "--precision", "90%", "--max-time", "2s")
BOTH = ("-d", "cpu", "-d", "box")
FILES = ".cache/benchbox/files"

pytestmark = pytest.mark.slow


@pytest.fixture
def box(ssh_board: Board, reach: Callable[[Board], None], write_onnx: WriteOnnx) -> Board:
    """A board registered as `box`, and the graphs a.onnx and b.onnx in the current folder."""
    reach(ssh_board)
    for name, n in (("a", 24), ("b", 32)):
        write_onnx(name, f"{name} (float[{n},{n}] x) => (float[{n},{n}] y) {{ y = MatMul(x, x) }}")
    assert invoke("device", "add", "box", "ssh://board").exit_code == 0
    return ssh_board


def newest(device: str) -> Run:
    return records.read(max(Path("results", device).glob("*.jsonl")))


def file_of(run: Run) -> dict[str, str]:
    return {record.case: record.status for record in records.read(run.path).records}


@contextlib.contextmanager
def silent_host() -> Iterator[str]:
    """An address where connections are accepted and nobody ever says anything."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"ssh://root@127.0.0.1:{listening.getsockname()[1]}"


def closed_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"ssh://root@127.0.0.1:{taken.getsockname()[1]}"


def wait_for(process: subprocess.Popen[str], is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG_S
    while not is_so():
        if time.monotonic() > deadline or process.poll() is not None:
            process.kill()
            raise AssertionError(f"nothing happens: {process.communicate()}")
        time.sleep(0.05)


def works(pid: int, text: str) -> bool:
    """Whether a process below another has `text` in its command line and worked a while."""
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if text in " ".join(child.cmdline()) and child.cpu_times().user > 1.5:
                return True
    return False


def test_a_device_without_a_run_begins_one_beside_a_resumed_one_in_the_order_asked_for(
    box: Board,
) -> None:
    assert box
    nothing = invoke("run", "a.onnx", "b.onnx", *BOTH, *SHORT, "--resume")
    assert nothing.exit_code == 2
    assert nothing.stderr.count("holds no run of a.onnx+b.onnx; run it first") == 2
    assert invoke("run", "a.onnx", "b.onnx", *SHORT).exit_code == 0
    path = newest("cpu").path
    devices = ("-d", "box", "-d", "cpu")
    result = invoke(
        "run", "a.onnx", "b.onnx", *devices, *SHORT, "--resume", "--export-csv", "t.csv"
    )
    assert result.exit_code == 0, result.output
    assert newest("cpu").path == path
    headers = [line for line in result.stdout.splitlines() if line.startswith("case ")]
    assert len(headers) == 2  # a table for each file
    assert all(0 < header.index("box (ms)") < header.index("cpu (ms)") for header in headers)
    assert "()" not in result.stdout
    found = rows(Path("t.csv").read_text())
    places = [(row["device"], row["case"]) for row in found]
    assert places == [("box", "a"), ("box", "b"), ("cpu", "a"), ("cpu", "b")]
    assert {row["status"] for row in found} <= MEASURED
    said = result.stderr.splitlines()
    assert any(line.startswith("box [2/2] ") for line in said)
    assert all(f"Records: {newest(name).path}" in said for name in ("box", "cpu"))
    graphs = [[r.graph and r.graph["sha256"] for r in newest(n).records] for n in ("cpu", "box")]
    assert graphs[0] == graphs[1]
    reported = invoke("report", *(str(newest(name).path) for name in ("box", "cpu")))
    assert reported.stdout == result.stdout


@pytest.mark.usefixtures("in_tmp")
def test_devices_that_are_unknown_or_named_twice_are_refused(write_onnx: WriteOnnx) -> None:
    write_onnx("a")
    for name in ("cpu", "ssh://board"):
        result = invoke("run", "a.onnx", "-d", name, "-d", name)
        assert result.exit_code == 2
        assert result.stderr.endswith(": given twice\n")
    Path("benchbox.toml").write_text('[run]\ndevice = ["cpu", "toaster"]\n')
    result = invoke("run", "a.onnx", *SHORT)
    assert result.exit_code == 6
    assert result.stderr.startswith("Error: unknown device 'toaster'; ")


@pytest.mark.usefixtures("home")
def test_each_host_that_refuses_is_reported_once_and_the_other_device_has_its_table(
    write_onnx: WriteOnnx,
) -> None:
    write_onnx("a")
    port = closed_port().rpartition(":")[2]
    names = [f"ssh://root@127.0.0.1:{port}", "cpu", f"ssh://someone@localhost:{port}"]
    devices = [word for name in names for word in ("-d", name)]
    result = invoke("run", "a.onnx", *devices, *SHORT, "--export-csv", "t.csv")
    assert result.exit_code == 6
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 2, result.stderr
    assert all("refuses connections at port" in error for error in errors)
    assert "Records: results/cpu/" in result.stderr
    assert "p50 (ms)" in result.stdout
    assert {row["status"] for row in rows(Path("t.csv").read_text())} <= MEASURED


def test_an_interrupted_run_is_kept_on_both_devices_and_both_go_on(box: Board) -> None:
    process = start("run", "a.onnx", "b.onnx", *BOTH, *FOREVER)
    wait_for(process, lambda: works(process.pid, "benchbox.agent") and works(box.pid, FILES))
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=LONG_S)
    assert process.returncode == 130, stderr
    assert stderr.count("`--resume` goes on from here") == 1
    assert "cpu (ms)" in stdout
    assert "Traceback" not in stderr
    before = {}
    for name in ("cpu", "box"):
        run = newest(name)
        assert {record.status for record in run.records} == {"imprecise"}
        assert all(record.reason.startswith("interrupted") for record in run.records)
        before[name] = (run.path, [len(record.bursts) for record in run.records])
        assert all(before[name][1])
    more = (*SHORT, "--max-time", "30s", "--resume", "--export-csv", "-")
    resumed = benchbox("run", "a.onnx", "b.onnx", *more, BENCHBOX_DEVICE="cpu box")
    assert resumed.returncode == 0, resumed.stderr
    assert [row["device"] for row in rows(resumed.stdout)] == ["cpu", "cpu", "box", "box"]
    for name, (path, counts) in before.items():
        run = newest(name)
        assert run.path == path
        assert {record.status for record in run.records} <= MEASURED
        assert all(len(r.bursts) > n for r, n in zip(run.records, counts, strict=True))
    assert not box.agents()


def test_a_second_ctrl_c_says_where_what_was_measured_is(box: Board) -> None:
    """The board's agent is stuck, so that the first one cannot end what it is at."""
    process = start("run", "a.onnx", *BOTH, *FOREVER)
    wait_for(process, lambda: works(process.pid, "benchbox.agent") and works(box.pid, FILES))
    for pid in box.agents():
        box.kill(pid, signal.SIGSTOP)
    assert process.stderr is not None
    os.killpg(process.pid, signal.SIGINT)
    for line in process.stderr:
        if line.startswith("cpu [1/1] "):
            break
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=LONG_S)
    assert process.returncode == 130, stderr
    kept = [f"Records so far: {newest(name).path}" for name in ("cpu", "box")]
    assert stderr.splitlines()[-3:] == [*kept, "Interrupted; `--resume` goes on from here."]
    assert [record.status for record in newest("cpu").records] == ["imprecise"]
    deadline = time.monotonic() + LONG_S
    while box.agents() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not box.agents()


def test_a_host_that_says_nothing_does_not_keep_the_others_from_being_timed(box: Board) -> None:
    assert box
    # 15 s take long here
    hasty = "from benchbox.transports.ssh import connection; connection.CONNECT_S = 2"
    program = [sys.executable, "-c", f"{hasty}; from benchbox.cli import main; main()"]
    with silent_host() as url:
        process = start("run", "a.onnx", "-d", "cpu", "-d", url, *FOREVER, program=program)
        wait_for(process, lambda: works(process.pid, "benchbox.agent"))
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=LONG_S)
    assert process.returncode == 130, stderr
    assert "does not answer at port" in stderr
    assert stderr.endswith("Interrupted; `--resume` goes on from here.\n")
    (record,) = newest("cpu").records
    assert record.bursts


def test_a_reader_that_leaves_ends_a_run_on_two_devices_quietly(box: Board) -> None:
    assert box
    command = f"{' '.join(BENCHBOX)} run a.onnx {' '.join([*BOTH, *SHORT])} | head -c 1"
    done = subprocess.run(
        ["/bin/bash", "-c", f"set -o pipefail; {command}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * LONG_S,
    )
    assert "Traceback" not in done.stderr
    assert len(done.stdout) == 1
    assert set(file_of(newest("box")).values()) <= MEASURED
