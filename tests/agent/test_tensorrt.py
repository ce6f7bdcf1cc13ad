"""TensorRT on a stand-in for a GPU: what is asked of it, who takes which nodes, what is refused."""

import csv
import json
from typing import Any

import pytest

from benchbox.agent.gpu import session, tensorrt
from benchbox.agent.gpu.placement import Placement
from tests.conftest import WriteOnnx
from tests.fakegpu.building import Libraries

TENSORRT, CUDA = "TensorrtExecutionProvider", "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
RUN = ("run", "--device", "cuda", "--quick", "--max-time", "3s")
ONE = "one (float[32,32] x) => (float[32,32] y) { y = Relu(x) }"
TWO = "two (float[32,32] x) => (float[32,32] y) { a = MatMul(x, x) y = Relu(a) }"

# Opens a graph as an agent does, of several builds; prints who runs how many nodes, or why not.
LOAD = """
import json, os, sys
from pathlib import Path
from benchbox.agent.gpu import cudart, session as gpu_session, stream, tensorrt
from benchbox.agent.ort import session
tensors = [dict(name="x", shape=[32, 32], dtype="float32")]
own = stream.Stream(cudart.CudaDevice(cudart.CudaRuntime("libcudart.so.13")))
def load(told, captured):
    Path(os.environ["FAKE_ORT"]).write_text(told)
    place = tensorrt.typed(tensorrt.placement(0, own.handle, captured=captured), tensors)
    try:
        return gpu_session.load(sys.argv[1], tensors, 0, place, session.options(1, ())).nodes
    except RuntimeError as error:
        return str(error)
print(json.dumps([load(*case) for case in json.loads(sys.argv[2])]))
"""


def sessions(gpu: Libraries) -> list[dict[str, Any]]:
    """The sessions for TensorRT that were opened, in order: what was asked, and TF32's override."""
    return [json.loads(line) for line in gpu.log("ort")]


@pytest.mark.slow
def test_cuda_and_tensorrt_are_two_columns(fake_gpu: Libraries, write_onnx: WriteOnnx) -> None:
    ended = fake_gpu.benchbox(*RUN, str(write_onnx()), "--provider", "cuda,tensorrt")
    assert ended.exit_code == 0, ended.stderr
    columns = "cuda (ms)", "cuda-tensorrt (ms)", "cuda-tensorrt, GPU (ms)", "TensorRT 10.16.1"
    for header in columns:
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


@pytest.mark.slow
def test_nodes_that_tensorrt_leaves_are_noted(fake_gpu: Libraries, write_onnx: WriteOnnx) -> None:
    """Eager calls and TF32 are for those who ask for them."""
    asked = ("--provider", "tensorrt", "--tf32", "--mode", "eager")
    paths = str(write_onnx("two", TWO)), str(write_onnx("one", ONE))
    ended = fake_gpu.benchbox(*RUN, *paths, *asked, "--export-csv", "t.csv", ort="untaken Relu")
    assert ended.exit_code == 1, ended.stderr
    for words in (
        "cuda-tensorrt, TensorrtExecutionProvider, ",
        "its nodes are fused to engines, which each process builds anew",
        f"of its 2 nodes 1 on {CUDA}, not on {TENSORRT}",
    ):
        assert words in ended.stdout
    rows = csv.DictReader((fake_gpu.work / "t.csv").read_text().splitlines())
    assert {row["conv_search"] for row in rows} == {""}
    found = {record.case: record for record in fake_gpu.newest("cuda-tensorrt").records}
    assert found["two"].nodes == {TENSORRT: 1, CUDA: 1}
    assert (found["one"].status, found["one"].latency) == ("failed", None)
    assert found["one"].reason.startswith("RuntimeError: none of its nodes runs on Tens")
    opened = sessions(fake_gpu)[0]
    assert opened["asked"][TENSORRT]["trt_cuda_graph_enable"] == "False"
    assert (opened["asked"][CUDA]["use_tf32"], opened["tf32"]) == ("1", None)


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


NONE_RUNS = f"none of its nodes runs on {TENSORRT}, all on {CUDA}"
UNCAPTURED = "it cannot be captured as a CUDA graph: {}; time it with --mode eager"
LACKING = (
    "This session cannot use the graph capture feature as requested by the user as all the graph "
    f"nodes have not been assigned to {TENSORRT}"
)


def test_nodes_are_counted_or_a_graph_refused(fake_gpu: Libraries, write_onnx: WriteOnnx) -> None:
    """What would be no figure of TensorRT, or of a part of the graph alone, is refused."""
    expected = {
        ("", True): {TENSORRT: 2},
        ("engines 2", False): {TENSORRT: 2},
        ("left Relu", False): {TENSORRT: 1, CPU: 1},
        ("untaken all", False): NONE_RUNS,
        ("untaken MatMul\nleft Relu", False): f"{NONE_RUNS} or {CPU}",
        ("untaken Relu", True): UNCAPTURED.format(LACKING),
        ("engines 2", True): UNCAPTURED.format("graph capture takes one of its 2 engines alone"),
    }
    path = str(write_onnx("two", TWO))
    done = fake_gpu.python("-c", LOAD, path, json.dumps([*expected]))
    assert done.returncode == 0, done.stderr
    assert dict(zip(expected, json.loads(done.stdout), strict=True)) == expected
