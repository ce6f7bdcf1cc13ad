"""Sentinel of a GPU: fixed work timed beside bursts, for its clock and its memory traffic.

As benchbox.agent.timing.sentinel is for processors. A GPU's clock follows its load, its heat and
its power limit, and others may work on it; the driver tells of that only now and then. Both probes
are timed on the GPU, by events, with the queue held until all of them is in it, so that a busy host
does not show in them.
"""

import time
from collections.abc import Callable
from typing import Protocol

from benchbox.agent.gpu import errors
from benchbox.agent.gpu.stream import Buffer, Marker, Stream

SIZE = 1024  # of the matrices: 12 MiB together
STREAM_BYTES = 64 << 20  # as much as the largest caches, so that the copy's two do not fit
CALLS = 4  # the first is untimed, of the others the fastest counts
HOLD_NS = 200_000  # one product or copy is queued in less
# Of the ceilings: so large that launching is nothing, and a fraction of the smallest GPU's memory.
BIG_SIZE = 4096
BIG_BYTES = 256 << 20
NS = 1_000_000_000


class MatmulFactory(Protocol):
    """Maker of products of two square matrices, by the library whose graphs are timed."""

    def __call__(self, size: int, dtype: str, *, tf32: bool) -> Callable[[], object]:
        """A function that puts one of `size` x `size` into the stream on which the graphs run.

        With `tf32` its factors in float32 are rounded to ten bits where the GPU can.
        """


class GpuSentinel:
    """The probes of one GPU, on the stream on which its graphs run."""

    def __init__(self, stream: Stream, products: MatmulFactory) -> None:
        """Load the probes; raises RuntimeError when the GPU cannot hold them."""
        self._stream, self._products = stream, products
        self._marker = Marker(stream)
        self._buffers = _pair(stream, STREAM_BYTES)
        self._product = products(SIZE, "float32", tf32=False)
        self._spent_ns = 0
        self.compute()

    def compute(self) -> int:
        """Return the nanoseconds of one product of two 1024x1024 matrices in float32."""
        return self._fastest(self._product)

    def level(self) -> tuple[int, ...]:
        """Return the nanoseconds of copying STREAM_BYTES within the GPU's memory, alone."""
        start = time.perf_counter_ns()
        reading = self.copy()
        self._spent_ns += time.perf_counter_ns() - start
        return (reading,)

    def levelled_ns(self) -> int:
        """Nanoseconds spent in `level` since the last time this was asked."""
        spent_ns, self._spent_ns = self._spent_ns, 0
        return spent_ns

    def copy(self) -> int:
        """Return a reading of the stream probe that is taken now, in nanoseconds."""
        target, source = self._buffers
        return self._fastest(lambda: self._stream.copy(target, source))

    def ceilings(self) -> dict[str, float]:
        """Measure what big products and one big copy reach; their memory is given back.

        fp32_macs_per_s, tf32_macs_per_s, fp16_macs_per_s   multiply-accumulates
        bytes_per_s                                         read and written
        """
        kinds = {"fp32": ("float32", False), "tf32": ("float32", True), "fp16": ("float16", False)}
        found = {}
        for name, (dtype, tf32) in kinds.items():
            product_ns = self._fastest(self._products(BIG_SIZE, dtype, tf32=tf32))
            found[f"{name}_macs_per_s"] = BIG_SIZE**3 * NS / product_ns
        target, source = _pair(self._stream, BIG_BYTES)
        with target, source:
            copy_ns = self._fastest(lambda: self._stream.copy(target, source))
        return {**found, "bytes_per_s": 2 * BIG_BYTES * NS / copy_ns}

    def close(self) -> None:
        """Give everything on the GPU back."""
        self._marker.close()
        for buffer in self._buffers:
            buffer.close()

    def __enter__(self) -> "GpuSentinel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fastest(self, enqueue: Callable[[], object]) -> int:
        """Return the nanoseconds of the fastest of CALLS calls but the first, on the GPU."""
        readings = []
        with errors.translate_errors():
            for _ in range(CALLS):
                self._marker.hold(HOLD_NS)
                self._marker.start()
                enqueue()
                self._marker.end()
                readings.append(self._marker.span_ns())
        return max(1, min(readings[1:]))


def _pair(stream: Stream, size: int) -> tuple[Buffer, Buffer]:
    return Buffer(stream.device, size), Buffer(stream.device, size)
