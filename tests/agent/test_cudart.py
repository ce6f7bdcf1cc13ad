"""CUDA's runtime through ctypes, and the GPU's sentinel, by a stand-in for its library."""

import pytest

from tests.fakegpu.building import Libraries

OPEN = """
from benchbox.agent.gpu.cudart import CudaDevice, CudaRuntime
from benchbox.agent.gpu.stream import Buffer, Event, Marker, Stream
runtime = CudaRuntime("libcudart.so.13")
def said(doing):
    try:
        doing()
    except Exception as error:
        return [type(error).__name__, str(error)]
"""
DEVICE = f"{OPEN}device = CudaDevice(runtime)\n"


def test_a_device_has_its_properties_and_its_place_on_the_bus(fake_gpu: Libraries) -> None:
    code = f"{OPEN}from dataclasses import asdict\nbus = runtime.bus_id(1)\n"
    code += "result = asdict(CudaDevice(runtime).properties()) | {'bus': bus}"
    assert fake_gpu.run(code, cuda="devices 2") == {
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
        "bus": "0000:18:00.0",
    }


DEVICE_0 = "CudaDevice(runtime)"
TOO_OLD = "fail cudaGetDeviceCount 35"
STREAM_FAILS = "fail cudaStreamCreateWithFlags 700"
NO_MEMORY = "cudaMalloc: out of memory (CUDA error 2); use a smaller batch, or end what else"


@pytest.mark.parametrize(
    ("doing", "cuda", "parts"),
    [
        ("CudaDevice(runtime, 2)", "devices 2", ["there is no GPU 2: CUDA sees 2, counted from 0"]),
        (DEVICE_0, "devices 0", ["cudaGetDeviceCount: no CUDA-capable device", "nvidia-smi"]),
        (DEVICE_0, f"{TOO_OLD}\ndriver 0", ["is insufficient", "no NVIDIA driver is loaded"]),
        (
            *(DEVICE_0, f"{TOO_OLD}\ndriver 12040"),
            ["is insufficient", "it has CUDA 12.4: update the driver to 580 or newer"],
        ),
        (
            *(DEVICE_0, f"{TOO_OLD}\ndriver 11080\nruntime 12080"),
            ["is insufficient", "it has CUDA 11.8: update the driver to 525 or"],
        ),
        (f"Stream({DEVICE_0})", STREAM_FAILS, ["Flags: an illegal memory access was encountered"]),
        (f"Buffer({DEVICE_0}, 1 << 20)", "memory 1000000", [NO_MEMORY]),
        (
            *("CudaRuntime('libcudart.so.99')", ""),
            ["libcudart.so.99", "pip install 'onnxruntime-gpu[cuda,cudnn]'"],
        ),
    ],
)
def test_what_fails_is_an_error_that_names_it_with_what_helps(
    fake_gpu: Libraries, doing: str, cuda: str, parts: list[str]
) -> None:
    result = fake_gpu.run(f"{OPEN}result = said(lambda: {doing})", cuda=cuda)
    assert isinstance(result, list)
    by_cuda = cuda and "GPU 2" not in parts[0]
    assert result[0] == ("CudaError" if by_cuda else "RuntimeError")
    assert all(part in result[1] for part in parts)


def test_a_library_without_a_function_is_an_error_that_names_it(fake_gpu: Libraries) -> None:
    code = OPEN.replace("runtime = CudaRuntime", "open_old = lambda: CudaRuntime")
    result = fake_gpu.run(f"{code}result = said(open_old)", folders=[fake_gpu.old])
    sentence = "libcudart.so.13 has no cudaGetDeviceCount: it is none of CUDA 12 or 13"
    assert result == ["RuntimeError", sentence]


def test_a_span_is_what_the_gpu_worked_and_not_what_the_host_did(fake_gpu: Libraries) -> None:
    code = f"""{DEVICE}
import time
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
    code = f"""{DEVICE}
import time
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


def test_a_stream_waits_for_no_other_and_all_is_given_back_once(fake_gpu: Libraries) -> None:
    code = f"""{DEVICE}
before = device.memory()
with Stream(device) as stream, Buffer(device, 1000) as buffer, Event(device) as event:
    taken = device.memory()[0]
buffer.close()
result = [before[0] - taken, device.memory() == before, stream.handle]
"""
    assert fake_gpu.run(code) == [1000, True, 0]
    calls = ["stream flags=1", "destroy event", "free", "destroy stream"]
    assert fake_gpu.log("cuda") == calls


def test_a_stream_that_another_library_lent_is_used_and_stays_its_own(fake_gpu: Libraries) -> None:
    code = f"""{DEVICE}
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
    code = f"""{DEVICE}
import ctypes
stream, source, target = Stream(device), Buffer(device, 64), Buffer(device, 16)
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
    code = f"{DEVICE}m = Marker(Stream(device))\nm.flush()\nm.close()\nresult = 0"
    fake_gpu.run(code, cuda=f"l2 {cache}")
    assert [line for line in fake_gpu.log("cuda") if line.startswith("fill")] == fills


# the sentinel


SENTINEL = f"""{DEVICE}
from functools import partial
from benchbox.agent.gpu import matmul, sentinel as gpu_sentinel
from benchbox.agent.gpu.placement import Placement
from benchbox.agent.ort import session
gpu_sentinel.SIZE, gpu_sentinel.BIG_SIZE = 64, 128
before = device.memory()
here = Placement(session.CPU, {{}}, "cpu", 0, False)
def opened():
    return gpu_sentinel.GpuSentinel(Stream(device), partial(matmul.product, here))
"""


def test_the_sentinel_reads_copies_and_products_and_measures_ceilings(fake_gpu: Libraries) -> None:
    code = f"""{SENTINEL}
sentinel = opened()
readings = [sentinel.stream(), sentinel.copy()]
streamed = [sentinel.streamed_ns() > 0, sentinel.streamed_ns()]
product, ceilings = sentinel.compute(), sentinel.ceilings()
sentinel.close()
result = [readings, streamed, product, ceilings, device.memory() == before]
"""
    readings, streamed, product, ceilings, is_freed = fake_gpu.run(  # type: ignore[misc]
        code, cuda="still 1\ngpu_ns_per_mb 1000"
    )
    assert readings == [67108, 67108]  # 64 MiB at 1 us/MB
    assert streamed == [True, 0]  # what it took is returned once
    assert product > 0
    assert round(ceilings.pop("bytes_per_s") / 1e9) == 2000  # each MB is read and written
    assert sorted(ceilings) == ["fp16_macs_per_s", "fp32_macs_per_s", "tf32_macs_per_s"]
    assert min(ceilings.values()) > 0
    assert is_freed is True


def test_a_gpu_without_room_for_the_sentinel_is_an_error(fake_gpu: Libraries) -> None:
    result = fake_gpu.run(f"{SENTINEL}result = said(opened)", cuda="memory 60000000")
    assert "out of memory" in str(result)
