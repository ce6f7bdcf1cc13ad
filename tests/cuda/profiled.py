"""Prints spans beside the kernel times that torch's profiler sees of the same calls, in ns."""

import json
import time
from statistics import median

import torch

from benchbox.agent import cudart, gemm, gpulibraries, gpusession, gputiming, session
from benchbox.agent.gpuqueue import Marker, Stream

SIZES = (2048, 4096, 6144)
CALLS = 20
MODES = {2048: "eager", 4096: "graph", 6144: "eager"}


def main() -> None:
    if not torch.cuda.is_available():
        print(json.dumps({"not run": f"this torch ({torch.__version__}) finds no GPU"}))
        return
    torch.cuda.init()
    device = cudart.Device(cudart.Runtime(gpulibraries.runtime(gpulibraries.prepare())))
    stream = Stream(device)
    print(json.dumps({str(size): both(stream, size) for size in SIZES}))


def both(stream: Stream, size: int) -> list[float]:
    tensors = [
        {"name": name, "shape": [size, size], "dtype": "float32"}
        for name in (gemm.LEFT, gemm.RIGHT)
    ]
    captured = MODES[size] == "graph"
    place = gpusession.place(stream=stream.handle, captured=captured)
    loaded = gpusession.load(gemm.graph(size), tensors, 0, place, session.options(1, ()))
    until = time.monotonic() + 1.0  # until its clock has settled
    while time.monotonic() < until:
        loaded.run()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        plan = gputiming.Plan(CALLS, replayed=captured)
        burst = gputiming.burst(loaded, Marker(stream), plan)
        torch.cuda.synchronize()
    kernels = [
        event.time_range.elapsed_us()
        for event in profile.events()
        if event.device_type == torch.autograd.DeviceType.CUDA and "mem" not in event.name.lower()
    ]
    # One product may be more than one kernel, of which the large one counts.
    large = [us for us in kernels if us > max(kernels) / 2]
    return [median(burst.spans_ns), median(large) * 1e3]


if __name__ == "__main__":
    main()
