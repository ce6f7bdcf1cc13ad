"""Runs on boards behind links that are slow, cut, or end at a board that was switched off."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchbox.cli.progress import Live
from benchbox.transports.ssh import connection
from tests.board import Board, NetworkBoard
from tests.helpers.command import start
from tests.helpers.on_boards import (
    ENDLESS,
    SHORT,
    benchbox,
    bursts,
    by_case,
    graphs,
    grow,
    lose_and_resume,
    newest,
    once,
    refused,
)
from tests.transports.conftest import KEEPER, wait_for

__all__ = ["graphs"]  # fixture

KBIT = 2000
PARTS = ".cache/benchbox/run"
BOARD = ("-d", "ssh://board")
# A link on which nothing arrives for four seconds is lost, not ten.
QUICK = (*connection.KEEPING[:2], "ServerAliveInterval=1", "ServerAliveCountMax=3")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("home", "graphs")]


def half_sent(there: Board) -> int:
    """How much there is of a graph that is not there as a whole, 0 if there is none."""
    return max(
        (path.stat().st_size for path in (there.home / PARTS).glob("part-*.onnx")), default=0
    )


def sent_to(there: NetworkBoard) -> int:
    """How many bytes have gone to a board by its link."""
    return int(Path("/sys/class/net", there.link, "statistics/tx_bytes").read_text())


def plug_in(there: NetworkBoard) -> None:
    there.link_up()
    assert wait_for(lambda: there.ssh("true").returncode == 0)


@pytest.fixture(scope="module")
def _lan(boards: Any) -> Iterator[NetworkBoard]:
    with boards.network_board() as there:
        yield there


@pytest.fixture
def lan(_lan: NetworkBoard, reach: Callable[[Board], None]) -> NetworkBoard:
    """`ssh://board`, with nothing kept on it, on a link that is as slow as KBIT."""
    _lan.slow(KBIT)
    plug_in(_lan)
    _lan.run("rm", "-rf", "/run/home/.cache")
    reach(_lan)
    return _lan


@contextmanager
def once_half_sent(there: Board, size: int, act: Callable[[], object]) -> Iterator[None]:
    """Act beside the block, once more than `size` bytes of a graph have arrived."""

    def acted() -> None:
        assert wait_for(lambda: half_sent(there) > size)
        act()

    with ThreadPoolExecutor() as pool:
        acting = pool.submit(acted)
        yield
        acting.result()


def test_a_run_whose_link_is_lost_is_kept_and_resumed(
    lan: NetworkBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    lan.slow(None)
    monkeypatch.setattr(connection, "KEEPING", QUICK)
    reasons, text = lose_and_resume(lan.link_down, lambda: plug_in(lan), monkeypatch, "ssh://board")
    assert reasons[0].startswith("device 'ssh-"), reasons
    assert "lost, and it cannot be reached again (" in reasons[0]
    assert reasons[1].startswith("the agent is gone: the link to the device is lost")
    assert lan.host not in text
    said = refused("run", "a.onnx", "-d", f"ssh://root@{lan.absent}")
    assert f"{lan.absent} cannot be reached; is it switched on" in said


def test_a_link_that_is_cut_while_a_graph_is_sent_leaves_the_rest_to_a_resumed_run(
    lan: NetworkBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow("b", 1_500_000)  # six seconds of this link
    command = ("run", "a.onnx", "b.onnx", "c.onnx", *BOARD, *SHORT)
    with monkeypatch.context() as patched, once_half_sent(lan, 500_000, lan.link_down):
        patched.setattr(connection, "KEEPING", QUICK)
        benchbox(*command, code=1)
    cases = by_case(newest())
    assert [status for status, _ in cases.values()] == ["failed"] * 3
    assert cases["b"][1].startswith("the agent is gone: the link to the device is lost")
    assert "lost, and it cannot be reached again" in cases["c"][1]
    sent = half_sent(lan)
    plug_in(lan)
    before = sent_to(lan)
    benchbox(*command, "--resume")
    assert 500_000 < sent < 1_500_000
    # What came besides is the protocol: no second half of a megabyte.
    assert sent_to(lan) - before < 1_500_000 - sent + 250_000
    assert all(bursts(newest()).get(case) for case in "abc")
    assert half_sent(lan) == 0


def test_a_board_that_starts_again_costs_one_row(
    lan: NetworkBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    lan.slow(None)
    monkeypatch.setattr(Live, "measuring", once(lan.reboot))
    benchbox("run", "a.onnx", "b.onnx", "c.onnx", *BOARD, *ENDLESS, "--max-time", "10s", code=1)
    failed = [status for status, _ in by_case(newest()).values() if status == "failed"]
    assert len(failed) == 1 and len(bursts(newest())) == 2


def test_a_disk_that_fills_up_while_a_graph_is_sent_costs_its_row(lan: NetworkBoard) -> None:
    grow("big", 1_000_000)
    folder = lan.home / ".cache/benchbox"
    lan.fill(folder, "40m")

    def fill_up() -> None:
        with contextlib.suppress(OSError), (folder / "other").open("wb", 0) as other:
            while other.write(bytes(1 << 16)):
                pass

    try:
        with once_half_sent(lan, 200_000, fill_up):
            benchbox("run", "big.onnx", "a.onnx", *BOARD, *SHORT, code=1)
        left = list((folder / "run").iterdir())
    finally:
        lan.run("umount", "-l", "/run/home/.cache/benchbox")
    assert by_case(newest())["big"] == ("failed", "on the device: No space left on device")
    assert left == []


def test_ctrl_c_while_a_graph_is_sent_leaves_nothing_running_there(lan: NetworkBoard) -> None:
    grow("big", 20_000_000)  # more than a minute of this link
    process = start("run", "big.onnx", *BOARD, *SHORT)
    assert wait_for(lambda: half_sent(lan) > 200_000, 60)
    assert lan.pids(KEEPER) and lan.agents()
    process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert "[1/1] big:big skipped (interrupted before it was timed)\n" in stderr
    assert stderr.endswith("Interrupted; `--resume` goes on from here.\n")
    assert wait_for(lambda: not lan.pids(KEEPER) and not lan.agents())  # before any silence counts


def test_a_disk_that_is_full_from_the_start_is_told_by_every_command(lan: NetworkBoard) -> None:
    check = ("device", "check", "ssh://board")
    full = "no agent starts there: on the device: no space left there"
    lan.fill(lan.home / ".cache/benchbox", "64k")  # not even room for the agent
    try:
        assert full in refused("run", "a.onnx", *BOARD)
        checked = benchbox(*check, code=6)
        assert checked.stdout.startswith("model  ")
        assert "free space     0 MB; large graphs may not fit\n" in checked.stdout
        assert "benchbox device check ssh://board --clean makes some" in checked.stderr
        assert full in checked.stderr
        cleaned = benchbox(*check, "--clean", code=6)
        assert cleaned.stderr.startswith("removed 0 MB there\nError: ")
        assert "no space left there" in cleaned.stderr
    finally:
        lan.run("umount", "-l", "/run/home/.cache/benchbox")
