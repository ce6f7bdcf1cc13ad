"""TensorRT on a stand-in for a GPU: what is asked of it, who takes which nodes, what is refused."""

import json
from dataclasses import replace
from typing import Any

import pytest

from benchbox.agent.gpu import session, tensorrt
from benchbox.agent.gpu.placement import Placement
from tests.conftest import WriteOnnx
from tests.fakegpu.building import Libraries

TENSORRT, CUDA = "TensorrtExecutionProvider", "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
RUN = ("--device", "cuda", "--provider", "tensorrt", "--quick", "--max-time", "3s")
TWO = "two (float[32,32] x) => (float[32,32] y) { a = MatMul(x, x) y = Relu(a) }"

# Opens a graph as an agent does, and returns who runs how many of its nodes, or why not.
LOAD = """
import os, sys
sys.path.insert(0, os.path.join("tests", "fakegpu", "site"))
from benchbox.agent.gpu import cudart, session as gpusession, stream as gpuqueue
from benchbox.agent.gpu import tensorrt as gputensorrt
from benchbox.agent.ort import session
tensors = [dict(name="x", shape=[32, 32], dtype="float32")]
stream = gpuqueue.Stream(cudart.CudaDevice(cudart.CudaRuntime("libcudart.so.13")))
place = gputensorrt.typed(gputensorrt.placement(0, stream.handle, captured={captured}), tensors)
try:
    result = gpusession.load({path!r}, tensors, 0, place, session.options(1, ())).nodes
except RuntimeError as error:
    result = str(error)
"""

slow = pytest.mark.slow


def sessions(gpu: Libraries) -> list[dict[str, Any]]:
    """The sessions for TensorRT that were opened, in order: what was asked, and TF32's override."""
    return [json.loads(line) for line in (gpu.work / "ort.log").read_text().splitlines()]


@slow
def test_cuda_and_tensorrt_are_two_columns_and_the_record_says_by_what(
    fake_gpu: Libraries, write_onnx: WriteOnnx
) -> None:
    asked = ("--device", "cuda", "--provider", "cuda,tensorrt", "--quick", "--max-time", "3s")
    ended = fake_gpu.benchbox("run", str(write_onnx()), *asked)
    assert ended.exit_code == 0, ended.stderr
    for header in (
        "cuda (ms)",
        "cuda-tensorrt (ms)",
        "cuda-tensorrt, GPU (ms)",
        "TensorRT 10.16.1",
    ):
        assert header in ended.stdout
    assert fake_gpu.newest("cuda").records[0].nodes == {CUDA: 1}
    run = fake_gpu.newest("cuda-tensorrt")
    (record,) = run.records
    assert record.spans is not None
    assert record.spans.span_s == pytest.approx(50e-6)  # 50 MB at 1 us each
    assert record.nodes == {TENSORRT: 1}
    assert run.context.versions["tensorrt"] == "10.16.1"
    assert run.context.plan["conv_search"] is None
    (opened,) = sessions(fake_gpu)
    options = run.context.host["gpu"]["options"]
    assert opened["asked"][TENSORRT].items() > options.items()
    assert options == {
        "trt_cuda_graph_enable": "True",
        "trt_engine_cache_enable": "False",
        "trt_timing_cache_enable": "False",
    }
    assert (opened["tf32"], opened["asked"][TENSORRT]["trt_fp16_enable"]) == ("0", "False")
    assert list(fake_gpu.work.glob("**/*.engine")) == []


@slow
def test_tf32_float16_and_eager_calls_are_for_those_who_ask_for_them(
    fake_gpu: Libraries, write_onnx: WriteOnnx
) -> None:
    asked = ("--tf32", "--mode", "eager", "--dtype", "fp16", "--export-csv", "t.csv")
    ended = fake_gpu.benchbox("run", str(write_onnx()), *RUN, *asked)
    assert ended.exit_code == 0, ended.stderr
    (opened,) = sessions(fake_gpu)
    assert opened["tf32"] is None
    options = opened["asked"][TENSORRT]
    assert (options["trt_cuda_graph_enable"], options["trt_fp16_enable"]) == ("False", "True")
    assert opened["asked"][CUDA]["use_tf32"] == "1"
    for words in (
        "cuda-tensorrt, TensorrtExecutionProvider, ",
        "its nodes are fused to engines, which each process builds anew",
        "whether float16 or float32 kernels computed it is not told here",
    ):
        assert words in ended.stdout
    header, row = (fake_gpu.work / "t.csv").read_text().splitlines()[:2]
    assert (header.rpartition(",")[2], row.rpartition(",")[2]) == ("conv_search", "")


@pytest.mark.parametrize(("dtype", "half"), [("float32", "False"), ("float16", "True")])
def test_what_tensorrt_leaves_goes_to_cuda_on_the_same_stream(dtype: str, half: str) -> None:
    place = tensorrt.placement(1, 0x7F00, captured=True)
    assert tensorrt.typed(place, [{"name": "x", "shape": [1], "dtype": dtype}]) == Placement(
        TENSORRT,
        {
            "device_id": "1",
            "trt_cuda_graph_enable": "True",
            "trt_engine_cache_enable": "False",
            "trt_timing_cache_enable": "False",
            "user_compute_stream": "32512",
            "trt_fp16_enable": half,
        },
        "cuda",
        1,
        captured=True,
        rest={CUDA: session.placement(1, 0x7F00).options},
    )


@slow
def test_nodes_that_tensorrt_leaves_are_noted_and_a_case_without_a_node_fails(
    fake_gpu: Libraries, write_onnx: WriteOnnx
) -> None:
    relu = "one (float[32,32] x) => (float[32,32] y) { y = Relu(x) }"
    paths = str(write_onnx("two", TWO)), str(write_onnx("one", relu))
    ended = fake_gpu.benchbox("run", *paths, *RUN, "--mode", "eager", ort="untaken Relu")
    assert ended.exit_code == 1, ended.stderr
    assert f"of its 2 nodes 1 on {CUDA}, not on {TENSORRT}" in ended.stdout
    found = {record.case: record for record in fake_gpu.newest("cuda-tensorrt").records}
    assert found["two"].nodes == {TENSORRT: 1, CUDA: 1}
    assert (found["one"].status, found["one"].latency) == ("failed", None)
    assert found["one"].reason.startswith("RuntimeError: none of the graph's 1 nodes runs on Tens")


@pytest.mark.parametrize(
    ("told", "captured", "said"),
    [
        ("", True, {TENSORRT: 2}),
        ("engines 2", False, {TENSORRT: 2}),
        ("left Relu", False, {TENSORRT: 1, CPU: 1}),
        ("untaken all", False, f"none of the graph's 2 nodes runs on {TENSORRT}, all on {CUDA}"),
        (
            "untaken MatMul\nleft Relu",
            False,
            f"none of the graph's 2 nodes runs on {TENSORRT}, all on {CUDA} or {CPU}",
        ),
        (
            "untaken Relu",
            True,
            "it cannot be captured as a CUDA graph: This session cannot use the graph capture "
            f"feature as requested by the user as all the graph nodes have not been assigned to "
            f"{TENSORRT}; time it with --mode eager",
        ),
        (
            "engines 2",
            True,
            "it cannot be captured as a CUDA graph: graph capture takes one of its 2 engines "
            "alone; time it with --mode eager",
        ),
    ],
)
def test_a_graph_is_loaded_with_its_nodes_counted_or_refused(
    fake_gpu: Libraries, write_onnx: WriteOnnx, told: str, said: object, *, captured: bool
) -> None:
    """What would be no figure of TensorRT, or of a part of the graph alone, is refused."""
    (fake_gpu.work / "ort").write_text(told)
    assert fake_gpu.run(LOAD.format(path=str(write_onnx("two", TWO)), captured=captured)) == said


def test_without_tensorrt_s_libraries_one_line_comes_before_any_graph(fake_gpu: Libraries) -> None:
    folder = fake_gpu.linked("without", without=["libnvinfer.so.10"])
    (folder / "libnvinfer.so.10").touch()  # hides one that this machine may have
    ended = replace(fake_gpu, folder=folder).benchbox("run", "g2", *RUN)
    assert ended.exit_code == 6
    (line,) = ended.stderr.strip().splitlines()
    assert line.startswith("Error: device 'cuda-tensorrt': ")
    assert "needs TensorRT 10, of which a library is missing (libnvinfer.so.10: " in line
    assert not (fake_gpu.work / "results").exists()
