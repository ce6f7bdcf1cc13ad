"""Stands in for a build of ONNX Runtime with CUDA: the real one for processors, told to pretend.

A session for CUDA computes on the processor, and adds work to its stream of the stand-in for CUDA's
runtime; a call that waits takes as long as that work. FAKE_ORT names a text file with lines:
  left OP            nodes of that type are left to the processor, "left all" all of them
  capture fails      recording a CUDA graph fails
  lose OP            a call of a graph with such a node loses the GPU
  work_mb N          work of a call, as memory filled on the GPU
  slow_every MS      for every other so many milliseconds the host takes twice as long, for a call
                     that waits as for a power
"""

import builtins
import ctypes
import importlib
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

FOLDER = str(Path(__file__).parents[1])
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
WAITING = "disable_synchronize_execution_providers"
NS_PER_MB = 1000  # of the stand-in for CUDA's runtime, as long as it is not told otherwise
ALLOCATED_MB = 400


def told(key):
    path = os.environ.get("FAKE_ORT")
    lines = Path(path).read_text().splitlines() if path and Path(path).exists() else []
    return [line.split()[1] for line in lines if line.split()[0] == key]


PERIOD_NS = int((told("slow_every") or ["0"])[0]) * 1_000_000  # read once: it must cost nothing


def real():
    """The installed package, in the place of this one."""
    sys.path[:] = [each for each in sys.path if Path(each or ".").resolve() != Path(FOLDER)]
    del sys.modules["onnxruntime"]
    return importlib.import_module("onnxruntime")


ort = real()


def slowness():
    """How long the host takes now, over what it takes else."""
    return 1 + time.monotonic_ns() // PERIOD_NS % 2 if PERIOD_NS else 1


def slowed(work):
    def run(*arguments, **more):
        for _ in range(slowness()):
            result = work(*arguments, **more)
        return result

    return run


class Session(ort.InferenceSession):
    def __init__(self, graph, options=None, providers=None, provider_options=None, **more):
        providers = [each if isinstance(each, str) else each[0] for each in providers or ()]
        self._on_cuda = providers[:1] == [CUDA]
        if not self._on_cuda:
            super().__init__(graph, options, providers or None, provider_options, **more)
            return
        self._own, self._called = provider_options[0], False
        self._probe = isinstance(graph, bytes)
        super().__init__(graph, options, [CPU], [{}], **more)
        names = [n.op_type for p in self._parts() for n in p.get_nodes()]
        left = set(names) if "all" in told("left") else set(told("left"))
        self._left = [name for name in names if name in left]
        self._names = names
        if self._own["enable_cuda_graph"] == "1" and (self._left or told("capture")):
            raise RuntimeError(
                "[ONNXRuntimeError] : 1 : FAIL : This session cannot use the graph capture feature "
                "as requested by the user  as all compute graph nodes have not been partitioned to "
                f"the {CUDA}"
            )
        self._cuda = ctypes.CDLL("libcudart.so.13")
        self._buffer = ctypes.c_void_p()
        self._cuda.cudaMalloc(ctypes.byref(self._buffer), ctypes.c_size_t(ALLOCATED_MB << 20))

    def _parts(self):
        return super().get_provider_graph_assignment_info()

    def get_providers(self):
        return [CUDA, CPU] if self._on_cuda else super().get_providers()

    def get_provider_graph_assignment_info(self):
        if not self._on_cuda:
            return self._parts()
        kept = [name for name in self._names if name not in self._left]
        pairs = ((CUDA, kept), (CPU, self._left))
        return [
            SimpleNamespace(ep_name=name, get_nodes=lambda nodes=nodes: nodes)
            for name, nodes in pairs
            if nodes
        ]

    def run_with_iobinding(self, binding, run_options=None):
        if not self._on_cuda:
            return super().run_with_iobinding(binding, run_options)
        start = time.perf_counter_ns()
        if set(told("lose")) & set(self._names):
            raise RuntimeError(
                "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; "
                "hostname=somewhere ; file=cuda.cc ; line=1 ; expr=cudaStreamSynchronize(stream);"
            )
        if not self._called:  # inputs and outputs stay where and what they are
            plain = ort.RunOptions()
            plain.log_severity_level = 3
            super().run_with_iobinding(binding, plain)
        self._called = True
        megabytes = 36 if self._probe else int((told("work_mb") or ["50"])[0])
        stream = ctypes.c_void_p(int(self._own["user_compute_stream"]))
        size = ctypes.c_size_t(megabytes * 1_000_000)
        self._cuda.cudaMemsetAsync(self._buffer, 0, size, stream)
        if not waits_not(run_options):
            self._cuda.cudaStreamSynchronize(stream)
            while time.perf_counter_ns() < start + slowness() * megabytes * NS_PER_MB:
                pass
        return None


def waits_not(run_options):
    try:
        return run_options.get_run_config_entry(WAITING) == "1"
    except RuntimeError:
        return False


class Binding(ort.IOBinding):
    def bind_output(self, name, *_):
        super().bind_output(name)


def on_the_processor(make):
    return lambda array, *_: make(array)


def io_binding(session):
    return Binding(session)


ort.cuda_version = "13.0"
ort.get_available_providers = lambda: [CUDA, CPU]
ort.InferenceSession = Session
ort.OrtValue.ortvalue_from_numpy = staticmethod(on_the_processor(ort.OrtValue.ortvalue_from_numpy))
Session.io_binding = io_binding
if PERIOD_NS:
    builtins.pow = slowed(pow)
