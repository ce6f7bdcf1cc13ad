"""PyTorch runtime of the agent: threads, and modules built, checked and bound to their input."""

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from benchbox.agent.gpu.device import GpuDevice
from benchbox.agent.host import machine
from benchbox.agent.host.counters import Counters
from benchbox.agent.ort import inputs
from benchbox.agent.runtime import GpuGraph, LoadedGraph
from benchbox.agent.stdio import Message, Refusal
from benchbox.devices import providers
from benchbox.errors import BenchboxError
from benchbox.export import checkout, modules
from benchbox.export.torch_agent import cuda, torch_compile
from benchbox.export.torch_agent.reference import Reference
from benchbox.export.torch_agent.untouched import untouched
from benchbox.export.user_builder import own_modules
from benchbox.export.verify import TOLERANCE, difference, half_difference

if TYPE_CHECKING:
    import torch

    from benchbox.export.verify import Array

GPU_TOLERANCE = 1e-3  # its libraries sum up in other orders, or transform convolutions
PARALLEL = 1 << 20  # elements; operations on so many use every thread


@dataclass(frozen=True, slots=True)
class Bound:
    """The call of a module, its input on the device, and the same input in host memory.

    `kind` is the `output_kind` of a detector.
    """

    call: Callable[[], object]
    tensors: "list[torch.Tensor]"
    sources: "list[torch.Tensor]"
    kind: str


class TorchRuntime:
    """PyTorch in eager mode, compiled, or captured, on a processor or on a GPU."""

    def __init__(self) -> None:
        """Wait for a `hello`."""
        self.gpu: GpuDevice | None = None
        self._reference = Reference()
        self._modes = contextlib.ExitStack()
        self._provider, self._gpu = providers.TORCH, ""
        self._threads = 1
        self._cpus: Sequence[int] = ()
        self._usable = machine.usable_cpus()

    def begin(self, request: Message, cpus: Sequence[int]) -> None:
        """Import torch and bind its threads, one to each of `cpus`.

        Raises ValueError where the provider or the GPU asked for cannot be had, RuntimeError where
        a thread is not bound.
        """
        self._provider, self._gpu = request["provider"], request.get("gpu") or ""
        self._threads, self._cpus = int(request["threads"]), cpus
        if self._provider == providers.TORCH_COMPILE:
            torch_compile.require()
        # OpenMP makes and ends threads as operations need them; only it can bind each of them.
        os.environ["OMP_PLACES"] = ",".join(f"{{{cpu}}}" for cpu in cpus)
        os.environ["OMP_PROC_BIND"] = "close"
        with machine.spread(cpus):  # it takes no place that whoever loads it may not run on
            import torch

            torch.set_num_interop_threads(1)
            torch.set_num_threads(self._threads)
        self._modes.enter_context(torch.inference_mode())
        self._open(request)
        self._check_pool()

    def _open(self, request: Message) -> None:
        if not self._gpu:
            providers.require_gpu(self._provider)
            return
        cuda.require()
        with self._anywhere():
            self.gpu = cuda.open_gpu(int(self._gpu.rpartition(":")[2]), request["driving"])

    def _anywhere(self) -> AbstractContextManager[None]:
        """Let threads that a GPU's driver starts meanwhile run on all processors."""
        return machine.spread([*self._cpus, *self._usable])

    def _check_pool(self) -> None:
        """Let every thread work; raises RuntimeError unless each is bound to its processor."""
        import torch

        # As ONNX Runtime is told to; a thread has the mode of the one that made it.
        torch.set_flush_denormal(True)
        torch.zeros(PARALLEL).add_(1.0)
        machine.check_pool(self._threads, self._cpus, [])

    def versions(self) -> dict[str, str]:
        """Return the versions of torch and of what it compiles with."""
        import torch

        found = {"torch": str(torch.__version__)}
        if self.gpu:
            found |= self.gpu.versions()
        if self._provider == providers.TORCH_COMPILE:
            found["compiler"] = torch_compile.compiler_version()
        return found

    def providers(self) -> list[str]:
        """Return the one that was asked for: another needs another process."""
        return [self._provider]

    def read_counters(self) -> Counters:
        """NVML's counters of the GPU; empty on a processor or without NVML."""
        return self.gpu.read_counters() if self.gpu else {}

    def load(self, request: Message) -> LoadedGraph:
        """Build a module, call it, and compare it with its graph.

        Raises Refusal when it cannot be built or is not equal; torch's own errors pass through.
        """
        try:
            with own_modules(), checkout.within(checkout.of(request["module"]["checkout"])):
                return self._load(request) if self.gpu is None else self._placed(self.gpu, request)
        except BenchboxError as error:
            raise Refusal(str(error)) from None

    def compare(self, _: Message, loaded: LoadedGraph) -> Mapping[str, object]:  # noqa: ARG002
        """Nothing to add: `load` has compared the module with the graph."""
        return {}

    def plugin(self) -> None:
        """None: PyTorch has none."""

    def types(self, _: Message) -> None:
        """None: the module computes in the type that was asked for."""

    def _placed(self, gpu: GpuDevice, request: Message) -> GpuGraph:
        """Load a module on a GPU."""
        cuda.release()
        free = gpu.free_bytes()
        with self._anywhere(), gpu.translate_errors():
            loaded = self._load(request)
        assert isinstance(loaded, GpuGraph), "on a GPU"
        return replace(loaded, gpu_bytes=max(0, free - gpu.free_bytes()))

    def _load(self, request: Message) -> LoadedGraph:
        start = time.perf_counter()
        bound = self._bound(request)
        load_s = time.perf_counter() - start
        run = cuda.synchronized(bound.call) if self.gpu else bound.call
        start = time.perf_counter()
        outputs = modules.arrays(run())
        first_call_s = time.perf_counter() - start
        expected = self._reference.outputs(request["path"], request["inputs"], request["seed"])
        self._compare(request, outputs, expected, bound.kind)
        described: list[dict[str, object]] = [
            {"type": str(each.dtype), "shape": list(each.shape)} for each in outputs
        ]
        loaded = LoadedGraph(run, load_s, first_call_s, finite=True, outputs=described)
        return _on_gpu(loaded, bound) if self.gpu else loaded

    def _compare(
        self, request: Message, outputs: "Sequence[Array]", expected: "Sequence[Array]", kind: str
    ) -> None:
        if request["module"].get("conversion"):
            half_difference(expected, outputs, kind)
        else:
            difference(outputs, expected, GPU_TOLERANCE if self._gpu else TOLERANCE, kind)

    def _bound(self, request: Message) -> Bound:
        """Return the module, ready: compiled, or captured, where that is asked for."""
        import torch

        torch.set_num_threads(1)  # as the build does: not a change by the builder
        with torch.inference_mode(False), untouched():  # as an export does
            module = modules.build(request["module"])
            if request["module"].get("conversion"):
                module = module.half()
        torch.set_num_threads(self._threads)
        torch.set_flush_denormal(True)
        device = torch.device(self._gpu or "cpu")
        sources = [_tensor(each, request["seed"]) for each in request["inputs"]]
        tensors = [each.to(device) for each in sources]
        call = partial(module.to(device), *tensors)
        kind = modules.output_kind(module)
        if self._provider == providers.TORCH_COMPILE:
            call = partial(torch_compile.compiled(module), *tensors)
            call()
        if self._provider == providers.TORCH_CUDAGRAPH:
            return Bound(cuda.captured(call), tensors, sources, kind)
        return Bound(call, tensors, sources, kind)


def _on_gpu(loaded: LoadedGraph, bound: Bound) -> GpuGraph:
    return GpuGraph(
        loaded.call,
        loaded.load_s,
        loaded.first_call_s,
        loaded.finite,
        loaded.outputs,
        enqueue=bound.call,
        run_with_copies=cuda.with_copies(bound.call, bound.tensors, bound.sources),
    )


def _tensor(tensor: Message, seed: int) -> "torch.Tensor":
    import torch

    array = inputs.of(tensor, seed)
    return torch.from_numpy(array)
