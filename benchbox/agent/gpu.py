"""ONNX Runtime on a GPU as what runs graphs.

Threads that the driver and cuDNN start inherit the processors of whoever starts them. So everything
is opened while the calling thread may run anywhere, and only afterwards is that thread, which
launches and waits, bound to its processor.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from benchbox.agent import cudart, gpulibraries, system
from benchbox.agent.counters import Seen
from benchbox.agent.gpucard import Card
from benchbox.agent.gpuqueue import Stream
from benchbox.agent.gpusentinel import Products
from benchbox.agent.runtime import GpuSession
from benchbox.agent.stdio import Message


def require(index: int) -> None:
    """Raise RuntimeError, with what helps, unless graphs can be run on the GPU `index`.

    Makes no context there, and so takes a second or two.
    """
    _runtime().require(index)


def _runtime() -> cudart.Runtime:
    # The numbers of nvidia-smi instead of an order by speed.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    return cudart.Runtime(gpulibraries.runtime(gpulibraries.prepare()))


class Gpu:
    """ONNX Runtime's CUDA provider and its graphs; the Runtime of an agent."""

    gpu: Card

    def __init__(self, driving: Message, gpu: str, usable: Sequence[int]) -> None:
        """Wait for `begin`; `usable` are all processors that threads of this process may run on."""
        self._driving = driving
        self.index = int(gpu.rpartition(":")[2])
        self._usable = usable
        self._cpus: Sequence[int] = ()

    def begin(self, request: Message, cpus: Sequence[int]) -> None:  # noqa: ARG002 - a Runtime's
        """Open the GPU; raises ValueError where that cannot be done, with what helps."""
        self._cpus = cpus
        try:
            with self._anywhere():
                self.gpu = Card(_runtime(), self.index, self._opened, self._driving)
        except RuntimeError as error:
            raise ValueError(str(error)) from None

    def _opened(self, device: cudart.Device) -> tuple[Stream, Products]:
        from benchbox.agent import gpuproducts, gpusession

        stream = Stream(device)
        probing = gpusession.place(self.index, stream.handle)
        self._place = gpusession.place(
            self.index,
            stream.handle,
            self._driving["conv_search"].upper(),
            tf32=self._driving["tf32"],
            captured=self._driving["mode"] == "graph",
        )

        def product(size: int, dtype: str, *, tf32: bool) -> Callable[[], object]:
            with self._anywhere():
                return gpuproducts.product(probing, size, dtype, tf32=tf32)

        return stream, product

    @contextmanager
    def _anywhere(self) -> Iterator[None]:
        """Let the calling thread, and what it starts meanwhile, run on all processors."""
        others = [cpu for cpu in self._usable if cpu not in self._cpus]
        with system.spread([*self._cpus, *others]):
            yield

    def versions(self) -> dict[str, str]:
        """Return the versions of ONNX Runtime, CUDA and the driver."""
        import onnxruntime as ort

        return {"onnxruntime": str(ort.__version__), **self.gpu.versions()}

    def providers(self) -> list[str]:
        """Return the execution providers of this build."""
        import onnxruntime as ort

        return list(ort.get_available_providers())

    def look(self) -> Seen:
        """Return what NVML tells now."""
        return self.gpu.look()

    def load(self, request: Message) -> GpuSession:
        """Open a graph and call it, and record it as a CUDA graph where that is asked for."""
        from benchbox.agent import gpusession, session

        options, free = session.options(1, ()), self.gpu.free_bytes()
        with self._anywhere():
            loaded = gpusession.load(
                request["path"], request["inputs"], request["seed"], self._place, options
            )
        return replace(loaded, gpu_bytes=max(0, free - self.gpu.free_bytes()))

    def types(self, request: Message) -> Mapping[str, int] | None:
        """Return how many nodes of such a graph give which type."""
        from benchbox.agent import gpusession, kernels, session

        eager = gpusession.eager(self._place)
        with self._anywhere():
            return kernels.types(
                lambda options: gpusession.load(
                    request["path"], request["inputs"], request["seed"], eager, options
                ),
                session.options(1, ()),
            )
