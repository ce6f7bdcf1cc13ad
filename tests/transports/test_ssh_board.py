"""The command on boards behind a real sshd: what a user sees, and what goes wrong there."""

import csv
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner, Result

from benchbox import records
from benchbox.cli.app import app
from benchbox.cli.progress import Live
from benchbox.records import Run
from benchbox.sampling.sampler import Sampler
from tests.board import Board, NetworkBoard
from tests.board.files import LITTLE, plant

WriteOnnx = Callable[..., Path]
MEASURED = {"ok", "imprecise"}  # which of the two is for the machine to say: it may be busy
SHORT = ("--quick", "--precision", "90%", "--max-time", "5s")
ENDLESS = ("--quick", "--precision", "0.0001%", "--max-time", "60s")
EMULATED = "emulated (qemu-user): a figure taken here is no latency"
FIGURES = ("latency_p50_ms", "latency_ci_low_ms", "latency_p90_ms", "images_per_s", "samples")
FILES = ".cache/benchbox/files"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("home", "graphs")]


@pytest.fixture
def graphs(write_onnx: WriteOnnx) -> None:
    """Three graphs in the current folder: a.onnx, b.onnx and c.onnx."""
    for name, n in (("a", 24), ("b", 32), ("c", 40)):
        write_onnx(name, f"{name} (float[{n},{n}] x) => (float[{n},{n}] y) {{ y = MatMul(x, x) }}")


def benchbox(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, prog_name="benchbox")


def refused(*arguments: str) -> str:
    """Return the one line that a command ends with."""
    result = benchbox(*arguments)
    said = [line for line in result.stderr.splitlines() if not line.startswith("preparing ")]
    assert (result.exit_code, result.stdout, len(said)) == (6, "", 1), result.output
    return said[0]


def newest(name: str = "*") -> Run:
    return records.read(max(Path("results").glob(f"{name}/*.jsonl")))


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


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


# an emulated aarch64 board


def test_a_board_is_added_checked_and_listed(
    emulated_board: Board, reach: Callable[[Board], None]
) -> None:
    reach(emulated_board)
    assert benchbox("device", "add", "pi", "ssh://board").exit_code == 0
    checked = benchbox("device", "check", "pi")
    assert checked.exit_code == 0, checked.output
    said = {line[:14].strip(): line[14:].strip() for line in checked.stdout.splitlines()}
    assert said["model"] == "ARM Juno development board (r2)"
    assert said["architecture"].startswith("aarch64, Linux")
    assert "onnxruntime " in said["software"]
    assert (said["heat"], said["free space"][-3:]) == ("47 °C", " MB")
    big, little = said["big cluster"], said["little cluster"]
    assert big.startswith("CPU ") and little.startswith("CPU ")
    assert ", Cortex-A72, 1200 of 1200 MHz, governor schedutil" in big
    assert ", Cortex-A53, 950 of 950 MHz, governor schedutil" in little
    assert said["emulation"] == EMULATED
    assert checked.stdout.endswith("pi is ready\n")
    (line,) = [each for each in benchbox("device", "list").stdout.splitlines() if "pi  " in each]
    assert "ssh://board" in line
    assert "+00:00" in line
    listed = " ".join(benchbox("device", "list").stdout.split())
    assert "ARM Juno" in listed and "x Cortex-A72 + " in listed
    benchbox("device", "remove", "pi")
    benchbox("device", "add", "pi", "ssh://board")
    assert "Cortex" not in benchbox("device", "list").stdout


def test_a_run_on_an_emulated_board_checks_and_times_nothing(
    emulated_board: Board, reach: Callable[[Board], None]
) -> None:
    """Registered as `arm`, so that it is held to be one."""
    reach(emulated_board)
    assert benchbox("device", "add", "arm", "ssh://board").exit_code == 0
    result = benchbox("run", "a.onnx", "b.onnx", "-d", "arm", "--export-csv", "-")
    assert result.exit_code == 0, result.output
    rows = table(result.stdout)
    assert [(r["case"], r["status"], r["reason"]) for r in rows] == [
        ("a", "skipped", EMULATED),
        ("b", "skipped", EMULATED),
    ]
    assert [row[name] for row in rows for name in FIGURES] == [""] * len(rows) * len(FIGURES)
    context = newest("arm").context
    assert (context.host["machine"], context.host["emulated"]) == ("aarch64", "qemu-user")
    assert context.host["cpu"] == "ARM Juno development board (r2)"
    assert "board@" not in newest("arm").path.read_text()


def test_what_is_timed_on_an_emulated_board_stays_in_its_record(
    emulated_board: Board, reach: Callable[[Board], None]
) -> None:
    reach(emulated_board)
    result = benchbox(
        "run", "a.onnx", "-d", "ssh://board", *SHORT, "--allow-emulated", "--export-csv", "-"
    )
    assert result.exit_code == 0, result.output
    (row,) = table(result.stdout)
    assert (row["status"], row["reason"]) == ("skipped", EMULATED)
    assert [row[name] for name in FIGURES] == [""] * len(FIGURES)
    run = newest()
    assert run.context.host["emulated"] == "qemu-user"
    assert run.records[0].bursts
    assert run.records[0].latency is None
    reported = benchbox("report", str(run.path), "--format", "csv")
    assert [table(reported.stdout)[0][name] for name in FIGURES] == [""] * len(FIGURES)


@pytest.mark.usefixtures("two_cpus")
def test_a_run_on_the_little_cluster_tells_what_changes_there(
    emulated_board: Board, reach: Callable[[Board], None], monkeypatch: pytest.MonkeyPatch
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
        result = benchbox("run", "a.onnx", "-d", "ssh://board", *options, "--max-time", "6s")
    finally:
        plant(emulated_board.root, dict.fromkeys(governors, "schedutil\n"))
        (emulated_board.root / firmware).unlink()
    assert result.exit_code == 0, result.output
    run = newest()
    assert set(run.context.cpus) < set(LITTLE)
    assert run.context.host["clusters"][1]["core"] == "Cortex-A53"
    first, *_, last = run.records[0].bursts
    assert (first.setting, last.setting["governor"]) == ({}, "powersave")
    assert last.setting["throttled"] == "throttled now, throttled since it was started"
    assert "its governor changed from schedutil to powersave" in result.stdout


# this machine behind an sshd


def test_a_comparison_on_two_devices_is_one_table_of_the_same_graphs(
    ssh_board: Board, reach: Callable[[Board], None]
) -> None:
    reach(ssh_board)
    benchbox("device", "add", "box", "ssh://board")
    result = benchbox("compare", "a.onnx", "b.onnx", "-d", "cpu", "-d", "box", *SHORT)
    assert result.exit_code == 0, result.output
    (header,) = [line for line in result.stdout.splitlines() if line.startswith("case ")]
    assert [header.count(f"{name} (ms)") for name in ("cpu", "box")] == [1, 1]
    assert header.index("cpu (ms)") < header.index("box (ms)")
    graphs = [
        [(record.case, record.graph and record.graph["sha256"]) for record in newest(name).records]
        for name in ("cpu", "box")
    ]
    assert graphs[0] == graphs[1]
    assert len({sha256 for _, sha256 in graphs[0]}) == 2
    assert {s for name in ("cpu", "box") for s, _ in by_case(newest(name)).values()} <= MEASURED


def test_a_killed_agent_costs_one_row(
    ssh_board: Board, reach: Callable[[Board], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(ssh_board)

    def kill() -> None:
        (pid,) = ssh_board.agents()
        ssh_board.kill(pid)

    monkeypatch.setattr(Live, "measuring", once(kill))
    result = benchbox(
        "run",
        *("a.onnx", "b.onnx", "c.onnx"),
        *("-d", "ssh://board"),
        *(*SHORT, "--precision", "0.01%", "--max-time", "4s"),  # time for it to happen in
    )
    assert result.exit_code == 1, result.output
    rows = by_case(newest())
    (failed,) = [case for case, (status, _) in rows.items() if status == "failed"]
    assert "ended by SIGKILL" in rows[failed][1]
    assert {status for case, (status, _) in rows.items() if case != failed} <= MEASURED


def test_a_full_disk_there_is_told_before_or_in_the_row(
    ssh_board: Board, reach: Callable[[Board], None]
) -> None:
    reach(ssh_board)
    folder = ssh_board.home / ".cache/benchbox"
    big = onnx.load("a.onnx")
    weights = np.random.default_rng(0).random((2400, 1000), dtype=np.float32)
    big.graph.initializer.append(onnx.numpy_helper.from_array(weights, "unused"))
    onnx.save(big, "big.onnx")
    for size in ("64k", "40m"):  # not even room for the agent; for all but one graph
        ssh_board.fill(folder, size)
        try:
            if size == "64k":
                said = refused("run", "a.onnx", "-d", "ssh://board")
                assert "no agent starts there: on the device: no space left there" in said
                checked = benchbox("device", "check", "ssh://board")
                assert checked.exit_code == 6
                assert checked.stdout.startswith("model  ")
                assert "free space     0 MB; large graphs may not fit\n" in checked.stdout
                assert "benchbox device check ssh://board --clean makes some" in checked.stderr
                assert "no agent starts there: on the device: no space left there" in checked.stderr
                cleaned = benchbox("device", "check", "ssh://board", "--clean")
                assert cleaned.exit_code == 6
                assert cleaned.stderr.startswith("removed 0 MB there\nError: ")
                assert "no space left there" in cleaned.stderr
            else:
                checked = benchbox("device", "check", "ssh://board")
                assert (checked.exit_code, "MB; large" in checked.stdout) == (0, True)
                result = benchbox("run", "big.onnx", "a.onnx", "-d", "ssh://board", *SHORT)
                assert result.exit_code == 1, result.output
                rows = by_case(newest())
                assert rows["big"][0] == "failed"
                assert "no space left there: 42 MB needed, 3" in rows["big"][1]
                assert rows["a"][0] in MEASURED
        finally:
            ssh_board.run("umount", "-l", "/run/home/.cache/benchbox")


def test_the_doctor_looks_at_the_board_and_not_at_this_machine(
    ssh_board: Board, reach: Callable[[Board], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(ssh_board)
    monkeypatch.setattr("benchbox.cli.doctor._busiest", lambda *_: [("ours-alone", 0.9)])
    result = benchbox("doctor", "-d", "ssh://board", "--seconds", "0.3")
    assert result.exit_code == 0, result.output
    assert "ours-alone" not in result.stdout
    assert "ours-alone" in benchbox("doctor", "--seconds", "0.3").stdout


# a link that fails


def test_a_run_whose_link_is_lost_is_kept_and_resumed(
    linked_board: NetworkBoard, reach: Callable[[Board], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(linked_board)
    arguments = ("run", "a.onnx", "b.onnx", "-d", "ssh://board")
    with monkeypatch.context() as patched:
        patched.setattr(Live, "measuring", once(linked_board.link_down))
        lost = benchbox(*arguments, *ENDLESS)
    assert lost.exit_code == 1, lost.output
    run = newest()
    assert {status for status, _ in by_case(run).values()} == {"failed"}
    reasons = sorted(reason for _, reason in by_case(run).values())
    assert reasons[0].startswith("device 'ssh-"), reasons
    assert "lost, and it cannot be reached again (" in reasons[0]
    assert reasons[1].startswith("the agent is gone: the link to the device is lost")
    before = {record.case: len(record.bursts) for record in run.records}
    assert min(before.values()) > 2
    linked_board.link_up()
    until = time.monotonic() + 10
    while linked_board.ssh("true").returncode and time.monotonic() < until:
        time.sleep(0.1)  # the neighbour's address is asked for anew
    resumed = benchbox(*arguments, *SHORT, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert newest().path == run.path
    assert {status for status, _ in by_case(newest()).values()} <= MEASURED
    after = {record.case: len(record.bursts) for record in newest().records}
    assert all(after[case] > count for case, count in before.items()), (before, after)
    assert linked_board.host not in json.dumps(run.path.read_text())

    said = refused("run", "a.onnx", "-d", f"ssh://root@{linked_board.absent}")
    assert f"{linked_board.absent} cannot be reached; is it switched on" in said


def test_a_home_in_which_nothing_can_be_kept_is_told_of(
    ssh_board: Board, reach: Callable[[Board], None]
) -> None:
    reach(ssh_board)
    ssh_board.run("rm", "-rf", "/run/home/.cache")
    cache = ssh_board.home / ".cache"
    cache.write_text("a file where the folder should be")
    try:
        said = refused("run", "a.onnx", "-d", "ssh://board")
    finally:
        cache.unlink()
    where = "/run/home/.cache/benchbox: Not a directory; see to that folder there"
    assert said.endswith(f"on the device: nothing can be kept in {where}")
