"""The OpenVINO plug-in for real: threads, types, nodes, and what becomes of bad options.

Skipped where it is not installed; `make test-openvino` installs it, and fails where it is not.
"""

import importlib.util
import json
import os
from pathlib import Path

import pytest

from benchbox import records
from benchbox.agent.ort.plugins import OPENVINO, PACKAGES
from tests.cli.conftest import bench, graphs
from tests.helpers.command import CalmCommand

__all__ = ["bench", "graphs"]
REQUIRED = "BENCHBOX_TEST_OPENVINO"  # `required` where nobody would see that a test was skipped
IS_THERE = importlib.util.find_spec(PACKAGES[OPENVINO]) is not None
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not IS_THERE and os.environ.get(REQUIRED) != "required",
        reason="needs onnxruntime-ep-openvino: make test-openvino",
    ),
]
QUICK = ("--quick", "--max-time", "1s")


def test_each_precision_that_is_asked_for_runs_and_is_told(bench: CalmCommand) -> None:
    asked = "cpu,openvino,precision=fp32,openvino,precision=fp16"
    result = bench("run", "large.onnx", *QUICK, "--provider", asked, "--export-json", "-")
    rows = {row["device"]: row for row in json.loads(result.stdout)}
    assert list(rows) == ["cpu", "cpu-openvino-fp32", "cpu-openvino-fp16"]
    assert [row["computed_in"] for row in rows.values()] == [None, "float32", "float16"]
    assert rows["cpu-openvino-fp32"]["output_error"] < 1e-5
    assert 1e-5 < rows["cpu-openvino-fp16"]["output_error"] < 0.01
    latest = records.latest(Path("results"), "cpu-openvino-fp32")
    assert latest is not None
    run = records.read(latest)
    assert run.context.provider == OPENVINO and run.context.plugin["device"] == "CPU"
    assert run.context.versions["plugin"] and run.records[0].nodes == {OPENVINO: 1}
    again = bench("run", "large.onnx", *QUICK, "--provider", asked, "--resume")
    assert f"{OPENVINO} on CPU" in again.stdout


def test_a_property_that_it_does_not_know_is_a_failed_row(bench: CalmCommand) -> None:
    asked = 'cpu,openvino,load_config={"CPU":{"NONESUCH":"1"}}'
    result = bench("run", "small.onnx", *QUICK, "--provider", asked, code=1)
    assert "failed: NotFound: Unsupported property NONESUCH by CPU plugin" in result.stdout


def test_no_run_is_resumed_by_another_content_of_a_file(bench: CalmCommand) -> None:
    asked = ("run", "small.onnx", *QUICK, "--provider", "openvino,load_config=c.json")
    Path("c.json").write_text('{"CPU": {"NUM_STREAMS": "1"}}')
    bench(*asked)
    Path("c.json").write_text('{"CPU": {"NUM_STREAMS": "2"}}')
    assert "cannot be resumed: plug-in was" in bench(*asked, "--resume", code=2).stderr


@pytest.mark.usefixtures("two_cpus")
def test_it_runs_on_as_many_threads_as_asked_for(bench: CalmCommand) -> None:
    result = bench("run", "large.onnx", *QUICK, "--provider", "openvino", "--threads", "2")
    assert f"{OPENVINO} on CPU, 2 threads" in result.stdout
