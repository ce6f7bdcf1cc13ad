"""Sentinel of a processor: fixed work timed between bursts, which shows the processor's state.

A processor has states that no counter of a guest shows: the clock it is given, or a busy sibling of
its core on the host. A convolution of 0.82 ms then takes 1.19 ms for seconds on end, without one
context switch. A probe that is always the same work shows it.

Compute probe: a product of two 96x96 matrices. Beside the latency of the call next to it its rank
correlation was 0.44 to 0.56 (160x160: 0.31 to 0.56, a copy of 256 KB: 0.26 to 0.43, a loop in
Python: 0.16 to 0.34; a shared x86 virtual machine, five graphs of 0.8 to 12.5 ms). What ran before
it is felt for four calls: the fourth still took 0% to 8% longer after a graph, by the graph, the
eighth the same after all, a Relu on 16 MB and a product with a 16 MB matrix among them.

Stream probe: a copy of 8 MiB, the level of the caches and the memory that all processors share.
Share of the variance of a graph's latency that the probe's level over 15 rounds explains where the
compute probe leaves it (Intel with a large last cache; seven graphs of 0.7 to 43 ms, 160 s):

                      4 MiB  8 MiB  16 MiB  32 MiB
G2, 1 group            0.50   0.68    0.74    0.39
G2, 8 groups, small    0.41   0.70    0.70    0.46
G2, 8 groups, large    0.84   0.92    0.96    0.69
ghostnetv2_x1_0        0.77   0.89    0.95    0.65
shufflenetv2_x1_0      0.60   0.55    0.59    0.16
product with 16 MB     0.55   0.87    0.90    0.62
Relu on 16 MB          0.96   0.98    0.95    0.75

On an AMD EPYC 8 MiB explained 0.80 to 0.88, 4 MiB 0.05 to 0.08 or, in another hour, 0.41 to 0.50.
16 MiB take three times as long as 8, for as much. Random reads and smaller copies explain less.

Refill probe: one product of a 900x900 matrix and a vector, right after a copy of 4 MiB has
displaced it from the core's own caches: how long it takes (0.25 to 1.6 ms) shows how much of it the
shared cache still holds, and how fast the rest comes back. Graphs with 5 to 25 MB of weights were
up to 25% slower for a minute while the other two probes had moved by 2%. Largest over smallest
latency in eight periods of 45 s, each adjusted by slopes fitted in it (Intel; eight graphs of 1.4
to 26 ms, 400 s in each of two restless hours: median and worst graph):

not adjusted                   1.096  1.249      1.060  1.134
compute and stream             1.059  1.213      1.034  1.129
compute and refill, 640x640    1.017  1.035      1.032  1.065
compute and refill, 900x900    1.018  1.033      1.029  1.062
             after 4 MiB                         1.034  1.066
                 1280x1280                       1.040  1.137
all three                      1.019  1.030      1.030  1.063

In the first hour the same product once more, which finds its matrix in the caches, left the worst
graph at 1.24, and a graph of convolutions as a third probe at 1.22.
"""

import mmap
import os
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

SIZE = 96
CALLS, UNTIMED = 8, 5  # of the others the fastest counts; 100 us together
STREAM_BYTES = 8 << 20  # beyond a core's own caches
STREAM_CALLS = 3  # the first untimed; 2 ms together
REFILL_SIZE = 900  # 3.2 MB: more than a core's own caches, less than those that are shared
LEVEL_SHARE = 0.02  # of the time at most, for each of the two: until then its last reading stands
PAGE = 4096

Matrices = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


class Sentinel:
    """The probes of one agent, which runs on `cpus`: one for each of its threads."""

    def __init__(self, cpus: Sequence[int] = ()) -> None:
        self._matrices = _matrices()
        self._others = [_Other(cpu) for cpu in cpus[1:]]
        self._pair: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        self._matrix: NDArray[np.float32] | None = None
        # By name, so that a test can stand in for them.
        self._stream, self._refill = _Rare(lambda: self.copy()), _Rare(lambda: self.refill())
        self.compute()

    def compute(self) -> int:
        """Return the nanoseconds of one product of two 96x96 matrices, on the slowest processor.

        With several threads the others' are timed first: while they run, this one waits.
        """
        slowest = max((other.compute() for other in self._others), default=0)
        return max(slowest, _compute(self._matrices))

    def level(self) -> tuple[int, ...]:
        """Return a reading of the stream probe and one of the refill probe, in nanoseconds."""
        return self._stream.read(), self._refill.read()

    def levelled_ns(self) -> int:
        """Nanoseconds spent in `level` since the last time this was asked."""
        return self._stream.spent() + self._refill.spent()

    def copy(self) -> int:
        """Return a reading of the stream probe that is taken now, in nanoseconds."""
        source, target = self._buffers()
        return fastest(lambda: np.copyto(target, source), STREAM_CALLS)

    def refill(self) -> int:
        """Return a reading of the refill probe that is taken now, in nanoseconds."""
        if self._matrix is None:
            self._matrix = _floats(REFILL_SIZE**2).reshape(REFILL_SIZE, REFILL_SIZE)
        matrix, half = self._matrix, STREAM_BYTES // 8
        source, target = self._buffers()
        np.copyto(target[:half], source[:half])
        return fastest(lambda: np.matmul(matrix, matrix[0]), 1, untimed=0)

    def _buffers(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if self._pair is None:
            self._pair = _floats(STREAM_BYTES // 4), _floats(STREAM_BYTES // 4)
        return self._pair


class _Rare:
    """A probe that takes LEVEL_SHARE of the time at most: its last reading stands for a while."""

    def __init__(self, probe: Callable[[], int]) -> None:
        self._probe = probe
        self._reading = self._spent_ns = self._stands_until = 0

    def read(self) -> int:
        """Return the reading that stands, or a new one."""
        start = time.perf_counter_ns()
        if start >= self._stands_until:
            self._reading = self._probe()
            end = time.perf_counter_ns()
            self._spent_ns += end - start
            self._stands_until = end + int((end - start) / LEVEL_SHARE)
        return self._reading

    def spent(self) -> int:
        """Nanoseconds spent since the last time this was asked."""
        spent_ns, self._spent_ns = self._spent_ns, 0
        return spent_ns


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
    return fastest(lambda: np.matmul(left, right, out=product), CALLS, UNTIMED)


def fastest(call: Callable[[], object], calls: int, untimed: int = 1) -> int:
    """Return the nanoseconds of the fastest of `calls` calls but the first, which are `untimed`."""
    clock = time.perf_counter_ns
    for _ in range(untimed):
        call()
    readings = []
    for _ in range(calls - untimed):
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
