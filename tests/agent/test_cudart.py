"""CUDA's runtime through ctypes, and the GPU's sentinel, by a stand-in for its library."""

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import pytest

from benchbox.agent.gpu import matmul, sentinel
from benchbox.agent.gpu.cudart import CudaDevice, CudaError, CudaRuntime
from benchbox.agent.gpu.placement import Placement
from benchbox.agent.gpu.sentinel import GpuSentinel
from benchbox.agent.gpu.stream import Buffer, Event, Marker, Stream
from benchbox.agent.ort import session
from tests.fakegpu.building import Libraries

MB = 1_000_000


@pytest.fixture
def runtime(fake_gpu: Libraries, monkeypatch: pytest.MonkeyPatch) -> CudaRuntime:
    monkeypatch.setenv("FAKE_CUDA_LOG", str(fake_gpu.work / "cuda.log"))
    return CudaRuntime(str(fake_gpu.folder / "libcudart.so.13"))


@pytest.fixture
def device(runtime: CudaRuntime) -> CudaDevice:
    return CudaDevice(runtime)


def test_a_device_has_properties_and_a_bus_id(fake_gpu: Libraries, runtime: CudaRuntime) -> None:
    fake_gpu.tell(cuda="devices 2")
    assert runtime.bus_id(1) == "0000:18:00.0"
    assert asdict(CudaDevice(runtime).properties()) == {
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


TOO_OLD = "fail cudaGetDeviceCount 35"
INSUFFICIENT = "is insufficient.*"
NO_MEMORY = r"cudaMalloc: out of memory \(CUDA error 2\); use a smaller batch, or end what else"


@pytest.mark.parametrize(
    ("told", "index", "error", "text"),
    [
        ("devices 2", 2, RuntimeError, "there is no GPU 2: CUDA sees 2, counted from 0"),
        ("devices 0", 0, CudaError, "cudaGetDeviceCount: no CUDA-capable device.*nvidia-smi"),
        (f"{TOO_OLD}\ndriver 0", 0, CudaError, f"{INSUFFICIENT}no NVIDIA driver is loaded"),
        (
            *(f"{TOO_OLD}\ndriver 11080\nruntime 12080", 0, CudaError),
            f"{INSUFFICIENT}it has CUDA 11.8: update the driver to 525 or newer",
        ),
        ("fail cudaStreamCreateWithFlags 700", 0, CudaError, "Flags: an illegal memory access"),
        ("memory 1000000\nl2 2000000", 0, CudaError, NO_MEMORY),
    ],
)
def test_what_fails_is_an_error_that_names_it_with_what_helps(
    fake_gpu: Libraries, runtime: CudaRuntime, told: str, index: int, error: type, text: str
) -> None:
    fake_gpu.tell(cuda=told)
    with pytest.raises(RuntimeError, match=text) as raised:
        Marker(Stream(CudaDevice(runtime, index)))
    assert type(raised.value) is error


def test_a_library_that_is_missing_or_lacks_a_function_is_an_error(fake_gpu: Libraries) -> None:
    with pytest.raises(RuntimeError, match=r"libcudart.so.99.*pip install 'onnxruntime-gpu\[cuda,"):
        CudaRuntime("libcudart.so.99")
    with pytest.raises(RuntimeError, match="no cudaGetDeviceCount: it is none of CUDA 12 or 13"):
        CudaRuntime(str(fake_gpu.old / "libcudart.so.13"))


def test_a_span_is_work_of_the_gpu_alone(fake_gpu: Libraries, device: CudaDevice) -> None:
    # 8 MB at 10 ms each: the host is done queueing before the first fill ends
    fake_gpu.tell(cuda=f"gpu_ns_per_mb {10 * MB}")
    with Stream(device) as stream, Buffer(device, 8 * MB) as buffer, Event(device) as start:
        end = Event(device)
        stream.fill(buffer)
        start.record(stream)
        stream.fill(buffer)
        end.record(stream)
        time.sleep(0.05)
        end.synchronize()
        assert end.since(start) == 80 * MB


@pytest.mark.parametrize("hold_ns", [0, 500 * MB])
def test_a_held_queue_has_no_gap(fake_gpu: Libraries, device: CudaDevice, hold_ns: int) -> None:
    fake_gpu.tell(cuda=f"no_sleep 1\nmoving 1\ngpu_ns_per_mb {MB}\nl2 0")
    with Stream(device) as stream, Buffer(device, MB) as buffer:
        marker = Marker(stream)
        if hold_ns:
            marker.hold(hold_ns)
        marker.start()
        time.sleep(0.02)
        stream.fill(buffer)
        marker.end()
        span_ns = marker.span_ns()
        marker.close()
    assert span_ns == MB if hold_ns else span_ns >= 20 * MB
    assert ("host 500000" in fake_gpu.log("cuda")) == bool(hold_ns)


def test_all_of_a_stream_is_given_back_once(fake_gpu: Libraries, device: CudaDevice) -> None:
    free = device.memory()
    with Stream(device) as stream, Buffer(device, 1000) as buffer, Event(device):
        assert free[0] - device.memory()[0] == 1000
        with Stream(device, stream.handle) as lent:  # by another library, whose own it stays
            assert lent.handle == stream.handle
        stream.synchronize()
    buffer.close()
    assert (device.memory(), stream.handle) == (free, 0)
    fake_gpu.tell(cuda="l2 4096")
    with Stream(device) as stream:
        marker = Marker(stream)
        marker.flush()
        marker.close()
    used = ["synchronize", "destroy event", "free", "destroy stream"]
    flushed = ["fill 4096", "destroy event", "destroy event", "free", "destroy stream"]
    assert fake_gpu.log("cuda") == ["stream flags=1", *used, "stream flags=1", *flushed]


# the sentinel


@pytest.fixture
def opened(device: CudaDevice, monkeypatch: pytest.MonkeyPatch) -> Callable[[], GpuSentinel]:
    """Return a function that opens a sentinel whose products are small, and the processor's."""
    monkeypatch.setattr(sentinel, "SIZE", 64)
    monkeypatch.setattr(sentinel, "BIG_SIZE", 128)
    here = Placement(session.CPU, {}, "cpu", 0, captured=False)
    return lambda: GpuSentinel(Stream(device), partial(matmul.product, here))


def test_the_sentinel_reads_copies_and_products_and_measures_ceilings(
    fake_gpu: Libraries, device: CudaDevice, opened: Callable[[], GpuSentinel]
) -> None:
    fake_gpu.tell(cuda="gpu_ns_per_mb 1000")
    free = device.memory()
    with opened() as probe:
        assert (probe.level(), probe.copy()) == ((67108,), 67108)  # 64 MiB at 1 us/MB
        assert probe.levelled_ns() > 0
        assert probe.levelled_ns() == 0  # what it took is returned once
        assert probe.compute() > 0
        ceilings = probe.ceilings()
    assert round(ceilings.pop("bytes_per_s") / 1e9) == 2000  # each MB is read and written
    assert sorted(ceilings) == ["fp16_macs_per_s", "fp32_macs_per_s", "tf32_macs_per_s"]
    assert min(ceilings.values()) > 0
    assert device.memory() == free


def test_a_sentinel_needs_room(fake_gpu: Libraries, opened: Callable[[], GpuSentinel]) -> None:
    fake_gpu.tell(cuda="memory 60000000\nl2 0")
    with pytest.raises(CudaError, match="out of memory"):
        opened()
