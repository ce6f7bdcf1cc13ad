"""Graphs as they are opened for a GPU, opened on the processor; and errors of a GPU's libraries."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from benchbox.agent.gpu import binding, errors
from benchbox.agent.gpu import session as gpu_session
from benchbox.agent.gpu.cudart import CudaError
from benchbox.agent.gpu.placement import Placement
from benchbox.agent.gpu_errors import GpuFullError, GpuLostError
from benchbox.agent.ort import check_outputs, inputs, matmul_graph, node_types, session
from benchbox.agent.runtime import GpuGraph
from benchbox.agent.stdio import Refusal
from tests.conftest import WriteOnnx

HERE = Placement(session.CPU, {}, "cpu", 0, captured=False)
TENSORS = [{"name": "x", "shape": [32, 32], "dtype": "float32"}]


def options() -> ort.SessionOptions:
    """As the agent's, but for what would stay with this thread: that denormals are flushed."""
    chosen = session.options(1, ())
    chosen.add_session_config_entry("session.set_denormal_as_zero", "0")
    return chosen


def load(path: Path, place: Placement = HERE) -> GpuGraph:
    return gpu_session.load(str(path), TENSORS, 0, place, options())


@pytest.mark.parametrize("captured", [False, True])
def test_a_graph_is_described_as_on_a_processor(write_onnx: WriteOnnx, *, captured: bool) -> None:
    path = write_onnx()
    loaded = load(path, Placement(session.CPU, {}, "cpu", 0, captured))
    assert loaded.outputs == session.load(str(path), session.CPU, TENSORS, 0, options()).outputs
    assert (loaded.nodes, loaded.finite) == ({session.CPU: 1}, True)
    assert loaded.first_call_s > 0
    array = inputs.make("x", [32, 32], "float32", 0)
    (first,) = loaded.run_with_copies()  # type: ignore[misc]
    np.testing.assert_allclose(first, array @ array, rtol=1e-4)
    loaded.enqueue()
    loaded.run()
    (last,) = loaded.run_with_copies()  # type: ignore[misc]
    np.testing.assert_array_equal(first, last)


def test_a_profiler_sees_kernels_that_are_launched_one_by_one(write_onnx: WriteOnnx) -> None:
    captured = gpu_session.placement(1, 5, captured=True)
    eager = gpu_session.eager(captured)
    assert (eager.captured, eager.options) == (False, captured.options | {"enable_cuda_graph": "0"})
    path = write_onnx()
    assert node_types.types(
        lambda o: gpu_session.load(str(path), TENSORS, 0, HERE, o), options()
    ) == {"float": 1}


def test_a_gpu_that_is_lost_while_types_are_looked_at_is_told_of() -> None:
    def load(_: ort.SessionOptions) -> GpuGraph:
        raise GpuLostError("gone")

    with pytest.raises(GpuLostError, match="gone"):
        node_types.types(load, options())


@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize(
    ("body", "finite"),
    [
        ("(float[32,32] y) { a = Abs(x) b = Neg(a) y = Log(b) }", False),
        ("(string[32,32] s, float[32,32] y) { s = Cast<to=8>(x) y = Abs(x) }", True),
        ("(float[32,32] y) { a = RandomNormalLike(x) y = Add(a, x) }", True),
    ],
    ids=["not finite", "words", "random"],
)
def test_odd_outputs(write_onnx: WriteOnnx, body: str, *, captured: bool, finite: bool) -> None:
    path = write_onnx("odd", f"odd (float[32,32] x) => {body}")
    assert load(path, Placement(session.CPU, {}, "cpu", 0, captured)).finite == finite


def compare(request: dict[str, Any], path: Path) -> None:
    reference = check_outputs.CpuReference(request, 2)
    check_outputs.require_alike(reference, load(path).run_with_copies(), 0.01, "the GPU")


def test_outputs_are_compared_with_those_of_the_processor(write_onnx: WriteOnnx) -> None:
    text = (
        "r (float[32,32] x) => (float[32,32] y, float[32,32] z, int64[32] i) "
        "{ a = RandomNormalLike(x) y = Add(a, x) z = Relu(x) i = ArgMax<axis=1, keepdims=0>(y) }"
    )
    path = write_onnx("r", text)
    request = {"path": str(path), "inputs": TENSORS, "seed": 0}
    compare(request, path)
    with pytest.raises(Refusal, match=r"output 'z' on the GPU is 1\.\d* times its size off"):
        compare({**request, "seed": 1}, path)
    path = write_onnx("s", "s (float[N,32] x) => (float[M,32] y) { y = Relu(x) }")
    request = {"path": str(path), "inputs": [{**TENSORS[0], "shape": [2, 32]}], "seed": 0}
    with pytest.raises(Refusal, match="output 'y' on the GPU is 32x32, on the processor 2x32"):
        compare(request, path)


def test_a_graph_that_would_run_on_the_processor_unasked_is_refused(write_onnx: WriteOnnx) -> None:
    with (
        pytest.warns(UserWarning, match="not in available provider names"),
        pytest.raises(RuntimeError, match="runs on CPUExecutionProvider, not on CUDA"),
    ):
        load(write_onnx(), gpu_session.placement())


def test_the_options_are_those_that_were_asked_for() -> None:
    place = gpu_session.placement(1, 0x7F00, "HEURISTIC", tf32=True, captured=True)
    assert place == Placement("CUDAExecutionProvider", place.options, "cuda", 1, captured=True)
    assert place.options == {
        "device_id": "1",
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": "1",
        "enable_cuda_graph": "1",
        "user_compute_stream": "32512",
    }
    default = gpu_session.placement().options
    assert (default["use_tf32"], "user_compute_stream" in default) == ("0", False)


@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("wait", [False, True])
def test_a_call_names_its_cuda_graph_and_waits_if_asked(*, captured: bool, wait: bool) -> None:
    where = gpu_session.placement(captured=captured)
    options = binding.run_options(where, binding.CAPTURED, wait=wait)
    set_values = {"gpu_graph_id": captured, "disable_synchronize_execution_providers": not wait}
    for name, is_set in set_values.items():
        if is_set:
            assert options.get_run_config_entry(name) == "1"
        else:
            with pytest.raises(RuntimeError, match=name):
                options.get_run_config_entry(name)


def test_the_product_s_graph_is_a_valid_model_that_multiplies() -> None:
    model = onnx.load_from_string(matmul_graph.graph(200))
    onnx.checker.check_model(model, full_check=True)
    names = (matmul_graph.LEFT, matmul_graph.RIGHT)
    fed = {name: inputs.make(name, [200, 200], "float32", 0) for name in names}
    (mine,) = ort.InferenceSession(matmul_graph.graph(200), providers=[session.CPU]).run(None, fed)
    left, right = fed.values()
    np.testing.assert_allclose(mine, left @ right, rtol=1e-3, atol=1e-3)


def test_neither_the_timing_nor_nvml_needs_onnxruntime() -> None:
    modules = "device, libraries, burst, host_sentinel"
    ask = (
        f"import sys; from benchbox.agent.gpu import {modules}; print('onnxruntime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.filterwarnings("ignore:Specified provider")  # which this build has not
def test_old_builds_count_no_nodes(write_onnx: WriteOnnx, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "get_provider_graph_assignment_info"
    owner = next(each for each in ort.InferenceSession.__mro__ if name in vars(each))
    monkeypatch.delattr(owner, name)
    with pytest.raises(Exception, match="fallback to CPU EP has been explicitly disabled"):
        load(write_onnx(), gpu_session.placement())


# errors

# As onnxruntime-gpu 1.31.1 raises it, but shorter, and for the name of the host.
TOO_OLD = (
    "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:154 "
    "onnxruntime::CudaCall(ERRTYPE, int) [with ERRTYPE = cudaError; void] CUDA failure 35: CUDA "
    "driver version is insufficient for CUDA runtime version ; GPU=-1 "
    "; hostname=alices-laptop ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/"
    "cuda_execution_provider.cc ; line=355 ; expr=cudaSetDevice(info_.device_id); \n\n"
)
# As torch raises it, but shorter.
TORCH_FULL = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.10 GiB of "
    "which 1.20 GiB is free. Process 4711 has 77.90 GiB memory in use."
)


def failure(library: str, code: int, meaning: str) -> str:
    return (
        f"{library} failure {code}: {meaning} ; GPU=0 ; hostname=alices-laptop ; file=/x/y.cc ; "
        "line=12 ; expr=cudaMalloc((void**)&p, size); "
    )


FULL = "the GPU's memory is full ("
BUFFER = "Failed to allocate memory for requested buffer of size 1073741824"


@pytest.mark.parametrize(
    ("message", "kind", "parts"),
    [
        (TOO_OLD, RuntimeError, ["cudaSetDevice: CUDA driver version is insufficient for CUDA"]),
        (failure("CUDA", 2, "out of memory"), GpuFullError, [FULL, "use a smaller batch"]),
        (failure("CUBLAS", 3, "CUBLAS_STATUS_ALLOC_FAILED"), GpuFullError, [FULL]),
        (f"bfc_arena.cc:359 {BUFFER}", GpuFullError, [FULL, "1,073,741,824 bytes more"]),
        (TORCH_FULL, GpuFullError, [FULL, "(2.50 GiB more were asked for)"]),
        (failure("CUDA", 719, "gone"), GpuLostError, ["lost"]),
        (failure("CUDNN", 700, "bad"), RuntimeError, ["(CUDNN error 700)"]),
        ("something new ; hostname=alice ; more", RuntimeError, ["something new"]),
    ],
)
def test_a_message_is_a_sentence(message: str, kind: type[RuntimeError], parts: list[str]) -> None:
    with pytest.raises(RuntimeError) as caught, errors.translate_errors():
        raise Exception(message)
    assert type(caught.value) is kind
    text = str(caught.value)
    assert all(part in text for part in parts)
    assert not any(private in text for private in ("alice", "4711", ".cc", "\n"))


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (KeyError("x"), KeyError, "x"),
        (CudaError(719, "cudaEventSynchronize", "failure", ""), GpuLostError, "has lost the GPU"),
        (CudaError(2, "cudaMalloc", "full", "a smaller batch"), CudaError, "a smaller batch"),
    ],
)
def test_other_errors_pass_through(error: Exception, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text), errors.translate_errors():
        raise error
