"""Stands in for a build of torch with CUDA: the real one for processors, told to pretend.

It pretends in the process that times torch, and in no other. What is moved to the GPU stays in the
host's memory; calls of a module that was moved compute there, and add work to the current stream
of the stand-in for CUDA's runtime, as a product does that has a place for its result. FAKE_TORCH
names a text file with lines:
  stray 1            calls go to another stream than the one that was set
"""

import contextlib
import ctypes
import sys
import time
from types import SimpleNamespace

import stand_in

NON_BLOCKING = 1
NS_PER_MB = 1000  # of the stand-in for CUDA's runtime, as long as it is not told otherwise
CALL_MB, PRODUCT_MB = 50, 36
ALLOCATED_MB = 300  # for a module

torch = stand_in.real("torch")
cudart = ctypes.CDLL("libcudart.so.13")
filled = ctypes.create_string_buffer(1 << 20)  # of a fill, no more than that is really filled
gpu = SimpleNamespace(stream=None, capturing=None)


def add(megabytes):
    (gpu.capturing or gpu.stream).add(megabytes)


class Stream:
    """One of the stand-in for CUDA's runtime; who waits for it does so by the real clock too."""

    def __init__(self):
        self._handle = ctypes.c_void_p()
        cudart.cudaStreamCreateWithFlags(ctypes.byref(self._handle), NON_BLOCKING)
        self._busy_ns = 0

    @property
    def cuda_stream(self):
        return self._handle.value

    def add(self, megabytes):
        size = ctypes.c_size_t(megabytes * 1_000_000)
        cudart.cudaMemsetAsync(filled, 0, size, self._handle)
        self._busy_ns = max(self._busy_ns, time.perf_counter_ns()) + megabytes * NS_PER_MB

    def wait_stream(self, other):
        self._busy_ns = max(self._busy_ns, other._busy_ns)

    def synchronize(self):
        if cudart.cudaStreamSynchronize(self._handle):
            raise RuntimeError(
                "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be "
                "asynchronously reported at some other API call"
            )
        while time.perf_counter_ns() < self._busy_ns:
            pass


class CUDAGraph:
    megabytes = 0

    def add(self, megabytes):
        self.megabytes += megabytes

    def replay(self):
        add(self.megabytes)


@contextlib.contextmanager
def on(stream):
    before, gpu.stream = gpu.stream, stream
    yield
    gpu.stream = before


@contextlib.contextmanager
def capture(graph, stream):
    assert stream is not gpu.stream, "where others are captured too"
    gpu.capturing = graph
    yield
    gpu.capturing = None


def set_stream(stream):
    gpu.stream = Stream() if stand_in.told("FAKE_TORCH", "stray") else stream


def is_gpu(place):
    return str(place).startswith("cuda")


def moved(module, place):
    if is_gpu(place):
        cudart.cudaMalloc(ctypes.byref(ctypes.c_void_p()), ctypes.c_size_t(ALLOCATED_MB << 20))
        module.register_forward_hook(lambda *_: add(CALL_MB))
    return module


def product(left, right, *, out=None):
    if out is None:
        return real_product(left, right)
    add(PRODUCT_MB)
    return out


if any(each.endswith("benchbox.export.torch_agent") for each in sys.orig_argv):
    stand_in.stay_calm()
    real_to, real_product = torch.Tensor.to, torch.mm
    torch.version.cuda = "13.0"
    torch.cuda.is_available = lambda: True
    torch.cuda.set_device = lambda _: None
    torch.cuda.current_device = lambda: 0
    torch.cuda.Stream, torch.cuda.CUDAGraph = Stream, CUDAGraph
    torch.cuda.stream, torch.cuda.graph = on, capture
    torch.cuda.set_stream = set_stream
    torch.cuda.current_stream = lambda: gpu.stream
    torch.cuda.empty_cache = lambda: None
    torch.nn.Module.to = moved
    torch.Tensor.to = lambda tensor, place, *more, **named: (
        tensor.clone() if is_gpu(place) else real_to(tensor, place, *more, **named)
    )
    torch.mm = product
