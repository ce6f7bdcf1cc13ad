"""Timed loop for a graph on a GPU: latency of a caller, span on the GPU, and cost of copies.

Three figures over the same calls, as they differ by what a small network is made of:

latency   from the call to its return, which waits for the GPU: what a program waits
span      from the first to the last moment of the call's work on the GPU, by the GPU's own clock
copies    as the latency, with inputs that come from the host's memory and outputs that go there

A GPU works through small kernels faster than a program launches them. Were a span taken of calls
that are launched while the GPU already works, it would be the launching that is timed. So the queue
is held until all of the call is in it; where it could not be held long enough, the span is counted
as `unheld`. Latency less span is then what launching and waiting cost.

Of a CUDA graph's replay there are versions of ONNX Runtime that wait for its end, though asked not
to. What would be marked after that is when the host woke up. There a second thread marks the end,
while the queue is held and the replay is in it already.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from benchbox.agent.gpu import errors
from benchbox.agent.timing.burst import (
    MOST_TIMED,
    SentinelReadings,
    TimedBurst,
    counted,
    settle,
    switch_counter,
)

# Of the time that queueing the call took before: launching it again may take longer than once.
HOLD = 2
HOLD_MORE_NS = 50_000
# A queue has room for about a thousand kernels; who adds more waits for it to be released.
LONGEST_HOLD_NS = 20_000_000
# Of a replay, to see whether putting it into the queue waits for its end; and for a second thread
# to wake up in, many times over.
HOLD_TO_SEE_NS = 2_000_000
LOOKS_TO_SEE = 3  # a replay that waits does so each time; a host that stalls seldom does
NS = 1e-9


class GpuCall(Protocol):
    """A graph that is ready to be called on a GPU."""

    def run(self) -> object:
        """Call it and wait for its outputs, on the GPU."""

    def enqueue(self) -> object:
        """Put the call into the queue, and wait for nothing."""

    def run_with_copies(self) -> object:
        """Copy its inputs to the GPU, call it, and copy its outputs back."""


class Queue(Protocol):
    """The queue in which a graph's calls run, and a clock of it."""

    def flush(self) -> None:
        """Put into the queue what leaves nothing of a graph in the GPU's cache."""

    def hold(self, ns: int) -> None:
        """Hold back everything that follows for `ns`."""

    def start(self) -> None:
        """Mark where a span starts."""

    def end(self) -> None:
        """Mark where it ends."""

    def join(self) -> None:
        """Have the calling thread use the queue, which another has made."""

    def wait(self) -> None:
        """Wait until the queue is empty."""

    def span_ns(self) -> int:
        """Wait for the end of the span and return the nanoseconds that it took."""


@dataclass(frozen=True, slots=True)
class GpuBurst(TimedBurst):
    """Calls in a row, each timed from outside and then once more on the GPU.

    `latencies_ns` and `spans_ns` belong to each other one by one. `enqueues_ns` is what it took to
    put the calls of the spans into the queue, in host time, where that does not wait for their end;
    `unheld` counts those that took longer than the queue was held, whose spans have gaps in them.
    `cold` if the cache was flushed before each.
    """

    spans_ns: list[int] = field(default_factory=list)
    enqueues_ns: list[int] = field(default_factory=list)
    unheld: int = 0
    copies_ns: list[int] = field(default_factory=list)
    cold: bool = False


@dataclass(frozen=True, slots=True)
class BurstPlan:
    """Plan of a burst: how many calls, how many with copies, whether the cache is cold.

    `replayed` if a call is one CUDA graph, which is launched at once.
    """

    calls: int
    copies: int = 0
    cold: bool = False
    replayed: bool = False


def time_gpu_calls(
    call: GpuCall,
    queue: Queue,
    plan: BurstPlan,
    probe: Callable[[], int] | None = None,
    *,
    memory_bound: bool = False,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> GpuBurst:
    """Time a burst of calls, each first by its latency, then by its span; copies come last.

    Between the two nothing else happens, so that both see one state of the GPU. The cache is
    flushed, the queue held and emptied, and the sentinel `probe` read outside of what is timed. A
    burst settles and is thinned out as one on a processor; its switches are those of the calling
    thread, which launches everything.
    """
    timer = _Timer(call, queue, clock, cold=plan.cold, replayed=plan.replayed)
    readings = SentinelReadings(call.run, probe, clock)
    with errors.translate_errors(), timer:
        switches = _timed(timer, readings, plan, memory_bound=memory_bound)
    return timer.burst(counted(switches), readings)


def _timed(
    timer: "_Timer", readings: SentinelReadings, plan: BurstPlan, *, memory_bound: bool
) -> list[int]:
    """Time all calls of a burst; return the context switches during each latency."""
    count = switch_counter(1)
    stride = max(1, plan.calls // MOST_TIMED)
    timed, switches = plan.calls // stride, list[int]()
    due = readings.within(0, timer.settle(memory_bound=memory_bound))
    for index in range(timed):
        timer.untimed(stride - 1)
        seen = count()
        latency_ns = timer.latency()
        switches.append(count() - seen)
        timer.span()
        if timer.clock() >= due and index + 1 < timed:
            due = readings.within(index + 1, latency_ns)
    for _ in range(plan.copies):
        timer.copies()
    readings.take(timed)
    return switches


class _Ender(threading.Thread):
    """A second thread, which marks the end of spans while the first one waits in the replay."""

    def __init__(self, queue: Queue, clock: Callable[[], int]) -> None:
        super().__init__(daemon=True, name="span-end")
        self._queue, self._clock = queue, clock
        self._asked, self._answered = threading.Semaphore(0), threading.Semaphore(0)
        self._after_s: float | None = None
        self._error: BaseException | None = None
        self._ended_ns = 0
        self.start()

    def run(self) -> None:
        """Mark an end whenever asked, until there is nothing more to mark."""
        with contextlib.suppress(AttributeError, OSError):  # the first has a processor to itself
            os.sched_setaffinity(0, range(os.cpu_count() or 1))
        joined = False
        while self._asked.acquire() and self._after_s is not None:
            time.sleep(self._after_s)
            try:
                if not joined:
                    self._queue.join()
                    joined = True
                self._queue.end()
            except Exception as error:
                self._error = error
            self._ended_ns = self._clock()
            self._answered.release()

    def mark(self, after_s: float) -> None:
        """Have the end marked so long after now."""
        self._after_s = after_s
        self._asked.release()

    def marked_ns(self) -> int:
        """Wait for the mark; return when it was made, and raise what went wrong with it."""
        self._answered.acquire()
        if self._error is not None:
            raise self._error
        return self._ended_ns

    def close(self) -> None:
        """End the thread."""
        self._after_s = None
        self._asked.release()
        self.join()


class _Timer:
    """The figures of one burst, and what takes one of each."""

    def __init__(
        self,
        call: GpuCall,
        queue: Queue,
        clock: Callable[[], int],
        *,
        cold: bool,
        replayed: bool = False,
    ) -> None:
        self._call, self._queue, self.clock, self._cold = call, queue, clock, cold
        self._replayed = replayed
        self._ender: _Ender | None = None
        self._hold_ns = 0
        self._latencies: list[int] = []
        self._spans: list[int] = []
        self._enqueues: list[int] = []
        self._copies: list[int] = []
        self._unheld = 0

    def settle(self, *, memory_bound: bool) -> int:
        """Make the untimed calls of a burst's begin; return what the last of them took.

        One more is queued, to see how long the queue has to be held.
        """
        settled_ns = settle(self._call.run, memory_bound=memory_bound)
        held_ns, more_ns = HOLD_TO_SEE_NS if self._replayed else 0, HOLD_MORE_NS
        enqueue_ns = self._enqueue_held(held_ns)
        for _ in range(LOOKS_TO_SEE - 1):
            if held_ns and enqueue_ns >= held_ns:
                enqueue_ns = min(enqueue_ns, self._enqueue_held(held_ns))
        if held_ns and enqueue_ns >= held_ns:
            enqueue_ns, more_ns = enqueue_ns - held_ns, held_ns
            self._ender = _Ender(self._queue, self.clock)
        self._hold_ns = min(LONGEST_HOLD_NS, HOLD * enqueue_ns + more_ns)
        return settled_ns

    def _enqueue_held(self, held_ns: int) -> int:
        """Queue a call while the queue is held for `held_ns`; return how long that took."""
        if held_ns:
            self._queue.hold(held_ns)
        self._queue.start()
        enqueue_ns = self._enqueue()
        self._queue.span_ns()
        return enqueue_ns

    def untimed(self, calls: int) -> None:
        """Make calls that are not timed."""
        for _ in range(calls):
            self._call.run()

    def latency(self) -> int:
        """Time one call until it returns."""
        self._prepare()
        start = self.clock()
        self._call.run()
        self._latencies.append(self.clock() - start)
        return self._latencies[-1]

    def span(self) -> None:
        """Time one call on the GPU, anew where a stalled host had its end marked before it."""
        for _ in range(LOOKS_TO_SEE if self._ender else 1):
            is_unheld, span_ns = self._span()
            if span_ns:
                break
        self._unheld += is_unheld
        self._spans.append(span_ns)

    def _span(self) -> tuple[bool, int]:
        """Whether the queue was not held until the end of a call was in it, and its nanoseconds."""
        asked = self.clock()
        self._queue.hold(self._hold_ns)
        if self._cold:
            self._queue.flush()
        self._queue.start()
        if self._ender is not None:
            ended = self._enqueue_beside(self._ender)
        else:
            self._enqueues.append(self._enqueue())
            ended = self.clock()
        return ended - asked >= self._hold_ns, self._queue.span_ns()

    def _enqueue_beside(self, ender: _Ender) -> int:
        """Put a call into the queue that waits for it; return when the end of its span was."""
        ender.mark(self._hold_ns / 2 * NS)
        self._call.enqueue()
        return ender.marked_ns()

    def copies(self) -> None:
        """Time one call with its copies."""
        self._prepare()
        start = self.clock()
        self._call.run_with_copies()
        self._copies.append(self.clock() - start)

    def __enter__(self) -> "_Timer":
        return self

    def __exit__(self, *_: object) -> None:
        if self._ender is not None:
            self._ender.close()

    def _prepare(self) -> None:
        if self._cold:
            self._queue.flush()
            self._queue.wait()

    def _enqueue(self) -> int:
        """Put a call and the end of its span into the queue; return how long that took."""
        start = self.clock()
        self._call.enqueue()
        self._queue.end()
        return self.clock() - start

    def burst(self, switches: list[int] | None, readings: SentinelReadings) -> GpuBurst:
        """The burst that was timed."""
        return GpuBurst(
            self._latencies,
            switches,
            readings.marks,
            readings.probed_ns,
            self._spans,
            self._enqueues,
            self._unheld,
            self._copies,
            self._cold,
        )
