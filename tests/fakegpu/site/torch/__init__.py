"""Stands in for a build of torch with CUDA: the real one for processors, told to pretend.

It pretends in the processes that time torch, and in no other. What is moved to the GPU stays in the
host's memory; calls of a module that was moved compute there, and add work to the current stream
of the stand-in for CUDA's runtime, as a product does that has a place for its result. FAKE_TORCH
names a text file with lines:
  stray 1            calls go to another stream than the one that was set
"""

import contextlib
import ctypes
import importlib
import os
import sys
import time
from pathlib import Path

import calm

FOLDER = Path(__file__).parents[1]
TIMING = {"benchbox.export.torch_agent", "tools.cuda.profiled"}
NON_BLOCKING = 1
NS_PER_MB = 1000  # of the stand-in for CUDA's runtime, as long as it is not told otherwise
CALL_MB, PRODUCT_MB = 50, 36
ALLOCATED_MB = 300  # for a module


def told(key):
    path = os.environ.get("FAKE_TORCH")
    lines = Path(path).read_text().splitlines() if path and Path(path).exists() else []
    return any(line.split()[0] == key for line in lines)


def real():
    """The installed package, in the place of this one."""
    before = list(sys.path)
    sys.path[:] = [each for each in before if Path(each or ".").resolve() != FOLDER]
    del sys.modules["torch"]
    found = importlib.import_module("torch")
    sys.path[:] = before
    return found


torch = real()


class Gpu:
    """The streams, which of them is current, the graph that is being captured."""

    def __init__(self):
        self.runtime = ctypes.CDLL("libcudart.so.13")
        self.current = self.capturing = None
        self.index = 0
        self.filled = ctypes.create_string_buffer(1 << 20)  # of which no more is really filled

    def add(self, megabytes):
        if self.capturing is None:
            self.current.add(megabytes)
        else:
            self.capturing.megabytes += megabytes


gpu = Gpu()


class Stream:
    """One of the stand-in for CUDA's runtime; who waits for it does so by the real clock too."""

    def __init__(self):
        self._handle = ctypes.c_void_p()
        gpu.runtime.cudaStreamCreateWithFlags(ctypes.byref(self._handle), NON_BLOCKING)
        self._busy_ns = 0

    @property
    def cuda_stream(self):
        return self._handle.value

    def __repr__(self):
        return f"<stream {self.cuda_stream:#x}>"

    def add(self, megabytes):
        size = ctypes.c_size_t(megabytes * 1_000_000)
        gpu.runtime.cudaMemsetAsync(gpu.filled, 0, size, self._handle)
        self._busy_ns = max(self._busy_ns, time.perf_counter_ns()) + megabytes * NS_PER_MB

    def wait_stream(self, other):
        self._busy_ns = max(self._busy_ns, other._busy_ns)

    def synchronize(self):
        if gpu.runtime.cudaStreamSynchronize(self._handle):
            raise RuntimeError(
                "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be "
                "asynchronously reported at some other API call"
            )
        while time.perf_counter_ns() < self._busy_ns:
            pass


class CUDAGraph:
    megabytes = 0

    def replay(self):
        gpu.add(self.megabytes)


@contextlib.contextmanager
def on(stream):
    before, gpu.current = gpu.current, stream
    yield
    gpu.current = before


@contextlib.contextmanager
def capture(graph, stream):
    assert stream is not gpu.current, "where others are captured too"
    gpu.capturing = graph
    yield
    gpu.capturing = None


def set_stream(stream):
    gpu.current = Stream() if told("stray") else stream


def set_device(index):
    gpu.index = index


def is_gpu(place):
    return str(place).startswith("cuda")


def moved(module, place):
    if is_gpu(place):
        gpu.runtime.cudaMalloc(ctypes.byref(ctypes.c_void_p()), ctypes.c_size_t(ALLOCATED_MB << 20))
        module.register_forward_hook(lambda *_: gpu.add(CALL_MB))
    return module


def product(left, right, *, out=None):
    if out is None:
        return real_product(left, right)
    gpu.add(PRODUCT_MB)
    return out


if TIMING & set(sys.orig_argv):
    calm.keep()
    real_to, real_product = torch.Tensor.to, torch.mm
    torch.version.cuda = "13.0"
    torch.cuda.is_available = lambda: True
    torch.cuda.init = lambda: None
    torch.cuda.set_device = set_device
    torch.cuda.current_device = lambda: gpu.index
    torch.cuda.Stream = Stream
    torch.cuda.stream = on
    torch.cuda.set_stream = set_stream
    torch.cuda.current_stream = lambda: gpu.current
    torch.cuda.CUDAGraph = CUDAGraph
    torch.cuda.graph = capture
    torch.cuda.empty_cache = lambda: None
    torch.nn.Module.to = moved
    torch.Tensor.to = lambda tensor, place, *more, **named: (
        tensor.clone() if is_gpu(place) else real_to(tensor, place, *more, **named)
    )
    torch.mm = product
