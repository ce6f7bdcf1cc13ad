"""Prints spans beside those that torch's profiler sees of the same calls, in ns, by case.

What is compared is from the start of a call's first kernel to the end of its last one.
"""

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchbox import runner, specs
from benchbox.agent import cudart, gpulibraries, gpusession, gputiming, session
from benchbox.agent.gpuqueue import Marker, Stream
from benchbox.export import Graph
from benchbox.specs import Case, Selection
from tests.cuda.bench import BLIND

# Long enough for what an event itself takes, one or two microseconds, to be nothing.
CASES = {
    "g1:ratio=1:1,scale=4": "eager",
    "g2:groups=8,scale=4": "eager",
    "g3:structure=4-fragment-series,scale=4": "graph",
}
CALLS = 20
SETTLING_S = 1.0  # until the GPU's clock has settled
WORK = ("kernel", "gpu_memset", "gpu_memcpy")


class Counted:
    """A graph that is called as another is, and knows of its calls whether they were waited for."""

    def __init__(self, call: gputiming.Call) -> None:
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
        torch.cuda.init()
    device = cudart.Device(cudart.Runtime(gpulibraries.runtime(gpulibraries.prepare())))
    stream = Stream(device)
    found: dict[str, object] = {}
    for name, mode in CASES.items():
        case, graph = _one(name)
        try:
            found[f"{case.key} {mode}"] = both(stream, case, graph, captured=mode == "graph")
        except ValueError as reason:
            found[f"{case.key} {mode}"] = str(reason)
    print(json.dumps(found))


def _one(name: str) -> tuple[Case, Graph]:
    found = specs.find(name)
    (case,) = runner.unfold(found, Selection(channels="gpu"))
    graph = runner.prepare(found, [case])[case.key]
    assert isinstance(graph, Graph), graph
    return case, graph


def both(stream: Stream, case: Case, graph: Graph, *, captured: bool) -> list[float]:
    """The median span of a case, and what the profiler says of the same calls."""
    tensors = [{"name": i.name, "shape": i.shape, "dtype": i.dtype} for i in case.inputs]
    place = gpusession.place(stream=stream.handle, captured=captured)
    loaded = gpusession.load(str(graph.path), tensors, 0, place, session.options(1, ()))
    until = time.monotonic() + SETTLING_S
    while time.monotonic() < until:
        loaded.run()
    counted = Counted(loaded)
    activities = list(torch.profiler.supported_activities())
    with torch.profiler.profile(activities=activities) as profile:
        burst = gputiming.burst(counted, Marker(stream), gputiming.Plan(CALLS, replayed=captured))
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
