import pytest

from benchbox.agent.gpu import errors
from benchbox.agent.gpu.cudart import CudaError
from benchbox.agent.gpu_errors import GpuLostError

# As onnxruntime-gpu 1.31.1 raises it, but for the name of the host.
TOO_OLD = (
    "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:154 "
    "std::conditional_t<THRW, void, onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, "
    "const char*, const char*, SUCCTYPE, const char*, const char*, int) [with ERRTYPE = cudaError; "
    "bool THRW = true; SUCCTYPE = cudaError; std::conditional_t<THRW, void, common::Status> = "
    "void] CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version ; GPU=-1 "
    "; hostname=alices-laptop ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/"
    "cuda_execution_provider.cc ; line=355 ; expr=cudaSetDevice(info_.device_id); \n\n"
)
# As torch raises it, but shorter.
TORCH_FULL = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.10 GiB of "
    "which 1.20 GiB is free. Process 4711 has 77.90 GiB memory in use. See documentation for "
    "Memory Management"
)


def failure(library: str, code: int, meaning: str) -> str:
    return (
        f"{library} failure {code}: {meaning} ; GPU=0 ; hostname=alices-laptop ; file=/x/y.cc ; "
        "line=12 ; expr=cudaMalloc((void**)&p, size); "
    )


def told(message: str) -> RuntimeError:
    error = errors._translate(message)
    assert error is not None
    return error


def test_a_failure_is_one_sentence_without_sources_and_without_the_host() -> None:
    assert str(told(TOO_OLD)) == (
        "cudaSetDevice: CUDA driver version is insufficient for CUDA runtime version "
        "(CUDA error 35)"
    )


@pytest.mark.parametrize(
    "message",
    [
        failure("CUDA", 2, "out of memory"),
        failure("CUBLAS", 3, "CUBLAS_STATUS_ALLOC_FAILED"),
        "bfc_arena.cc:359 Failed to allocate memory for requested buffer of size 1073741824",
        TORCH_FULL,
    ],
)
def test_memory_that_ran_out_is_told_with_what_helps(message: str) -> None:
    assert str(told(message)).startswith("the GPU's memory is full (")
    assert "use a smaller batch" in str(told(message))


def test_a_buffer_that_could_not_be_had_is_told_with_its_size() -> None:
    message = "Failed to allocate memory for requested buffer of size 1073741824"
    assert "1,073,741,824 bytes more" in str(told(message))


def test_torch_s_words_for_it_lose_what_they_tell_of_other_processes() -> None:
    assert "(2.50 GiB more were asked for)" in str(told(TORCH_FULL))
    assert "4711" not in str(told(TORCH_FULL))


@pytest.mark.parametrize("code", [214, 700, 715, 719])
def test_an_error_that_ends_the_process_s_use_of_the_gpu_says_so(code: int) -> None:
    assert isinstance(told(failure("CUDA", code, "gone")), GpuLostError)


def test_an_error_of_another_library_with_the_same_number_does_not() -> None:
    assert not isinstance(told(failure("CUDNN", 700, "bad")), GpuLostError)


def test_a_host_s_name_is_left_out_of_whatever_else_has_one() -> None:
    assert "alice" not in str(told("something new ; hostname=alice ; more"))


def test_an_error_that_has_nothing_of_the_kind_passes_through() -> None:
    with pytest.raises(KeyError), errors.translate_errors():
        raise KeyError("x")


def test_an_error_of_the_runtime_that_loses_the_gpu_says_so() -> None:
    with pytest.raises(GpuLostError, match="has lost the GPU"), errors.translate_errors():
        raise CudaError(719, "cudaEventSynchronize", "unspecified launch failure", "")


def test_another_error_of_the_runtime_keeps_its_help() -> None:
    with pytest.raises(CudaError, match="smaller batch"), errors.translate_errors():
        raise CudaError(2, "cudaMalloc", "out of memory", "use a smaller batch")
