"""The command as a process: what is signalled, killed, imported, and written to full disks."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchbox import records
from tests.helpers.command import (
    FOREVER,
    MEASURED,
    benchbox,
    has_ended,
    only_run,
    rows,
    start,
    wait_for_agent,
)

SHORT = ["--precision", "90%", "--max-time", "4s", "--quick"]
WriteOnnx = Callable[..., Path]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_tmp")]


def test_a_process_prints_its_table_whatever_the_machine_does(write_onnx: WriteOnnx) -> None:
    names = [str(write_onnx("a")), str(write_onnx("b"))]
    result = benchbox("compare", *names, *SHORT, "--max-time", "20s", "--export-csv", "t.csv")
    assert result.returncode == 0, result.stderr
    assert "a against b" in result.stdout
    assert "Records: results/cpu/" in result.stderr
    found = rows(Path("t.csv").read_text())
    assert {row["status"] for row in found} <= MEASURED
    assert all(row["verdict"] == "" for row in found if not row["relative_ci_low"])
    assert all(len(record.bursts) >= 6 for record in only_run().records)


@pytest.mark.usefixtures("shared_cache")
def test_a_warm_run_never_imports_torch(in_tmp: Path) -> None:
    (in_tmp / "mine.py").write_text(
        "from torch import nn\n\ndef conv(width):\n    return nn.Conv2d(width, width, 1)\n"
    )
    spec = in_tmp / "mine.toml"
    spec.write_text(
        'title = "Mine"\nbuilder = "./mine.py:conv"\ninput = ["width", 8, 8]\n'
        "[[cases]]\nargs = { width = 8 }\n"
    )
    cold = benchbox("run", str(spec), *SHORT)
    assert cold.returncode == 0, cold.stderr
    poison = in_tmp / "poison"
    (poison / "torch").mkdir(parents=True)
    (poison / "torch" / "__init__.py").write_text("raise SystemExit('torch was imported')\n")
    (poison / "onnxscript.py").write_text("raise SystemExit('onnxscript was imported')\n")
    warm = benchbox("run", str(spec), *SHORT, PYTHONPATH=str(poison))
    assert warm.returncode == 0, warm.stderr
    assert benchbox("show", str(spec), PYTHONPATH=str(poison)).returncode == 0
    poisoned = benchbox(
        "show", str(spec), PYTHONPATH=str(poison), BENCHBOX_CACHE_DIR=str(poison / "cache")
    )
    assert "was imported" in poisoned.stdout  # so the poison works


@pytest.mark.parametrize(
    ("command", "number"), [("run", signal.SIGINT), ("compare", signal.SIGTERM)]
)
def test_an_interrupted_process_keeps_what_it_measured_and_can_be_resumed(
    write_onnx: WriteOnnx, command: str, number: int
) -> None:
    names = [str(write_onnx("a")), str(write_onnx("b"))]
    process = start(command, *names, *FOREVER)
    agent = wait_for_agent(process)
    os.killpg(process.pid, number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert has_ended(agent)
    assert "interrupted" in stdout
    assert "--resume" in stderr
    run = only_run()
    assert all(record.bursts for record in run.records)
    assert run.records[1].status == "imprecise"
    before = [len(record.bursts) for record in run.records]
    resumed = benchbox(command, *names, *SHORT, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    run = only_run()
    assert {record.status for record in run.records} <= MEASURED
    assert all(len(r.bursts) > n for r, n in zip(run.records, before, strict=True))


def test_a_killed_run_leaves_no_agent_and_a_file_that_can_be_read(write_onnx: WriteOnnx) -> None:
    process = start("run", str(write_onnx()), *FOREVER)
    agent = wait_for_agent(process)
    process.kill()
    process.communicate()
    assert has_ended(agent)
    assert only_run().context.name == "tiny.onnx"


def test_a_killed_agent_costs_one_row(write_onnx: WriteOnnx) -> None:
    names = [str(write_onnx(name)) for name in "abc"]
    process = start("run", *names, "--precision", "0.0001%", "--max-time", "6s", "--sessions", "1")
    wait_for_agent(process).kill()
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    statuses = sorted(record.status for record in only_run().records)
    assert statuses == ["failed", "imprecise", "imprecise"]
    assert "SIGKILL" in stdout


def test_two_runs_at_once_keep_to_their_own_files(write_onnx: WriteOnnx) -> None:
    path = str(write_onnx())
    processes = [start("run", path, *SHORT) for _ in range(2)]
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0]
    runs = [records.read(found) for found in Path("results").glob("*/*.jsonl")]
    assert len(runs) == 2
    for run in runs:
        (record,) = run.records
        assert record.status in MEASURED
        assert {burst.session for burst in record.bursts} == {0}


def test_a_run_that_another_process_writes_cannot_be_resumed(write_onnx: WriteOnnx) -> None:
    path = str(write_onnx())
    process = start("run", path, *FOREVER)
    wait_for_agent(process)
    result = benchbox("run", path, *SHORT, "--resume")
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    assert result.returncode == 2
    assert "another run is writing to it" in result.stderr


def test_results_that_fill_up_go_to_a_rescue_file(write_onnx: WriteOnnx) -> None:
    limited = f"ulimit -f 2; trap '' XFSZ; exec {sys.executable} -m benchbox run {write_onnx()}"
    result = subprocess.run(
        ["/bin/bash", "-c", f"{limited} --precision 0.0001% --max-time 4s"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "TMPDIR": str(Path.cwd())},
    )
    assert result.returncode == 1, result.stderr
    assert "cannot be written" in result.stderr
    assert "p50 (ms)" in result.stdout  # the table is printed all the same


def test_a_reader_that_leaves_ends_the_command_quietly() -> None:
    process = start("list")
    assert process.stdout is not None
    process.stdout.close()
    process.wait(timeout=30)
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
