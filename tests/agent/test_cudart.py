import pytest

from tests.fakegpu.building import Libraries

OPEN = """
from benchbox.agent.gpu.cudart import CudaDevice, CudaRuntime
from benchbox.agent.gpu.stream import Buffer, Event, Marker, Stream
runtime = CudaRuntime("libcudart.so.13")
"""
FAILING = """
def said(doing):
    try:
        doing()
    except Exception as error:
        return [type(error).__name__, str(error)]
"""


def failure(fake_gpu: Libraries, doing: str, cuda: str) -> list[str]:
    """The kind and the sentence of the error that code ends with."""
    result = fake_gpu.run(f"{OPEN}{FAILING}result = said(lambda: {doing})", cuda=cuda)
    assert isinstance(result, list)
    return result


def test_a_device_tells_what_it_is(fake_gpu: Libraries) -> None:
    code = (
        f"{OPEN}from dataclasses import asdict\nresult = asdict(CudaDevice(runtime).properties())"
    )
    assert fake_gpu.run(code) == {
        "name": "NVIDIA Stand-in",
        "capability": "9.0",
        "memory_bytes": 85899345920,
        "l2_bytes": 52428800,
        "multiprocessors": 132,
        "clock_khz": 1980000,
        "memory_clock_khz": 2619000,
        "memory_bus_bits": 5120,
        "runtime": "13.0",
        "driver_cuda": "13.0",
    }


def test_the_place_on_the_bus_is_told_before_a_device_is_chosen(fake_gpu: Libraries) -> None:
    code = f"{OPEN}result = runtime.bus_id(1)"
    assert fake_gpu.run(code, cuda="devices 2") == "0000:18:00.0"


def test_a_device_that_is_not_there_is_named_with_how_many_are(fake_gpu: Libraries) -> None:
    kind, said = failure(fake_gpu, "CudaDevice(runtime, 2)", "devices 2")
    assert (kind, said) == ("RuntimeError", "there is no GPU 2: CUDA sees 2, counted from 0")


def test_no_device_at_all_points_to_nvidia_smi(fake_gpu: Libraries) -> None:
    kind, said = failure(fake_gpu, "CudaDevice(runtime)", "devices 0")
    assert kind == "CudaError"
    assert said.startswith("cudaGetDeviceCount: no CUDA-capable device is detected")
    assert "nvidia-smi" in said


@pytest.mark.parametrize(
    ("cuda", "help_"),
    [
        ("driver 12040", "it has CUDA 12.4: update the driver to 580 or newer"),
        ("driver 11080\nruntime 12080", "it has CUDA 11.8: update the driver to 525 or newer"),
        ("driver 0", "no NVIDIA driver is loaded"),
    ],
)
def test_a_driver_that_is_too_old_is_told_from_none(
    fake_gpu: Libraries, cuda: str, help_: str
) -> None:
    _, said = failure(fake_gpu, "CudaDevice(runtime)", f"fail cudaGetDeviceCount 35\n{cuda}")
    assert "driver version is insufficient" in said
    assert help_ in said


def test_any_other_error_is_told_in_the_words_of_the_library(fake_gpu: Libraries) -> None:
    _, said = failure(fake_gpu, "Stream(CudaDevice(runtime))", "fail cudaStreamCreateWithFlags 700")
    assert said == (
        "cudaStreamCreateWithFlags: an illegal memory access was encountered (CUDA error 700)"
    )


def test_memory_that_is_not_there_is_an_error_with_what_helps(fake_gpu: Libraries) -> None:
    kind, said = failure(fake_gpu, "Buffer(CudaDevice(runtime), 1 << 20)", "memory 1000000")
    assert kind == "CudaError"
    assert said == (
        "cudaMalloc: out of memory (CUDA error 2); "
        "use a smaller batch, or end what else runs on the GPU"
    )


def test_a_library_that_is_not_there_is_an_error_with_the_command_that_helps(
    fake_gpu: Libraries,
) -> None:
    kind, said = failure(fake_gpu, "CudaRuntime('libcudart.so.99')", "")
    assert kind == "RuntimeError"
    assert "libcudart.so.99" in said
    assert "pip install 'onnxruntime-gpu[cuda,cudnn]'" in said


def test_a_library_without_a_function_is_an_error_that_names_it(fake_gpu: Libraries) -> None:
    code = (
        f"from benchbox.agent.gpu import cudart{FAILING}result = said(lambda: cudart.CudaRuntime("
    )
    result = fake_gpu.run(f"{code}'libcudart.so.13'))", folders=[fake_gpu.old])
    assert result == [
        "RuntimeError",
        "libcudart.so.13 has no cudaGetDeviceCount: it is none of CUDA 12 or 13",
    ]


def test_a_span_is_what_the_gpu_worked_and_not_what_the_host_did(fake_gpu: Libraries) -> None:
    code = f"""{OPEN}
import time
device = CudaDevice(runtime)
with Stream(device) as stream, Buffer(device, 8_000_000) as buffer:
    start, end = Event(device), Event(device)
    stream.fill(buffer)
    start.record(stream)
    stream.fill(buffer)
    end.record(stream)
    time.sleep(0.05)
    end.synchronize()
    result = end.since(start)
"""
    # 8 MB at 10 ms each: the host is done queueing before the first fill ends
    assert fake_gpu.run(code, cuda="still 1\ngpu_ns_per_mb 10000000") == 80_000_000


def test_a_queue_that_is_held_has_no_gap_though_the_host_is_slow(fake_gpu: Libraries) -> None:
    code = f"""{OPEN}
import time
device = CudaDevice(runtime)
stream, buffer = Stream(device), Buffer(device, 1_000_000)
marker = Marker(stream)
def span(hold_ns):
    if hold_ns:
        marker.hold(hold_ns)
    marker.start()
    time.sleep(0.02)
    stream.fill(buffer)
    marker.end()
    return marker.span_ns()
result = [span(0), span(500_000_000)]
marker.close()
"""
    plain, held = fake_gpu.run(code, cuda="gpu_ns_per_mb 1000000")  # type: ignore[misc]
    assert held == 1_000_000
    assert plain >= 20_000_000
    assert "host 500000" in fake_gpu.log("cuda")


def test_a_stream_waits_for_no_other(fake_gpu: Libraries) -> None:
    fake_gpu.run(f"{OPEN}Stream(CudaDevice(runtime)).close()\nresult = 0")
    assert fake_gpu.log("cuda")[0] == "stream flags=1"


def test_everything_is_given_back_once(fake_gpu: Libraries) -> None:
    code = f"""{OPEN}
device = CudaDevice(runtime)
before = device.memory()
with Stream(device) as stream, Buffer(device, 1000) as buffer, Event(device) as event:
    taken = device.memory()[0]
buffer.close()
result = [before[0] - taken, device.memory() == before, stream.handle]
"""
    assert fake_gpu.run(code) == [1000, True, 0]
    assert fake_gpu.log("cuda")[1:] == ["destroy event", "free", "destroy stream"]


def test_a_stream_that_another_library_lent_is_used_and_stays_its_own(fake_gpu: Libraries) -> None:
    code = f"""{OPEN}
device = CudaDevice(runtime)
with Stream(device) as theirs:
    with Stream(device, theirs.handle) as lent:
        result = lent.handle == theirs.handle
        lent.synchronize()
    theirs.synchronize()
"""
    assert fake_gpu.run(code) is True
    calls = ["stream flags=1", "synchronize", "synchronize", "destroy stream"]
    assert fake_gpu.log("cuda") == calls


def test_a_copy_is_made_within_the_device(fake_gpu: Libraries) -> None:
    code = f"""{OPEN}
import ctypes
device = CudaDevice(runtime)
stream = Stream(device)
source, target = Buffer(device, 64), Buffer(device, 16)
stream.fill(source, 7)
stream.copy(target, source)
stream.synchronize()
result = list(ctypes.string_at(target.handle, 16))
"""
    assert fake_gpu.run(code) == [7] * 16


def test_a_flush_fills_as_much_as_the_cache_holds(fake_gpu: Libraries) -> None:
    code = f"{OPEN}Marker(Stream(CudaDevice(runtime))).flush()\nresult = 0"
    fake_gpu.run(code, cuda="l2 4096")
    assert "fill 4096" in fake_gpu.log("cuda")


def test_a_gpu_whose_cache_has_no_known_size_is_not_flushed(fake_gpu: Libraries) -> None:
    code = f"{OPEN}m = Marker(Stream(CudaDevice(runtime)))\nm.flush()\nm.close()\nresult = 0"
    fake_gpu.run(code, cuda="l2 0")
    assert not any(line.startswith("fill") for line in fake_gpu.log("cuda"))
