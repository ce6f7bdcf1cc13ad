"""Runs on boards behind links that are slow, cut, or end at a board that was switched off."""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from benchbox.cli.progress import Live
from benchbox.transports.board import target
from tests.board import Board, NetworkBoard
from tests.transports.test_ssh_board import (
    ENDLESS,
    MEASURED,
    SHORT,
    benchbox,
    by_case,
    graphs,
    newest,
    once,
    refused,
    table,
)

__all__ = ["graphs"]  # fixture

KBIT = 2000
KEEPER = "exec(json.loads"  # in its command line
PARTS = ".cache/benchbox/run"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("home", "graphs")]


def wait_for(what: Callable[[], bool], seconds: float = 20.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(0.02)
    return False


def grow(name: str, size: int) -> None:
    """Write a graph to name.onnx that is a.onnx with as many bytes of weights besides."""
    model = onnx.load("a.onnx")
    weights = np.frombuffer(np.random.default_rng(0).bytes(size), dtype=np.uint8)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "unused"))
    onnx.save(model, f"{name}.onnx")


def half_sent(there: Board) -> int:
    """Return how much there is of a graph that is not there as a whole, 0 if there is none."""
    return max(
        (path.stat().st_size for path in (there.home / PARTS).glob("part-*.onnx")), default=0
    )


def sent_to(there: NetworkBoard) -> int:
    """Return how many bytes have gone to a board by its link."""
    return int(Path("/sys/class/net", there.link, "statistics/tx_bytes").read_text())


@pytest.fixture(scope="module")
def _lan(boards: Any) -> Iterator[NetworkBoard]:
    with boards.network_board() as there:
        yield there


@pytest.fixture
def lan(_lan: NetworkBoard, reach: Callable[[Board], None]) -> NetworkBoard:
    """`ssh://board`, with nothing kept on it, on a link that is as slow as KBIT."""
    _lan.link_up()
    _lan.slow(KBIT)
    assert wait_for(lambda: is_reached(_lan))
    _lan.run("rm", "-rf", "/run/home/.cache")
    reach(_lan)
    return _lan


@contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    """Do something beside what the block does; what it raises comes at the end."""
    failed: list[BaseException] = []

    def acted() -> None:
        try:
            act()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=acted)
    thread.start()
    yield
    thread.join()
    if failed:
        raise failed[0]


def is_reached(there: Board) -> bool:
    return there.ssh("true").returncode == 0


# slow


def test_a_push_that_was_cut_is_gone_on_with(lan: NetworkBoard) -> None:
    grow("big", 1_500_000)  # six seconds of this link
    arguments = ("run", "big.onnx", "-d", "ssh://board", *SHORT)

    def cut() -> None:
        assert wait_for(lambda: half_sent(lan) > 500_000)
        lan.link_down()

    with meanwhile(cut):
        lost = benchbox(*arguments)
    assert lost.exit_code == 1, lost.output
    ((status, reason),) = by_case(newest()).values()
    assert status == "failed" and reason.startswith("the agent is gone: the link"), reason
    sent = half_sent(lan)
    lan.link_up()
    assert wait_for(lambda: is_reached(lan))
    before = sent_to(lan)
    resumed = benchbox(*arguments, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert 500_000 < sent < 1_500_000
    # What came besides is the protocol: no second half of a megabyte.
    assert sent_to(lan) - before < 1_500_000 - sent + 250_000
    assert {status for status, _ in by_case(newest()).values()} <= MEASURED
    assert half_sent(lan) == 0


def test_a_slow_link_is_no_lost_one(lan: NetworkBoard) -> None:
    """What waits to be sent is more than answers to signs of life may take."""
    grow("big", 200_000)  # six seconds of it
    lan.slow(256)
    result = benchbox("run", "big.onnx", "-d", "ssh://board", *SHORT)
    assert result.exit_code == 0, result.output
    (record,) = newest().records
    assert record.status in MEASURED
    assert record.bursts and all(len(burst.latencies_ns) for burst in record.bursts)


def test_what_is_sent_is_told_once_where_it_takes_a_while(lan: NetworkBoard) -> None:
    grow("big", 1_500_000)
    lan.slow(None)
    result = benchbox("run", "a.onnx", "big.onnx", "-d", "ssh://board", *SHORT)
    assert result.exit_code == 0, result.output
    said = [line for line in result.stderr.splitlines() if "sending" in line]
    assert said == ["sending big.onnx, 2 MB"]


# what happens in the middle of a run


def test_a_link_that_is_cut_while_the_second_of_three_is_loaded_leaves_the_rest_to_a_resumed_run(
    lan: NetworkBoard,
) -> None:
    grow("b", 900_000)
    arguments = ("run", "a.onnx", "b.onnx", "c.onnx", "-d", "ssh://board")

    def cut() -> None:
        assert wait_for(lambda: half_sent(lan) > 200_000)
        lan.link_down()

    with meanwhile(cut):
        lost = benchbox(*arguments, *SHORT)
    assert lost.exit_code == 1, lost.output
    rows = by_case(newest())
    assert [status for status, _ in rows.values()] == ["failed"] * 3
    assert rows["b"][1].startswith("the agent is gone: the link to the device is lost")
    assert "lost, and it cannot be reached again" in rows["c"][1]
    lan.link_up()
    lan.slow(None)
    assert wait_for(lambda: is_reached(lan))
    resumed = benchbox(*arguments, *SHORT, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert {status for status, _ in by_case(newest()).values()} <= MEASURED


def test_a_board_that_starts_again_costs_one_row_and_another_host_key_all(
    lan: NetworkBoard, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = home / ".ssh/config"
    config.write_text(config.read_text().replace("Host board", f"Host {lan.host}"))
    (home / ".ssh/known_hosts").write_text(lan.known_hosts.read_text())
    lan.slow(None)
    arguments = ("run", "a.onnx", "b.onnx", "c.onnx", "-d", f"ssh://{lan.user}@{lan.host}")
    endless = (*ENDLESS, "--max-time", "3s")
    with monkeypatch.context() as patched:
        patched.setattr(Live, "measuring", once(lan.reboot))
        result = benchbox(*arguments, *endless)
    assert result.exit_code == 1, result.output
    rows = by_case(newest())
    assert sorted(status in MEASURED for status, _ in rows.values()) == [False, True, True], rows
    try:
        with monkeypatch.context() as patched:
            patched.setattr(Live, "measuring", once(lambda: lan.reboot(anew=True)))
            result = benchbox(*arguments, *endless)
        assert result.exit_code == 1, result.output
        reasons = sorted(reason for _, reason in by_case(newest()).values())
        assert len(reasons) == 3
        assert all(
            "cannot be reached again (its host key is another one)" in r for r in reasons[:2]
        )
        monkeypatch.setattr(target, "_reached", set())
        said = refused(*arguments)
        assert f"{lan.host} shows another host key than {lan.known_hosts} has" in said
    finally:
        lan.reboot()


def test_a_disk_that_fills_up_while_a_graph_is_sent_costs_its_row(lan: NetworkBoard) -> None:
    grow("big", 1_000_000)
    folder = lan.home / ".cache/benchbox"
    lan.fill(folder, "40m")

    def fill_up() -> None:
        assert wait_for(lambda: half_sent(lan) > 200_000)
        with (folder / "other").open("wb") as other, contextlib.suppress(OSError):
            while other.write(bytes(1 << 16)):
                other.flush()

    try:
        with meanwhile(fill_up):
            result = benchbox("run", "big.onnx", "a.onnx", "-d", "ssh://board", *SHORT)
        left = list((folder / "run").iterdir())
    finally:
        lan.run("umount", "-l", "/run/home/.cache/benchbox")
    assert result.exit_code == 1, result.output
    rows = by_case(newest())
    assert rows["big"] == ("failed", "on the device: No space left on device")
    assert left == []


def test_ctrl_c_while_a_graph_is_sent_leaves_nothing_running_there(lan: NetworkBoard) -> None:
    grow("big", 2_000_000)
    argv = [sys.executable, "-m", "benchbox", "run", "big.onnx", "-d", "ssh://board", *SHORT]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert wait_for(lambda: half_sent(lan) > 200_000)
    assert lan.pids(KEEPER) and lan.agents()
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert "[1/1] big:big skipped (interrupted before it was timed)\n" in output
    assert output.endswith("Interrupted; `--resume` goes on from here.\n")
    assert wait_for(lambda: not lan.pids(KEEPER) and not lan.agents(), 8)


def test_of_two_runs_on_one_board_at_the_same_time_the_second_is_refused(
    ssh_board: Board, reach: Callable[[Board], None]
) -> None:
    reach(ssh_board)
    argv = [sys.executable, "-m", "benchbox", "run", "a.onnx", "b.onnx", "-d", "ssh://board"]
    endless = [*argv, *ENDLESS, "--export-csv", "-"]
    first = subprocess.Popen(endless, stdout=-1, stderr=-1, text=True)
    try:
        assert wait_for(lambda: bool(ssh_board.agents()))
        said = refused("run", "a.onnx", "-d", "ssh://board")
        assert said.endswith("another benchbox is timing on it; wait for it to end")
        checked = benchbox("device", "check", "ssh://board")
        assert checked.exit_code == 0, checked.output
        assert checked.stdout.endswith("is in use: another benchbox is timing on it\n")
        assert "not emptied: another" in refused("device", "check", "ssh://board", "--clean")
    finally:
        first.send_signal(signal.SIGINT)
        csv, stderr = first.communicate(timeout=60)
    assert first.returncode == 130, stderr
    assert [row["status"] in MEASURED for row in table(csv)] == [True, True]
    assert benchbox("run", "a.onnx", "-d", "ssh://board", *SHORT).exit_code == 0
    assert list((ssh_board.home / PARTS).iterdir()) == []


def test_an_agent_out_of_memory_costs_its_row(
    ssh_board: Board, reach: Callable[[Board], None], write_onnx: Callable[..., Path]
) -> None:
    """Its Python is a script of the user's, which the keeper is started by as well."""
    reach(ssh_board)
    write_onnx(
        "huge",
        "huge (float[1,1] x) => (float y) { s = Constant<value = int64[2] {40000, 40000}>() "
        "e = Expand(x, s) y = ReduceSum<keepdims = 0>(e) }",
    )
    wrapper = ssh_board.home / "my python"
    marks = ssh_board.home / "marks"
    wrapper.write_text(
        f'#!/bin/sh\nulimit -v 4000000\nexport MARK=1\necho "$1" >> "$HOME/marks"\n'
        f'exec {sys.executable} "$@"\n'
    )
    wrapper.chmod(0o755)
    added = benchbox("device", "add", "box", "ssh://board", "--python", "~/my python")
    assert added.exit_code == 0, added.output
    result = benchbox("run", "a.onnx", "huge.onnx", "b.onnx", "-d", "box", *SHORT)
    assert result.exit_code == 1, result.output
    rows = by_case(newest("box"))
    assert rows["huge"][0] == "failed" and "lloc" in rows["huge"][1], rows
    assert {rows[case][0] for case in "ab"} <= MEASURED
    how = {Path(line).name for line in marks.read_text().splitlines()}
    assert "-c" in how and any(name.endswith(".pyz") for name in how)
