"""`benchbox run` on two devices: this machine, and this machine behind an sshd."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.board import Board
from tests.helpers.command import FOREVER, MEASURED, invoke, rows, start
from tests.helpers.on_boards import benchbox, bursts, graphs, newest

LONG_S = 60.0  # for something that happens at once, on a machine that may be busy
SHORT = ("--quick", "--precision", "90%", "--max-time", "2s")
BOTH = ("-d", "cpu", "-d", "box")
FILES = ".cache/benchbox/files"
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("home", "graphs")]
__all__ = ["graphs"]  # fixture


@pytest.fixture
def box(ssh_board: Board, reach: Callable[[Board], None]) -> Board:
    """A board registered as `box`."""
    reach(ssh_board)
    benchbox("device", "add", "box", "ssh://board")
    return ssh_board


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


@pytest.mark.usefixtures("box")
def test_a_device_without_a_run_begins_one_beside_a_resumed_one_in_the_order_asked_for() -> None:
    nothing = invoke("run", "a.onnx", "b.onnx", *BOTH, *SHORT, "--resume")
    assert nothing.exit_code == 2
    assert nothing.stderr.count("holds no run of a.onnx+b.onnx; run it first") == 2
    assert invoke("run", "a.onnx", "b.onnx", *SHORT).exit_code == 0
    path = newest("cpu").path
    more = ("-d", "box", "-d", "cpu", *SHORT, "--resume", "--export-csv", "t.csv")
    result = invoke("run", "a.onnx", "b.onnx", *more)
    assert result.exit_code == 0, result.output
    assert newest("cpu").path == path
    headers = [line for line in result.stdout.splitlines() if line.startswith("case ")]
    assert len(headers) == 2  # a table for each file
    assert all(0 < header.index("box (ms)") < header.index("cpu (ms)") for header in headers)
    found = rows(Path("t.csv").read_text())
    places = [(row["device"], row["case"]) for row in found]
    assert places == [("box", "a"), ("box", "b"), ("cpu", "a"), ("cpu", "b")]
    assert {row["status"] for row in found} <= MEASURED
    printed = result.stderr.splitlines()
    assert any(line.startswith("box [2/2] ") for line in printed)
    assert all(f"Records: {newest(name).path}" in printed for name in ("box", "cpu"))
    graphs = [[r.graph and r.graph["sha256"] for r in newest(n).records] for n in ("cpu", "box")]
    assert graphs[0] == graphs[1]
    reported = invoke("report", *(str(newest(name).path) for name in ("box", "cpu")))
    assert reported.stdout == result.stdout


def test_each_host_that_refuses_is_reported_once_and_the_other_device_has_its_table() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
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


def test_an_interrupted_run_is_kept_on_both_devices_and_both_go_on(
    box: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start("run", "a.onnx", "b.onnx", *BOTH, *FOREVER)
    wait_for(process, lambda: works(process.pid, "benchbox.agent") and works(box.pid, FILES))
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=LONG_S)
    assert process.returncode == 130, stderr
    assert stderr.count("`--resume` goes on from here") == 1
    assert "cpu (ms)" in stdout
    assert "Traceback" not in stderr
    before = {name: newest(name) for name in ("cpu", "box")}
    for record in (record for run in before.values() for record in run.records):
        assert (record.status, record.reason[:11]) == ("imprecise", "interrupted")
        assert record.bursts
    monkeypatch.setenv("BENCHBOX_DEVICE", "cpu box")
    more = (*SHORT, "--max-time", "30s", "--resume", "--export-csv", "-")
    resumed = benchbox("run", "a.onnx", "b.onnx", *more)
    assert [row["device"] for row in rows(resumed.stdout)] == ["cpu", "cpu", "box", "box"]
    for name, run in before.items():
        now = newest(name)
        assert now.path == run.path
        counts = bursts(now)
        assert all(counts[record.case] > len(record.bursts) for record in run.records)
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
    while (left := box.agents()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left  # a second look may see one that is just ending
