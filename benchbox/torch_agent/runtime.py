"""PyTorch as what runs graphs: its threads, and modules built, checked and bound to their input."""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from benchbox import providers
from benchbox.agent import cudart, gpulibraries, inputs, nvml, system
from benchbox.agent.counters import Seen
from benchbox.agent.runtime import Session
from benchbox.agent.stdio import Message, Refusal
from benchbox.errors import BenchboxError
from benchbox.export import building
from benchbox.export.builders import own_modules
from benchbox.export.verifying import TOLERANCE, difference, half_difference
from benchbox.torch_agent import compiling, cuda
from benchbox.torch_agent.reference import Reference

if TYPE_CHECKING:
    import torch

    from benchbox.export.verifying import Array

GPU_TOLERANCE = 1e-3  # its libraries sum up in other orders, or transform convolutions
PARALLEL = 1 << 20  # elements; operations on so many use every thread


def watcher(index: int, version: str) -> nvml.Nvml | None:
    """Return what watches GPU `index` of a PyTorch for this CUDA; None where nothing can.

    Made before the first context, as benchbox.agent.nvml says.
    """
    try:
        library = gpulibraries.runtime(int(version.partition(".")[0]))
        return nvml.Nvml(cudart.Runtime(library).bus_id(index))
    except (RuntimeError, ValueError):
        return None


class TorchRuntime:
    """PyTorch in eager mode, compiled, or captured, on a processor or on a GPU."""

    def __init__(self, gpus: cuda.Cuda | None = None) -> None:
        """Wait for a `hello`; `gpus` takes the place of torch.cuda."""
        self._cuda = gpus or cuda.TorchCuda()
        self._reference = Reference()
        self._modes = contextlib.ExitStack()
        self._provider, self._gpu = providers.TORCH, ""
        self._threads = 1
        self._cpus: Sequence[int] = ()
        self._nvml: nvml.Nvml | None = None

    def begin(self, request: Message, cpus: Sequence[int]) -> None:
        """Import torch and bind its threads, one to each of `cpus`.

        Raises ValueError where the provider or the GPU asked for cannot be had, RuntimeError where
        a thread is not bound.
        """
        self._provider, self._gpu = request["provider"], request.get("gpu") or ""
        self._threads, self._cpus = int(request["threads"]), cpus
        if self._provider == providers.TORCH_COMPILE:
            compiling.require()
        # OpenMP makes and ends threads as operations need them; only it can bind each of them.
        os.environ["OMP_PLACES"] = ",".join(f"{{{cpu}}}" for cpu in cpus)
        os.environ["OMP_PROC_BIND"] = "close"
        with system.spread(cpus):  # it takes no place that whoever loads it may not run on
            import torch

            torch.set_num_interop_threads(1)
            torch.set_num_threads(self._threads)
            self._require_gpu()
        self._check_pool()
        self._modes.enter_context(torch.inference_mode())

    def _require_gpu(self) -> None:
        import torch

        if not self._gpu:
            providers.require_gpu(self._provider)
            return
        if not torch.cuda.is_available():
            why = "finds no GPU" if torch.version.cuda else "is built without CUDA"
            raise ValueError(
                f"this torch ({torch.__version__}) {why}; install one that has it, or time on "
                "--device cpu"
            )
        index = int(self._gpu.rpartition(":")[2])
        self._nvml = watcher(index, str(torch.version.cuda))
        torch.cuda.set_device(index)
        torch.zeros(1, device=self._gpu)  # so that it has its context there
        if self._nvml:
            self._nvml.adopt()
        # Convolutions would round their factors to ten bits (TF32), which ONNX Runtime here does
        # only when asked to.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False

    def _check_pool(self) -> None:
        """Let every thread work; raises RuntimeError unless each is bound to its processor."""
        import torch

        # As ONNX Runtime is told to; a thread has the mode of the one that made it.
        torch.set_flush_denormal(True)
        torch.zeros(PARALLEL).add_(1.0)
        system.check_pool(self._threads, self._cpus, [])

    def versions(self) -> dict[str, str]:
        """Return the versions of torch and of what it compiles with."""
        import torch

        found = {"torch": str(torch.__version__)}
        if self._gpu:
            found["cuda"] = str(torch.version.cuda)
        if self._provider == providers.TORCH_COMPILE:
            found["compiler"] = compiling.compiler_version()
        return found

    def providers(self) -> list[str]:
        """Return the one that was asked for: another needs another process."""
        return [self._provider]

    def look(self) -> Seen:
        """Return what NVML tells of the GPU, nothing on a processor or without NVML."""
        return self._nvml.look() if self._nvml else {}

    def load(self, request: Message) -> Session:
        """Build a module, call it, and compare it with its graph.

        Raises Refusal when it cannot be built or is not equal; torch's own errors pass through.
        """
        try:
            with own_modules():
                return self._load(request)
        except BenchboxError as error:
            raise Refusal(str(error)) from None

    def types(self, _: Message) -> None:
        """Tell nothing: the module is in the type that was asked for."""

    def _load(self, request: Message) -> Session:
        start = time.perf_counter()
        call = self._call(request)
        load_s = time.perf_counter() - start
        run = cuda.awaited(self._cuda, call) if self._gpu else call
        start = time.perf_counter()
        outputs = building.arrays(run())
        first_call_s = time.perf_counter() - start
        expected = self._reference.outputs(request["path"], request["inputs"], request["seed"])
        self._compare(request, outputs, expected)
        return Session(
            call=run,
            load_s=load_s,
            first_call_s=first_call_s,
            finite=True,
            outputs=[{"type": str(each.dtype), "shape": list(each.shape)} for each in outputs],
            span_s=cuda.span_s(self._cuda, call) if self._gpu else None,
        )

    def _compare(
        self, request: Message, outputs: "Sequence[Array]", expected: "Sequence[Array]"
    ) -> None:
        if request["module"].get("halved"):
            half_difference(expected, outputs)
        else:
            difference(outputs, expected, GPU_TOLERANCE if self._gpu else TOLERANCE)

    def _call(self, request: Message) -> Callable[[], object]:
        """Return what calls the module, ready: compiled, or captured, where that is asked for."""
        import torch

        with torch.inference_mode(False):  # as an export does
            module = building.build(request["module"])
            if request["module"].get("halved"):
                module = module.half()
        torch.set_num_threads(self._threads)
        torch.set_flush_denormal(True)
        device = torch.device(self._gpu or "cpu")
        tensors = [self._tensor(each, request["seed"], device) for each in request["inputs"]]
        call = partial(module.to(device), *tensors)
        if self._provider == providers.TORCH_COMPILE:
            call = partial(compiling.compiled(module), *tensors)
            call()
        if self._provider == providers.TORCH_CUDAGRAPH:
            return cuda.captured(self._cuda, call)
        return call

    def _tensor(self, tensor: Message, seed: int, device: "torch.device") -> "torch.Tensor":
        import torch

        array = inputs.make(tensor["name"], tensor["shape"], tensor["dtype"], seed)
        return torch.from_numpy(array).to(device)
