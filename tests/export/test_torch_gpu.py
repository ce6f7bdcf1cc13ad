"""PyTorch on a stand-in for a GPU: the same loop, probes and table as ONNX Runtime has there."""

import pandas as pd
import pytest

from benchbox import records
from tests.export.conftest import builders
from tests.fakegpu.building import Libraries
from tests.helpers import explained

MINE = """
from torch import nn


def layer(c=4):
    return nn.Sequential(nn.Conv2d(3, c, 3), nn.BatchNorm2d(c), nn.ReLU())
"""
RUN = ("--device", "cuda", "--quick", "--precision", "90%", "--max-time", "3s")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_cache")]


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return ("run", f"{builders(tmp_path_factory, MINE)}:layer", "--shape", "x=1x3x8x8", *RUN)


def test_torch_is_timed_as_onnx_runtime_is(fake_gpu: Libraries, mine: tuple[str, ...]) -> None:
    checked = fake_gpu.benchbox("device", "check", "cuda", "--provider", "torch")
    assert checked.exit_code == 0, checked.stderr
    for text in ("NVIDIA Stand-in", "float32 best", "TF32 best", "2000 GB/s", "is ready"):
        assert text in checked.stdout
    ended = fake_gpu.benchbox(
        *mine, "--provider", "torch,torch-cudagraph", "--export-csv", "t.csv", "--verbose"
    )
    assert ended.exit_code == 0, ended.stderr
    about = "cache hot, no TF32, batch 1"
    assert f"cuda-torch, torch, eager, {about}" in ended.stdout
    assert f"cuda-torch-cudagraph, torch-cudagraph, CUDA graph, {about}" in ended.stdout
    assert "its batch norms are as in the module; the ONNX graph has" in ended.stdout
    for header in ("GPU (ms)", "with copies (ms)", "launch share", "of ceiling"):
        assert header in ended.stdout
    rows = pd.read_csv(fake_gpu.work / "t.csv")
    assert list(rows["mode"]) == ["eager", "graph"]
    assert list(rows["ceiling"]) == ["memory"] * 2
    assert (rows["ceiling_share"] > 0).all()
    assert (rows["with_copies_p50_ms"] > 0).all()
    for device in rows["device"]:
        _timed_there(fake_gpu.newest(device))


def _timed_there(run: records.Run) -> None:
    (record,) = run.records
    assert explained.unexplained(run.path) == set()
    assert record.spans is not None
    assert record.latency is not None
    assert record.spans.span_s == pytest.approx(50e-6), "one call alone, in the timed stream"
    assert record.spans.launch_share == pytest.approx(1 - 50e-6 / record.latency.p50_s)
    assert record.gpu_bytes == 300 << 20  # what the stand-in takes for a module
    marks = [ns for burst in record.bursts for _, ns in burst.marks]
    assert set(marks) == {36_000}, "the product on the GPU, by its clock"
    assert all(len(burst.host_marks) == len(burst.marks) for burst in record.bursts)
    assert record.gate.host is not None
    assert {len(burst.copies_ns) for burst in record.bursts} == {3}
    assert run.context.versions["driver"] == "580.95.05"
    assert run.context.host["gpu"]["name"] == "NVIDIA Stand-in"
    assert run.context.plan["conv_search"] == "exhaustive"
    assert run.context.host["gpu"]["options"]["cudnn.benchmark"] == "True"
    assert run.context.host["gpu"]["options"]["cudnn.benchmark_limit"] == "0"


def test_torch_meets_a_cold_cache_and_what_disturbs_the_gpu(
    fake_gpu: Libraries, mine: tuple[str, ...]
) -> None:
    told = "process self 1\nprocess 999999 1000\nreasons 36"
    asked = ("--provider", "torch", "--cache", "cold", "--conv-search", "heuristic")
    ended = fake_gpu.benchbox(*mine, *asked, nvml=told)
    assert "cache cold, no TF32, heuristic choice of convolutions" in ended.stdout
    run = fake_gpu.newest("cuda-torch")
    assert run.context.host["gpu"]["options"]["cudnn.benchmark"] == "False"
    bursts = run.records[0].bursts
    assert all(burst.cold for burst in bursts)
    assert all({"gpu_power", "gpu_hot", "gpu_shared"} <= set(burst.tags) for burst in bursts)
    assert {burst.seen["gpu_other_processes"] for burst in bursts} == {1}


def test_a_module_that_loses_the_gpu_is_a_failed_row(
    fake_gpu: Libraries, mine: tuple[str, ...]
) -> None:
    lost = "fail cudaStreamSynchronize 700"
    ended = fake_gpu.benchbox(*mine, "--provider", "torch", cuda=lost)
    assert ended.exit_code == 1
    (record,) = fake_gpu.newest("cuda-torch").records
    assert record.status == "failed"
    assert "an illegal memory access was encountered" in record.reason
    assert "only a new one can use it" in record.reason
    assert "kernel errors might" not in record.reason


def test_calls_that_would_go_to_another_stream_than_is_timed_are_refused(
    fake_gpu: Libraries, mine: tuple[str, ...]
) -> None:
    ended = fake_gpu.benchbox(*mine, "--provider", "torch", torch="stray 1")
    assert ended.exit_code == 6
    (line,) = [each for each in ended.stderr.splitlines() if each.startswith("Error")]
    assert "not to the stream that is timed" in line
    assert line.endswith("its figures would be wrong")
