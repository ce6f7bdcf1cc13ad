"""Streams, events and buffers of one GPU."""

import ctypes
from collections.abc import Callable
from ctypes import byref, c_float, c_void_p
from types import TracebackType

from benchbox.agent.gpu.cudart import DEVICE_TO_DEVICE, NON_BLOCKING, NS_PER_MS, CudaDevice

NS_PER_US = 1000


class _Owned:
    """Something of CUDA's that is given back once, and never where nothing undoes it."""

    def __init__(self, device: CudaDevice, handle: int, undo: str) -> None:
        self.device, self.handle, self._undo = device, handle, undo

    def close(self) -> None:
        """Give it back; a second time is nothing."""
        handle, self.handle = self.handle, 0
        if handle and self._undo:
            self.device.runtime.call(self._undo, handle)

    def __enter__(self) -> "_Owned":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Buffer(_Owned):
    """Bytes of the GPU's memory."""

    def __init__(self, device: CudaDevice, size: int) -> None:
        """Allocate `size` bytes; raises CudaError when so many are not free."""
        super().__init__(device, device.runtime.handle("cudaMalloc", size), "cudaFree")
        self.size = size


class Stream(_Owned):
    """A queue of work that runs in order and waits for no other; all calls here only add to it."""

    def __init__(self, device: CudaDevice, lent: int = 0) -> None:
        """Make one, or take the one at the address `lent`, which stays another library's."""
        handle = lent or device.runtime.handle("cudaStreamCreateWithFlags", NON_BLOCKING)
        super().__init__(device, handle, "" if lent else "cudaStreamDestroy")
        self._call = device.runtime.call
        self._sleep = _usleep()

    def hold(self, ns: int) -> None:
        """Hold back what is added from now on for at least `ns`, until all of it is queued.

        A thread of the driver sleeps meanwhile, in the C library; Python is not called. The time is
        bounded, so that a program that waits for the stream, by mistake or because it must, loses
        that time and no more.
        """
        # The sleep's one argument, a whole number, travels where the address of data would.
        self._call("cudaLaunchHostFunc", self.handle, self._sleep, ns // NS_PER_US)

    def fill(self, buffer: Buffer, value: int = 0) -> None:
        """Write `value` into every byte of a buffer."""
        self._call("cudaMemsetAsync", buffer.handle, value, buffer.size, self.handle)

    def copy(self, target: Buffer, source: Buffer) -> None:
        """Copy as much of a buffer into another as both have."""
        size = min(target.size, source.size)
        arguments = target.handle, source.handle, size, DEVICE_TO_DEVICE, self.handle
        self._call("cudaMemcpyAsync", *arguments)

    def synchronize(self) -> None:
        """Wait until everything that was added has run."""
        self._call("cudaStreamSynchronize", self.handle)


class Event(_Owned):
    """A moment of a stream, by the GPU's clock; CUDA promises half a microsecond's resolution."""

    def __init__(self, device: CudaDevice) -> None:
        super().__init__(device, device.runtime.handle("cudaEventCreate"), "cudaEventDestroy")

    def record(self, stream: Stream) -> None:
        """Add the event to a stream; its moment is when everything before it has run."""
        self.device.runtime.call("cudaEventRecord", self.handle, stream.handle)

    def synchronize(self) -> None:
        """Wait until the event has happened."""
        self.device.runtime.call("cudaEventSynchronize", self.handle)

    def since(self, start: "Event") -> int:
        """Return the nanoseconds between an earlier event and this one; both have happened."""
        elapsed = c_float()
        arguments = byref(elapsed), start.handle, self.handle
        self.device.runtime.call("cudaEventElapsedTime", *arguments)
        return round(elapsed.value * NS_PER_MS)


class Marker:
    """A stream with what times calls in it: two events, and a buffer as large as the cache.

    It is a Queue of benchbox.agent.gpu.burst.
    """

    def __init__(self, stream: Stream) -> None:
        """Create the events, and a buffer of the cache's size; raises CudaError without memory."""
        device = stream.device
        self._stream = stream
        self._first, self._last = Event(device), Event(device)
        self._cache = Buffer(device, device.l2_bytes()) if device.l2_bytes() else None

    def flush(self) -> None:
        """Fill a buffer of the cache's size."""
        if self._cache is not None:
            self._stream.fill(self._cache)

    def hold(self, ns: int) -> None:
        """Have a thread of the driver sleep in the queue."""
        self._stream.hold(ns)

    def start(self) -> None:
        """Record the first event."""
        self._first.record(self._stream)

    def end(self) -> None:
        """Record the last event."""
        self._last.record(self._stream)

    def join(self) -> None:
        """Have the calling thread use the stream, which another has made."""
        self._stream.device.choose()

    def wait(self) -> None:
        """Wait until the stream is empty."""
        self._stream.synchronize()

    def span_ns(self) -> int:
        """Wait for the last event and return the time since the first."""
        self._last.synchronize()
        return self._last.since(self._first)

    def close(self) -> None:
        """Give the events and the memory back."""
        for each in (self._first, self._last, self._cache):
            if each is not None:
                each.close()


def _usleep() -> c_void_p:
    """Return the address of the C library's sleep, which takes microseconds."""
    function: Callable[..., int] = ctypes.CDLL(None).usleep
    return ctypes.cast(function, c_void_p)  # type: ignore[arg-type]
