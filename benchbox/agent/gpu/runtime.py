"""GpuOnnxRuntime: ONNX Runtime on a GPU, as the agent's `Runtime`.

Threads that the driver and cuDNN start inherit the processors of whoever starts them. So everything
is opened while the calling thread may run anywhere, and only afterwards is that thread, which
launches and waits, bound to its processor.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from benchbox.agent.gpu import cudart, libraries
from benchbox.agent.gpu.device import GpuDevice
from benchbox.agent.gpu.sentinel import MatmulFactory
from benchbox.agent.gpu.stream import Stream
from benchbox.agent.host import machine
from benchbox.agent.host.counters import Counters
from benchbox.agent.runtime import GpuGraph, LoadedGraph
from benchbox.agent.stdio import Message

if TYPE_CHECKING:
    from benchbox.agent.gpu.placement import Placement

OF_HERE = ("device_id", "user_compute_stream")  # options that mean nothing in another process


def require(index: int, provider: str) -> None:
    """Raise RuntimeError, with what helps, unless a provider can run graphs on the GPU `index`.

    Makes no context there, and so takes a second or two.
    """
    _runtime(provider).require(index)


def _runtime(provider: str) -> cudart.CudaRuntime:
    # The numbers of nvidia-smi instead of an order by speed.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    return cudart.CudaRuntime(libraries.runtime(libraries.prepare(provider)))


class GpuOnnxRuntime:
    """ONNX Runtime's CUDA or TensorRT provider and its graphs; the Runtime of an agent."""

    gpu: GpuDevice

    def __init__(self, driving: Message, gpu: str, provider: str, usable: Sequence[int]) -> None:
        """Wait for `begin`; `usable` are all processors that threads of this process may run on."""
        self._driving, self._provider = driving, provider
        self.index = int(gpu.rpartition(":")[2])
        self._usable = usable
        self._cpus: Sequence[int] = ()

    def begin(self, request: Message, cpus: Sequence[int]) -> None:  # noqa: ARG002 - a Runtime's
        """Open the GPU; raises ValueError where that cannot be done, with what helps."""
        self._cpus = cpus
        try:
            with self._anywhere():
                if self._provider == libraries.TENSORRT:
                    libraries.choose_tf32(on=self._driving["tf32"])
                runtime = _runtime(self._provider)
                self.gpu = GpuDevice(runtime, self.index, self._opened, self._driving)
        except RuntimeError as error:
            raise ValueError(str(error)) from None

    def _opened(self, device: cudart.CudaDevice) -> tuple[Stream, MatmulFactory, Mapping[str, str]]:
        from benchbox.agent.gpu import matmul
        from benchbox.agent.gpu import session as gpu_session

        stream = Stream(device)
        probing = gpu_session.placement(self.index, stream.handle)
        self._place = self._asked_for(stream)

        def product(size: int, dtype: str, *, tf32: bool) -> Callable[[], object]:
            with self._anywhere():
                return matmul.product(probing, size, dtype, tf32=tf32)

        options = {name: to for name, to in self._place.options.items() if name not in OF_HERE}
        return stream, product, options

    def _asked_for(self, stream: Stream) -> "Placement":
        from benchbox.agent.gpu import session as gpu_session
        from benchbox.agent.gpu import tensorrt

        tf32, captured = self._driving["tf32"], self._driving["mode"] == "graph"
        where = self.index, stream.handle
        if self._provider == libraries.TENSORRT:
            return tensorrt.placement(*where, tf32=tf32, captured=captured)
        search = self._driving["conv_search"].upper()
        return gpu_session.placement(*where, search, tf32=tf32, captured=captured)

    def _place_of(self, request: Message) -> "Placement":
        """Return the place for the graph of a request."""
        from benchbox.agent.gpu import tensorrt

        is_tensorrt = self._provider == libraries.TENSORRT
        return tensorrt.typed(self._place, request["inputs"]) if is_tensorrt else self._place

    def _anywhere(self) -> AbstractContextManager[None]:
        """Have the calling thread, and what it starts meanwhile, run on all processors."""
        return machine.spread([*self._cpus, *self._usable])

    def versions(self) -> dict[str, str]:
        """Return the versions of ONNX Runtime, CUDA, the driver, and TensorRT where that runs."""
        import onnxruntime as ort

        versions = self.gpu.versions()
        if self._provider == libraries.TENSORRT:
            versions["tensorrt"] = libraries.tensorrt_version()
        return {"onnxruntime": str(ort.__version__), **versions}

    def providers(self) -> list[str]:
        """Return the execution providers of this build."""
        import onnxruntime as ort

        return list(ort.get_available_providers())

    def read_counters(self) -> Counters:
        """NVML's counters of the GPU."""
        return self.gpu.read_counters()

    def load(self, request: Message) -> GpuGraph:
        """Open a graph and call it, and record it as a CUDA graph where that is asked for."""
        from benchbox.agent.gpu import session as gpu_session
        from benchbox.agent.ort import session

        options, free = session.options(1, ()), self.gpu.free_bytes()
        with self._anywhere():
            where = self._place_of(request)
            loaded = gpu_session.load(
                request["path"], request["inputs"], request["seed"], where, options
            )
        return replace(loaded, gpu_bytes=max(0, free - self.gpu.free_bytes()))

    def plugin(self) -> None:
        """None: the providers for GPUs are the build's own."""

    def compare(self, request: Message, loaded: LoadedGraph) -> Mapping[str, object]:
        """Raise Refusal unless the graph gives what it gives on the processor."""
        from benchbox.agent.gpu import errors
        from benchbox.agent.ort import check_outputs
        from benchbox.agent.ort import compare as ort_compare

        assert isinstance(loaded, GpuGraph), "loaded here"
        rounded = request["compare"] == "half" or self._driving["tf32"]
        tolerance = ort_compare.HALF_TOLERANCE if rounded else ort_compare.TOLERANCE
        with self._anywhere():
            reference = check_outputs.CpuReference(request, len(self._usable))
            with errors.translate_errors():
                given = loaded.run_with_copies()
            check_outputs.require_alike(reference, given, tolerance, "the GPU")
        return {}

    def types(self, request: Message) -> Mapping[str, int] | None:
        """Number of the graph's nodes by the type of their output; unknown of an engine."""
        from benchbox.agent.gpu import session as gpu_session
        from benchbox.agent.ort import node_types, session

        if self._provider == libraries.TENSORRT:
            return None
        eager = gpu_session.eager(self._place)
        with self._anywhere():
            return node_types.types(
                lambda options: gpu_session.load(
                    request["path"], request["inputs"], request["seed"], eager, options
                ),
                session.options(1, ()),
            )
