"""Prints spans beside those that torch's profiler sees of the same calls, in ns, by case.

What is compared is from the start of a call's first kernel to the end of its last one.
"""

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchbox import runner, specs
from benchbox.agent.gpu import burst as gpu_burst
from benchbox.agent.gpu import cudart, libraries
from benchbox.agent.gpu import session as gpu_session
from benchbox.agent.gpu.stream import Marker, Stream
from benchbox.agent.ort import inputs, session
from benchbox.agent.runtime import GpuGraph
from benchbox.devices import gpu_options, providers
from benchbox.export import Graph, modules
from benchbox.export.torch_agent import cuda
from benchbox.specs import Case, Selection
from tools.cuda.bench import BLIND

# Long enough for what an event itself takes, one or two microseconds, to be nothing.
CASES = (
    ("g1:ratio=1:1,scale=4", "eager"),
    ("g2:groups=8,scale=4", "eager"),
    ("g3:structure=4-fragment-series,scale=4", "graph"),
    ("g1:ratio=1:1,scale=4", providers.TORCH),
    ("g3:structure=4-fragment-series,scale=4", providers.TORCH_CUDAGRAPH),
)
REPLAYED = ("graph", providers.TORCH_CUDAGRAPH)
CALLS = 20
SETTLING_S = 1.0  # until the GPU's clock has settled
WORK = ("kernel", "gpu_memset", "gpu_memcpy")


class Counted:
    """A graph that is called as another is, and knows of its calls whether they were waited for."""

    def __init__(self, call: gpu_burst.GpuCall) -> None:
        self._call = call
        self.queued: list[bool] = []

    def run(self) -> object:
        self.queued.append(False)
        return self._call.run()

    def enqueue(self) -> object:
        self.queued.append(True)
        return self._call.enqueue()

    def run_with_copies(self) -> object:
        self.queued.append(False)
        return self._call.run_with_copies()

    def last(self, count: int) -> list[int]:
        """Which of all calls are the last so many that were queued: the others were to settle."""
        return [at for at, queued in enumerate(self.queued) if queued][-count:]


def main() -> None:
    if torch.cuda.is_available():
        torch.cuda.init()  # type: ignore[no-untyped-call]  # as torch has it
    torch.set_grad_enabled(False)
    device = cudart.CudaDevice(cudart.CudaRuntime(libraries.runtime(libraries.prepare())))
    own = Stream(device)
    found: dict[str, object] = {}
    for name, by in CASES:
        case, graph = _one(name)
        try:
            if providers.runs_modules(by):
                call = _module(case, by)
                stream = Stream(device, torch.cuda.current_stream().cuda_stream)
            else:
                call, stream = _session(own, case, graph, captured=by == "graph"), own
            found[f"{case.key} {by}"] = both(call, stream, replayed=by in REPLAYED)
        except ValueError as reason:
            found[f"{case.key} {by}"] = str(reason)
    print(json.dumps(found))


def _one(name: str) -> tuple[Case, Graph]:
    found = specs.find(name)
    (case,) = runner.unfold(found, Selection(channels="gpu"))
    graph = runner.prepare(found, [case])[case.key]
    assert isinstance(graph, Graph), graph
    return case, graph


def _session(stream: Stream, case: Case, graph: Graph, *, captured: bool) -> GpuGraph:
    tensors = [{"name": i.name, "shape": i.shape, "dtype": i.dtype} for i in case.inputs]
    place = gpu_session.placement(stream=stream.handle, captured=captured)
    return gpu_session.load(str(graph.path), tensors, 0, place, session.options(1, ()))


def _module(case: Case, provider: str) -> GpuGraph:
    """The module of a case, in the stream that torch's calls go to from now on."""
    cuda.require()
    cuda.open_gpu(0, gpu_options.Driving().by(provider).plan())
    module = modules.build(modules.recipe(case)).to("cuda")
    arrays = [inputs.make(i.name, i.shape, i.dtype, 0) for i in case.inputs]
    sources = [torch.from_numpy(array) for array in arrays]
    tensors = [source.to("cuda") for source in sources]
    call: Callable[[], object] = partial(module, *tensors)
    if provider == providers.TORCH_CUDAGRAPH:
        call = cuda.captured(call)
    run, copies = cuda.synchronized(call), cuda.with_copies(call, tensors, sources)
    return GpuGraph(run, 0.0, 0.0, True, [], enqueue=call, run_with_copies=copies)


def both(call: GpuGraph, stream: Stream, *, replayed: bool) -> list[float]:
    """The median span of a call, and what the profiler says of the same calls."""
    until = time.monotonic() + SETTLING_S
    while time.monotonic() < until:
        call.run()
    counted = Counted(call)
    activities = list(torch.profiler.supported_activities())  # type: ignore[no-untyped-call]
    with torch.profiler.profile(activities=activities) as profile:
        burst = gpu_burst.time_gpu_calls(
            counted, Marker(stream), gpu_burst.BurstPlan(CALLS, replayed=replayed)
        )
        stream.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(file))
        trace = json.loads(file.read_text())
    calls = per_call(trace["traceEvents"], len(counted.queued))
    return [
        median(burst.spans_ns),
        median(calls[at] for at in counted.last(len(burst.spans_ns))),
    ]


def per_call(events: Sequence[Mapping[str, Any]], calls: int) -> list[float]:
    """What the GPU took for each of so many like calls, in ns, by a trace of all of them.

    Raises ValueError where the trace cannot be divided into them.
    """
    work = sorted((e["ts"], e["ts"] + e["dur"]) for e in events if e.get("cat") in WORK)
    if not work:
        raise ValueError(BLIND)
    if len(work) % calls:
        raise ValueError(f"torch's profiler sees {len(work)} kernels in {calls} calls")
    each = len(work) // calls
    parts = [work[at : at + each] for at in range(0, len(work), each)]
    return [1e3 * (max(end for _, end in part) - part[0][0]) for part in parts]


if __name__ == "__main__":
    main()
