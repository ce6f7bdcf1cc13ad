"""The probes with a stand-in for CUDA's runtime, and their product on the processor."""

from tests.fakegpu.building import Libraries

OPEN = """
from functools import partial
from benchbox.agent.gpu import matmul, sentinel as gpusentinel
from benchbox.agent.ort import session
from benchbox.agent.gpu.cudart import CudaDevice, CudaRuntime
from benchbox.agent.gpu.stream import Stream
from benchbox.agent.gpu.placement import Placement
gpusentinel.SIZE, gpusentinel.BIG_SIZE = 64, 128
device = CudaDevice(CudaRuntime("libcudart.so.13"))
before = device.memory()
stream = Stream(device)
here = Placement(session.CPU, {}, "cpu", 0, False)
sentinel = gpusentinel.GpuSentinel(stream, partial(matmul.product, here))
"""


def test_the_stream_probe_reads_what_the_copy_takes_on_the_gpu(fake_gpu: Libraries) -> None:
    code = f"{OPEN}result = [sentinel.stream(), sentinel.copy()]"
    assert fake_gpu.run(code, cuda="still 1\ngpu_ns_per_mb 1000") == [
        67108,
        67108,
    ]  # 64 MiB at 1 us/MB


def test_the_compute_probe_reads_the_time_of_a_product(fake_gpu: Libraries) -> None:
    assert fake_gpu.run(f"{OPEN}result = sentinel.compute()") > 0  # type: ignore[operator]


def test_what_the_stream_probe_takes_is_told_once(fake_gpu: Libraries) -> None:
    code = f"{OPEN}sentinel.stream()\nresult = [sentinel.streamed_ns() > 0, sentinel.streamed_ns()]"
    assert fake_gpu.run(code) == [True, 0]


def test_ceilings_count_bytes_read_and_written(fake_gpu: Libraries) -> None:
    code = f"{OPEN}result = sentinel.ceilings()"
    found = fake_gpu.run(code, cuda="still 1\ngpu_ns_per_mb 1000")
    assert isinstance(found, dict)
    # 1 us per MB copied, which is read and written
    assert round(found.pop("bytes_per_s") / 1e9) == 2000
    assert sorted(found) == ["fp16_macs_per_s", "fp32_macs_per_s", "tf32_macs_per_s"]
    assert min(found.values()) > 0


def test_everything_is_given_back(fake_gpu: Libraries) -> None:
    code = f"{OPEN}sentinel.ceilings()\nsentinel.close()\nresult = device.memory() == before"
    assert fake_gpu.run(code) is True


def test_a_gpu_without_room_for_the_probes_is_an_error(fake_gpu: Libraries) -> None:
    code = f"try:\n{OPEN.replace(chr(10), chr(10) + '    ')}\n    result = ''"
    code += "\nexcept RuntimeError as error:\n    result = str(error)"
    assert "out of memory" in str(fake_gpu.run(code, cuda="memory 60000000"))
