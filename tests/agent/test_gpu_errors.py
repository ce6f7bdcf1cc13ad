"""Errors of libraries, translated to one sentence."""

import pytest

from benchbox.agent.gpu import errors
from benchbox.agent.gpu.cudart import CudaError
from benchbox.agent.gpu_errors import GpuFullError, GpuLostError

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
def test_a_library_s_message_becomes_one_sentence_that_names_no_host_and_no_process(
    message: str, kind: type[RuntimeError], parts: list[str]
) -> None:
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
def test_other_errors_pass_through_but_those_that_lose_the_gpu(
    error: Exception, kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text), errors.translate_errors():
        raise error
