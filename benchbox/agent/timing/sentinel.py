"""Sentinel of a processor: fixed work timed between bursts, which shows the processor's state.

A processor has states that no counter of a guest shows: the clock it is given, or a busy sibling of
its core on the host. A convolution of 0.82 ms then takes 1.19 ms for seconds on end, without one
context switch. A probe that is always the same work shows it. Latencies are chosen by what the
probes beside them read; they are never divided by it.

What the choices rest on, seen on a shared two-processor x86 virtual machine with five convolutional
graphs of 0.8 to 12.5 ms and three memory-bound ones:

compute probe   rank correlation with the latency of the call beside it
GEMM 96         0.44 - 0.56
GEMM 160        0.31 - 0.56; two levels, 60 and 63 us, by what had run before it
copy of 256 KB  0.26 - 0.43
Python loop     0.16 - 0.34

From its second call on GEMM 96 does not depend on what ran before (16.6 us, then 11.6 whatever the
graph), and half of its readings lie within 0.9% of each other, so that clock steps of 4% are apart.

Beside bursts of calls that lie in one state by the GEMM, a copy of 4 MiB explains most of what is
left, the level of the caches and the memory that all processors share:

                             rank correlation   p50 of 10 s apart, largest over smallest
                             with the copy      by the GEMM alone   by both
compute-bound, 0.8 - 13 ms   0.51 - 0.86        1.02 - 1.06         1.01 - 1.02
memory-bound, 0.6 - 11 ms    0.5

Copies of 0.5 and 1 MiB correlate less (0.40 - 0.58), one of 16 MiB as much and takes four times as
long, a random gather less (0.2 - 0.4). After a memory-bound call (a Relu on 64 MB, a product with a
64 MB matrix) the GEMM reads 10% to 40% too much and correlates by 0.3 only, so that such graphs are
watched by the copy alone.
"""

import mmap
import os
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

SIZE = 96
CALLS = 4  # the first is untimed, of the others the fastest counts: 50 us together
STREAM_BYTES = 4 << 20  # beyond a core's own caches
STREAM_CALLS = 3  # likewise; 1 ms together
STREAM_SHARE = 0.02  # of the time at most: until then the last reading stands
PAGE = 4096

Matrices = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


class Sentinel:
    """The probes of one agent, which runs on `cpus`: one for each of its threads."""

    def __init__(self, cpus: Sequence[int] = ()) -> None:
        self._matrices = _matrices()
        self._others = [_Other(cpu) for cpu in cpus[1:]]
        self._source: NDArray[np.float32] | None = None
        self._target: NDArray[np.float32] | None = None
        self._reading = self._spent_ns = self._stands_until = 0
        self.compute()

    def compute(self) -> int:
        """Return the nanoseconds of one product of two 96x96 matrices, on the slowest processor.

        With several threads the others' are timed first: while they run, this one waits.
        """
        slowest = max((other.compute() for other in self._others), default=0)
        return max(slowest, _compute(self._matrices))

    def stream(self) -> int:
        """Return the nanoseconds of copying STREAM_BYTES, by the calling thread.

        A device on which that takes long is asked less often: the last reading stands for a while.
        """
        start = time.perf_counter_ns()
        if start >= self._stands_until:
            self._reading = self.copy()
            end = time.perf_counter_ns()
            self._spent_ns += end - start
            self._stands_until = end + int((end - start) / STREAM_SHARE)
        return self._reading

    def streamed_ns(self) -> int:
        """Nanoseconds spent in `stream` since the last time this was asked."""
        spent_ns, self._spent_ns = self._spent_ns, 0
        return spent_ns

    def copy(self) -> int:
        """Return a reading of the stream probe that is taken now, in nanoseconds."""
        if self._source is None or self._target is None:
            self._source = _floats(STREAM_BYTES // 4)
            self._target = _floats(STREAM_BYTES // 4)
        source, target = self._source, self._target
        return fastest(lambda: np.copyto(target, source), STREAM_CALLS)


class _Other(threading.Thread):
    """A thread bound to a processor, which probes it when asked and sleeps otherwise."""

    def __init__(self, cpu: int) -> None:
        super().__init__(daemon=True, name=f"sentinel-{cpu}")
        self._cpu = cpu
        self._asked, self._answered = threading.Semaphore(0), threading.Semaphore(0)
        self._reading = 0
        self._lost = False
        self.start()

    def run(self) -> None:
        """Answer for as long as the process lives."""
        if hasattr(os, "sched_setaffinity"):
            try:
                os.sched_setaffinity(0, {self._cpu})
            except OSError:
                self._lost = True
        matrices = _matrices()
        while True:
            self._asked.acquire()
            self._reading = _compute(matrices)
            self._answered.release()

    def compute(self) -> int:
        """Return one reading, in nanoseconds; raises RuntimeError without its processor."""
        self._asked.release()
        self._answered.acquire()
        if self._lost:
            raise RuntimeError(f"no thread of this process may run on processor {self._cpu}")
        return self._reading


def _compute(matrices: Matrices) -> int:
    left, right, product = matrices
    return fastest(lambda: np.matmul(left, right, out=product), CALLS)


def fastest(call: Callable[[], object], calls: int) -> int:
    """Return the nanoseconds of the fastest of `calls` calls but the first."""
    clock = time.perf_counter_ns
    call()
    readings = []
    for _ in range(calls - 1):
        start = clock()
        call()
        readings.append(clock() - start)
    return min(readings)


def _matrices() -> Matrices:
    """Return two factors and a product, each on pages of its own, so that all processes agree."""
    left, right, product = (_floats(SIZE * SIZE).reshape(SIZE, SIZE) for _ in range(3))
    # Any values but denormal ones; numpy.random would be 7 MB more in an agent that waits.
    left[:], right[:] = (np.cos(np.arange(SIZE * SIZE) * f).reshape(SIZE, SIZE) for f in (1, 2))
    return left, right, product


def _floats(count: int) -> NDArray[np.float32]:
    pages = -(-count * 4 // PAGE)
    array = np.frombuffer(mmap.mmap(-1, pages * PAGE), dtype=np.float32, count=count)
    array[:] = 1.0
    return array
