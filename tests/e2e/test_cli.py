"""The command as a process: what is signalled, killed, imported, and written to full disks."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import WriteOnnx
from tests.helpers.command import (
    FOREVER,
    MEASURED,
    benchbox,
    has_ended,
    invoke,
    only_run,
    start,
    wait_for_agent,
)

SHORT = ["--precision", "90%", "--max-time", "5s", "--quick"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_tmp")]


@pytest.mark.usefixtures("shared_cache")
def test_a_warm_run_never_imports_torch(in_tmp: Path) -> None:
    (in_tmp / "mine.py").write_text(
        "from torch import nn\n\ndef conv(width):\n    return nn.Conv2d(width, width, 1)\n"
    )
    (in_tmp / "mine.toml").write_text(
        'title = "Mine"\nbuilder = "./mine.py:conv"\ninput = ["width", 8, 8]\n'
        "[[cases]]\nargs = { width = 8 }\n"
    )
    poison = in_tmp / "poison"
    (poison / "torch").mkdir(parents=True)
    (poison / "torch" / "__init__.py").write_text("raise SystemExit('torch was imported')\n")
    (poison / "onnxscript.py").write_text("raise SystemExit('onnxscript was imported')\n")
    without = {"PYTHONPATH": str(poison)}
    cold = benchbox("show", "./mine.toml", BENCHBOX_CACHE_DIR=str(poison / "cache"), **without)
    assert "was imported" in cold.stdout  # so the poison works
    assert invoke("show", "./mine.toml").exit_code == 0
    warm = benchbox("run", "./mine.toml", *SHORT, **without)
    assert warm.returncode == 0, warm.stderr


def test_results_that_fill_up_go_to_a_rescue_file(write_onnx: WriteOnnx) -> None:
    limited = f"ulimit -f 2; trap '' XFSZ; exec {sys.executable} -m benchbox run {write_onnx()}"
    result = subprocess.run(
        ["/bin/bash", "-c", f"{limited} --precision 0.0001% --max-time 4s --sessions 1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "TMPDIR": str(Path.cwd())},
    )
    assert result.returncode == 1, result.stderr
    assert "cannot be written" in result.stderr
    assert "p50 (ms)" in result.stdout  # the table is printed all the same


def test_a_terminated_comparison_keeps_what_it_measured_and_can_be_resumed(
    write_onnx: WriteOnnx,
) -> None:
    """Ctrl-C in a run is tested with two devices."""
    names = [str(write_onnx("a")), str(write_onnx("b"))]
    process = start("compare", *names, *FOREVER)
    agent = wait_for_agent(process)
    os.killpg(process.pid, signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert has_ended(agent)
    assert "interrupted" in stdout
    assert "--resume" in stderr
    run = only_run()
    assert run.records[1].status == "imprecise"
    before = [len(record.bursts) for record in run.records]
    assert min(before) > 0
    resumed = invoke("compare", *names, *SHORT, "--max-time", "10s", "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    run = only_run()
    assert {record.status for record in run.records} <= MEASURED
    assert all(len(r.bursts) > n for r, n in zip(run.records, before, strict=True))


def test_a_run_cannot_be_resumed_by_another_and_when_killed_leaves_no_agent(
    write_onnx: WriteOnnx,
) -> None:
    path = str(write_onnx())
    process = start("run", path, *FOREVER)
    agent = wait_for_agent(process)
    result = invoke("run", path, *SHORT, "--resume")
    assert result.exit_code == 2
    assert "another run is writing to it" in result.stderr
    process.kill()
    process.communicate()
    assert has_ended(agent)
    assert only_run().context.name == "tiny.onnx"
