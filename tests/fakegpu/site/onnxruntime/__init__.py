"""Stands in for a build of ONNX Runtime with CUDA and TensorRT: the real one, told to pretend.

A session for a GPU computes on the processor, and adds work to its stream of the stand-in for
CUDA's runtime; a call that waits takes as long as that work. FAKE_ORT_HOME is the folder that it
pretends to lie in. The processor looks undisturbed. FAKE_ORT names a text file with lines:
  left OP            nodes of that type are left to the processor, "left all" all of them
  untaken OP         TensorRT leaves nodes of that type to CUDA, "untaken all" all of them
  engines N          TensorRT makes so many of the nodes that it takes
  lose OP            a call of a graph with such a node loses the GPU
  idle OP            a replay of a graph with such a node computes nothing
  fixed N            output N is a constant, which replays do not write
  wrong OP           a call of a graph with such a node gives other outputs
  falls back         sessions run on the processor, as where the provider's library does not load
  slow_every MS      for every other so many milliseconds the host takes twice as long, for a call
                     that waits as for a power
Beside it, with ".log" at its end, every session for TensorRT is noted, as JSON.
"""

import ctypes
import json
import os
import time
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import stand_in

from benchbox.agent.gpu import sentinel

TENSORRT, CUDA, CPU = "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"
WAITING, CAPTURED = "disable_synchronize_execution_providers", ("gpu_graph_id", "1")
NS_PER_MB = 1000  # of the stand-in for CUDA's runtime, as long as it is not told otherwise
ALLOCATED_MB = 400
FULL = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during initialization: "
    "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* "
    "onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) "
    "Failed to allocate memory for requested buffer of size "
)
REFUSED = "This session cannot use the graph capture feature as requested by the user "
UNCAPTURED = {
    CUDA: f"{REFUSED} as all compute graph nodes have not been partitioned to the ",
    TENSORRT: f"{REFUSED}as all the graph nodes have not been assigned to ",
}


told = partial(stand_in.told, "FAKE_ORT")


def named(key, names):
    """Those of the names that lines with this key have; "all" stands for each."""
    chosen = set(names) if "all" in told(key) else set(told(key))
    return [name for name in names if name in chosen]


@cache
def period_ns():
    """Read once, by each agent: it must cost nothing."""
    return int((told("slow_every") or ["0"])[0]) * 1_000_000


ort = stand_in.real("onnxruntime")


def note(providers, options):
    override = os.environ.get("NVIDIA_TF32_OVERRIDE")
    with Path(os.environ["FAKE_ORT"] + ".log").open("a") as file:
        asked = dict(zip(providers, options, strict=True))
        print(json.dumps({"asked": asked, "tf32": override}), file=file)


class Session(ort.InferenceSession):
    def __init__(self, graph, options=None, providers=None, provider_options=None, **more):
        providers = [each if isinstance(each, str) else each[0] for each in providers or ()]
        self._gpu, self._buffer = [each for each in providers if each in (TENSORRT, CUDA)], None
        if not self._gpu:
            super().__init__(graph, options, providers or None, provider_options, **more)
            return
        self._own, self._computed = provider_options[0], None
        if self._gpu[0] == TENSORRT:
            note(providers, provider_options)
        self._probe = isinstance(graph, bytes)
        super().__init__(graph, options, [CPU], [{}], **more)
        self._names = [n.op_type for p in self._parts() for n in p.get_nodes()]
        self._parts_by = self._shared_out()
        self._check_capture()
        self._cuda = ctypes.CDLL("libcudart.so.13")
        self._buffer = ctypes.c_void_p()
        size = ALLOCATED_MB << 20
        if self._cuda.cudaMalloc(ctypes.byref(self._buffer), ctypes.c_size_t(size)):
            raise RuntimeError(f"{FULL}{size}\n")

    def __del__(self):
        if self._gpu and self._buffer:
            self._cuda.cudaFree(self._buffer)

    def _shared_out(self):
        """Who takes which nodes, in one part or in several."""
        left = named("left", self._names)
        kept = [name for name in self._names if name not in left]
        if self._gpu[0] == CUDA:
            return [(CUDA, kept), (CPU, left)]
        untaken = named("untaken", kept)
        taken = [name for name in kept if name not in untaken]
        count = int((told("engines") or ["1"])[0])
        engines = [(TENSORRT, taken[i::count]) for i in range(count)]
        return [*engines, (CUDA if CUDA in self._gpu else CPU, untaken), (CPU, left)]

    def _check_capture(self):
        first, others = self._gpu[0], {name for name, nodes in self._parts_by if nodes}
        captured = "trt_cuda_graph_enable" if first == TENSORRT else "enable_cuda_graph"
        if self._own[captured] in ("1", "True") and others != {first}:
            raise RuntimeError(f"[ONNXRuntimeError] : 1 : FAIL : {UNCAPTURED[first]}{first}")

    def _parts(self):
        return super().get_provider_graph_assignment_info()

    def get_providers(self):
        fallen = not self._gpu or told("falls")
        return super().get_providers() if fallen else [*self._gpu, CPU]

    def get_provider_graph_assignment_info(self):
        if not self._gpu:
            return self._parts()
        return [
            SimpleNamespace(ep_name=name, get_nodes=lambda nodes=nodes: nodes)
            for name, nodes in self._parts_by
            if nodes
        ]

    def run_with_iobinding(self, binding, run_options=None):
        if not self._gpu:
            return super().run_with_iobinding(binding, run_options)
        start = time.perf_counter_ns()
        if named("lose", self._names):
            raise RuntimeError(
                "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; "
                "hostname=somewhere ; file=cuda.cc ; line=1 ; expr=cudaStreamSynchronize(stream);"
            )
        replayed = entry(run_options, CAPTURED[0]) == CAPTURED[1]
        if self._computed != (len(changes), replayed):  # else all is as it was
            self._compute(binding, replayed=replayed)
        self._computed = len(changes), replayed
        megabytes = 36 if self._probe else 50
        stream = ctypes.c_void_p(int(self._own["user_compute_stream"]))
        size = ctypes.c_size_t(megabytes * 1_000_000)
        self._cuda.cudaMemsetAsync(self._buffer, 0, size, stream)
        if entry(run_options, WAITING) != "1":
            self._cuda.cudaStreamSynchronize(stream)
            work_ns = megabytes * NS_PER_MB
            while time.perf_counter_ns() < start + stand_in.slowness(period_ns()) * work_ns:
                pass
        return None

    def _compute(self, binding, *, replayed):
        if replayed and named("idle", self._names):
            return
        kept = [binding.get_outputs()[int(n)] for n in told("fixed") if replayed]
        before = [value.numpy().copy() for value in kept]
        plain = ort.RunOptions()
        plain.log_severity_level = 3
        super().run_with_iobinding(binding, plain)
        for value, array in zip(kept, before, strict=True):
            value.update_inplace(array)
        if named("wrong", self._names):
            for value in binding.get_outputs():
                value.update_inplace(value.numpy()[..., ::-1].copy())


def entry(run_options, name):
    try:
        return run_options.get_run_config_entry(name)
    except RuntimeError:
        return None


class Binding(ort.IOBinding):
    def bind_output(self, name, *_):
        super().bind_output(name)


changes = []  # of inputs and outputs, so that a session computes only where it must
update_inplace, ortvalue_from_numpy = ort.OrtValue.update_inplace, ort.OrtValue.ortvalue_from_numpy


def noted(value, array):
    if value.numpy().tobytes() != array.tobytes():
        changes.append(1)
        update_inplace(value, array)


ort.cuda_version = "13.0"
ort.get_available_providers = lambda: [TENSORRT, CUDA, CPU]
ort.InferenceSession = Session
ort.OrtValue.update_inplace = noted
ort.OrtValue.ortvalue_from_numpy = staticmethod(lambda array, *_: ortvalue_from_numpy(array))
Session.io_binding = lambda session: Binding(session)
stand_in.stay_calm(period_ns)
if home := os.environ.get("FAKE_ORT_HOME"):
    ort.__file__ = str(Path(home) / "__init__.py")
sentinel.BIG_SIZE = 1024  # it is computed here: 4096 would take minutes in float16
