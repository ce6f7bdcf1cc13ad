"""The command on boards behind a real sshd: what a user sees, and what goes wrong there."""

from collections.abc import Callable

import pytest

from benchbox.cli.progress import Live
from tests.board import Board
from tests.board.files import LITTLE, plant
from tests.helpers.command import rows
from tests.helpers.on_boards import (
    EMULATED,
    FIGURES,
    SHORT,
    benchbox,
    bursts,
    by_case,
    graphs,
    newest,
    once,
    refused,
)
from tests.transports.conftest import PYTHON

__all__ = ["graphs"]  # fixture

Reach = Callable[[Board], None]
BOARD = ("-d", "ssh://board")
CHECK = ("device", "check", "ssh://board")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("home", "graphs")]


# an emulated aarch64 board


def test_a_board_is_added_checked_and_listed(emulated_board: Board, reach: Reach) -> None:
    reach(emulated_board)
    benchbox("device", "add", "pi", "ssh://board")
    checked = benchbox("device", "check", "pi").stdout
    said = {line[:14].strip(): line[14:].strip() for line in checked.splitlines()}
    assert said["model"] == "ARM Juno development board (r2)"
    assert said["architecture"].startswith("aarch64, Linux")
    assert "onnxruntime " in said["software"]
    assert (said["heat"], said["free space"][-3:]) == ("47 °C", " MB")
    for cluster, core in (("big", "A72, 1200 of 1200"), ("little", "A53, 950 of 950")):
        assert said[f"{cluster} cluster"].startswith("CPU ")
        assert f", Cortex-{core} MHz, governor schedutil" in said[f"{cluster} cluster"]
    assert said["emulation"] == EMULATED
    assert checked.endswith("pi is ready\n")
    listed = " ".join(benchbox("device", "list").stdout.split())
    assert all(part in listed for part in ("ssh://board", "+00:00", "ARM Juno", "x Cortex-A72 + "))
    benchbox("device", "remove", "pi")
    benchbox("device", "add", "pi", "ssh://board")
    assert "Cortex" not in benchbox("device", "list").stdout


def test_a_run_on_an_emulated_board_checks_and_times_nothing(
    emulated_board: Board, reach: Reach
) -> None:
    """Registered as `arm`, so that it is held to be one."""
    reach(emulated_board)
    benchbox("device", "add", "arm", "ssh://board")
    table = rows(benchbox("run", "a.onnx", "b.onnx", "-d", "arm", "--export-csv", "-").stdout)
    assert [(row["case"], row["status"], row["reason"]) for row in table] == [
        (case, "skipped", EMULATED) for case in "ab"
    ]
    assert {row[name] for row in table for name in FIGURES} == {""}
    context = newest("arm").context
    assert (context.host["machine"], context.host["emulated"]) == ("aarch64", "qemu-user")
    assert context.host["cpu"] == "ARM Juno development board (r2)"
    assert "board@" not in newest("arm").path.read_text()


@pytest.mark.usefixtures("two_cpus")
def test_a_run_on_an_emulated_little_cluster_keeps_its_bursts_and_what_changed_in_its_record(
    emulated_board: Board, reach: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its governor changes, and its firmware begins to throttle, as soon as there are samples."""
    reach(emulated_board)
    folder = "sys/devices/system/cpu"
    governors = [f"{folder}/cpu{cpu}/cpufreq/scaling_governor" for cpu in LITTLE]
    firmware = "sys/devices/platform/soc/soc:firmware/get_throttled"
    plant(emulated_board.root, {firmware: "0\n"})
    worse = {**dict.fromkeys(governors, "powersave\n"), firmware: "40004\n"}
    monkeypatch.setattr(Live, "measuring", once(lambda: plant(emulated_board.root, worse)))
    options = ("--cpus", "little", "--allow-emulated", "--quick", "--precision", "0.0001%")
    try:
        result = benchbox("run", "a.onnx", *BOARD, *options, "--max-time", "15s")
    finally:
        plant(emulated_board.root, dict.fromkeys(governors, "schedutil\n"))
        (emulated_board.root / firmware).unlink()
    run = newest()
    assert set(run.context.cpus) < set(LITTLE)
    assert run.context.host["clusters"][1]["core"] == "Cortex-A53"
    first, *later = (burst.setting for burst in run.records[0].bursts)
    changed = {name: value for setting in later for name, value in setting.items()}
    assert (first, changed["governor"]) == ({}, "powersave")
    assert changed["throttled"] == "throttled now, throttled since it was started"
    assert "its governor changed from schedutil to powersave" in result.stdout
    (row,) = rows(benchbox("report", str(run.path), "--format", "csv").stdout)
    assert (row["status"], row["reason"], run.records[0].latency) == ("skipped", EMULATED, None)
    assert {row[name] for name in FIGURES} == {""}


# this machine behind an sshd


def test_a_comparison_on_two_devices_is_one_table_of_the_same_graphs(
    ssh_board: Board, reach: Reach
) -> None:
    reach(ssh_board)
    benchbox("device", "add", "box", "ssh://board")
    result = benchbox("compare", "a.onnx", "b.onnx", "-d", "cpu", "-d", "box", *SHORT)
    (header,) = [line for line in result.stdout.splitlines() if line.startswith("case ")]
    assert [header.count(f"{name} (ms)") for name in ("cpu", "box")] == [1, 1]
    assert header.index("cpu (ms)") < header.index("box (ms)")
    here, there = newest("cpu"), newest("box")
    assert list(bursts(here)) == list(bursts(there)) == ["a", "b"]
    sent = [[each.graph and each.graph["sha256"] for each in run.records] for run in (here, there)]
    assert sent[0] == sent[1] and len({*sent[0]}) == 2


def test_a_disk_that_is_full_from_the_start_is_told_by_every_command(
    ssh_board: Board, reach: Reach
) -> None:
    reach(ssh_board)
    full = "no agent starts there: on the device: no space left there"
    ssh_board.fill(ssh_board.home / ".cache/benchbox", "64k")  # not even room for the agent
    try:
        assert full in refused("run", "a.onnx", *BOARD)
        checked = benchbox(*CHECK, code=6)
        assert checked.stdout.startswith("model  ")
        assert "free space     0 MB; large graphs may not fit\n" in checked.stdout
        assert "benchbox device check ssh://board --clean makes some" in checked.stderr
        assert full in checked.stderr
        cleaned = benchbox(*CHECK, "--clean", code=6)
        assert cleaned.stderr.startswith("removed 0 MB there\nError: ")
        assert "no space left there" in cleaned.stderr
    finally:
        ssh_board.run("umount", "-l", "/run/home/.cache/benchbox")


def test_the_doctor_looks_at_the_board_and_not_at_this_machine(
    ssh_board: Board, reach: Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(ssh_board)
    monkeypatch.setattr("benchbox.cli.doctor._busiest", lambda *_: [("ours-alone", 0.9)])
    assert "ours-alone" not in benchbox("doctor", *BOARD, "--seconds", "0.3").stdout
    assert "ours-alone" in benchbox("doctor", "--seconds", "0.3").stdout


def test_a_home_in_which_nothing_can_be_kept_is_told_of(ssh_board: Board, reach: Reach) -> None:
    reach(ssh_board)
    ssh_board.run("rm", "-rf", "/run/home/.cache")
    cache = ssh_board.home / ".cache"
    cache.write_text("a file where the folder should be")
    try:
        said = refused("run", "a.onnx", *BOARD)
    finally:
        cache.unlink()
    where = "/run/home/.cache/benchbox: Not a directory; see to that folder there"
    assert said.endswith(f"on the device: nothing can be kept in {where}")


def test_an_agent_out_of_memory_costs_its_row(
    ssh_board: Board, reach: Reach, write_onnx: Callable[..., object]
) -> None:
    """Its Python is a script of the user's, which the keeper is started by as well."""
    reach(ssh_board)
    write_onnx(
        "huge",
        "huge (float[1,1] x) => (float y) { s = Constant<value = int64[2] {40000, 40000}>() "
        "e = Expand(x, s) y = ReduceSum<keepdims = 0>(e) }",
    )
    wrapper = ssh_board.home / "my python"
    wrapper.write_text(
        f'#!/bin/sh\nulimit -v 4000000\necho "$1" >> "$HOME/marks"\nexec {PYTHON} "$@"\n'
    )
    wrapper.chmod(0o755)
    benchbox("device", "add", "box", "ssh://board", "--python", "~/my python")
    benchbox("run", "a.onnx", "huge.onnx", "b.onnx", "-d", "box", *SHORT, code=1)
    status, reason = by_case(newest("box"))["huge"]
    assert status == "failed" and "lloc" in reason
    assert list(bursts(newest("box"))) == ["a", "b"]
    started = (ssh_board.home / "marks").read_text().split()
    assert "-c" in started and any(name.endswith(".pyz") for name in started)
