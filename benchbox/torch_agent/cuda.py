"""Calls on a GPU: awaited, captured as one CUDA graph, and timed by the GPU itself."""

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from benchbox.agent.gputiming import HOLD, HOLD_MORE_NS, LONGEST_HOLD_NS

CYCLES_PER_NS = 3  # of a GPU's clock, which none exceeds; at a lower one it waits longer
WARMUPS = 3  # before a capture: libraries allocate and choose their kernels in the first calls
SPANS = 20

Result = TypeVar("Result")


class Event(Protocol):
    """A mark in the GPU's queue."""

    def record(self) -> None:
        """Put the mark behind what is queued."""

    def elapsed_time(self, end: "Event") -> float:
        """Return the milliseconds from this mark to `end`, both reached."""


class Stream(Protocol):
    """A queue of the GPU."""

    def wait_stream(self, stream: "Stream") -> None:
        """Let this queue wait for what is in the other now."""


class Graph(Protocol):
    """A captured CUDA graph."""

    def replay(self) -> None:
        """Queue all that was captured."""


class Cuda(Protocol):
    """What of torch.cuda is used here; it works on the current device."""

    def synchronize(self) -> None:
        """Wait until the GPU has done all that is queued."""

    def hold(self, ns: int) -> None:
        """Let what is queued from now on wait for at least `ns`."""

    def event(self) -> Event:
        """Return a mark that takes the time."""

    def side_stream(self) -> Stream:
        """Return another queue."""

    def current_stream(self) -> Stream:
        """Return the queue that calls go to."""

    def on(self, stream: Stream) -> AbstractContextManager[object]:
        """Let calls go to a queue meanwhile."""

    def new_graph(self) -> Graph:
        """Return a graph to capture into."""

    def capturing(self, graph: Graph) -> AbstractContextManager[object]:
        """Capture calls meanwhile, instead of running them."""


def awaited(cuda: Cuda, call: Callable[[], Result]) -> Callable[[], Result]:
    """Return the call with the wait until the GPU is done, which is what a user waits for."""

    def run() -> Result:
        result = call()
        cuda.synchronize()
        return result

    return run


def captured(cuda: Cuda, call: Callable[[], Result]) -> Callable[[], Result]:
    """Return what replays the call from one CUDA graph; its result lies where it always does."""
    side = cuda.side_stream()
    side.wait_stream(cuda.current_stream())
    with cuda.on(side):
        for _ in range(WARMUPS):
            call()
    cuda.current_stream().wait_stream(side)
    graph = cuda.new_graph()
    with cuda.capturing(graph):
        result = call()

    def replay() -> Result:
        graph.replay()
        return result

    return replay


def span_s(
    cuda: Cuda, call: Callable[[], object], clock: Callable[[], int] = time.perf_counter_ns
) -> float:
    """Return the seconds that the GPU takes for a call that is not awaited: the median of SPANS.

    As benchbox.agent.gputiming does it: the queue is held until all of the call is in it, else it
    would be the launching that is timed.
    """
    spans_ms = []
    begin = clock()
    call()
    hold_ns = min(LONGEST_HOLD_NS, HOLD * (clock() - begin) + HOLD_MORE_NS)
    cuda.synchronize()
    for _ in range(SPANS):
        start, end = cuda.event(), cuda.event()
        cuda.hold(hold_ns)
        start.record()
        call()
        end.record()
        cuda.synchronize()
        spans_ms.append(start.elapsed_time(end))
    return statistics.median(spans_ms) / 1e3


class TorchCuda:
    """torch.cuda, which is imported by now."""

    @property
    def _cuda(self) -> Any:  # noqa: ANN401 - its classes take none but their own kind
        import torch

        return torch.cuda

    def synchronize(self) -> None:
        """Wait until the GPU has done all that is queued."""
        self._cuda.synchronize()

    def hold(self, ns: int) -> None:
        """Let a kernel that does nothing run for at least `ns`."""
        self._cuda._sleep(ns * CYCLES_PER_NS)

    def event(self) -> Event:
        """Return a mark that takes the time."""
        mark: Event = self._cuda.Event(enable_timing=True)
        return mark

    def side_stream(self) -> Stream:
        """Return another queue."""
        stream: Stream = self._cuda.Stream()
        return stream

    def current_stream(self) -> Stream:
        """Return the queue that calls go to."""
        stream: Stream = self._cuda.current_stream()
        return stream

    def on(self, stream: Stream) -> AbstractContextManager[object]:
        """Let calls go to a queue meanwhile."""
        meanwhile: AbstractContextManager[object] = self._cuda.stream(stream)
        return meanwhile

    def new_graph(self) -> Graph:
        """Return a graph to capture into."""
        graph: Graph = self._cuda.CUDAGraph()
        return graph

    def capturing(self, graph: Graph) -> AbstractContextManager[object]:
        """Capture calls meanwhile, instead of running them."""
        meanwhile: AbstractContextManager[object] = self._cuda.graph(graph)
        return meanwhile
