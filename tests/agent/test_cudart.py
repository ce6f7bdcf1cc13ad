"""CUDA's runtime through ctypes, by a stand-in for its library."""

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


TOO_OLD = "fail cudaGetDeviceCount 35"
NO_MEMORY = "cudaMalloc: out of memory (CUDA error 2); use a smaller batch, or end what else"


@pytest.mark.parametrize(
    ("doing", "cuda", "kind", "parts"),
    [
        (
            *("CudaDevice(runtime, 2)", "devices 2", "RuntimeError"),
            ["there is no GPU 2: CUDA sees 2, counted from 0"],
        ),
        (
            *("CudaDevice(runtime)", "devices 0", "CudaError"),
            ["cudaGetDeviceCount: no CUDA-capable device is detected", "nvidia-smi"],
        ),
        *(
            ("CudaDevice(runtime)", f"{TOO_OLD}\n{cuda}", "CudaError", ["is insufficient", help_])
            for cuda, help_ in (
                ("driver 12040", "it has CUDA 12.4: update the driver to 580 or newer"),
                ("driver 11080\nruntime 12080", "it has CUDA 11.8: update the driver to 525 or"),
                ("driver 0", "no NVIDIA driver is loaded"),
            )
        ),
        (
            *("Stream(CudaDevice(runtime))", "fail cudaStreamCreateWithFlags 700", "CudaError"),
            ["cudaStreamCreateWithFlags: an illegal memory access was encountered (CUDA"],
        ),
        ("Buffer(CudaDevice(runtime), 1 << 20)", "memory 1000000", "CudaError", [NO_MEMORY]),
        (
            *("CudaRuntime('libcudart.so.99')", "", "RuntimeError"),
            ["libcudart.so.99", "pip install 'onnxruntime-gpu[cuda,cudnn]'"],
        ),
    ],
)
def test_what_fails_is_an_error_that_names_it_with_what_helps(
    fake_gpu: Libraries, doing: str, cuda: str, kind: str, parts: list[str]
) -> None:
    found, sentence = failure(fake_gpu, doing, cuda)
    assert found == kind
    assert all(part in sentence for part in parts)


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


@pytest.mark.parametrize(("cache", "fills"), [(4096, ["fill 4096"]), (0, [])])
def test_a_flush_fills_as_much_as_the_cache_holds(
    fake_gpu: Libraries, cache: int, fills: list[str]
) -> None:
    code = f"{OPEN}m = Marker(Stream(CudaDevice(runtime)))\nm.flush()\nm.close()\nresult = 0"
    fake_gpu.run(code, cuda=f"l2 {cache}")
    assert [line for line in fake_gpu.log("cuda") if line.startswith("fill")] == fills
