"""ONNX Runtime on a GPU as what runs graphs, with what watches the GPU meanwhile.

The order in which things are opened matters. NVML comes before CUDA, so that it can tell this
process from others by what is new on the GPU. Threads that the driver and cuDNN start inherit the
processors of whoever starts them; so everything is opened while the calling thread may run
anywhere, and only afterwards is that thread, which launches and waits, bound to its processor.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from benchbox.agent import cudart, gpulibraries, gputiming, nvml, system
from benchbox.agent.counters import Seen
from benchbox.agent.gpuqueue import Marker, Stream
from benchbox.agent.runtime import Session
from benchbox.agent.stdio import Message

if TYPE_CHECKING:
    from benchbox.agent.gpusession import Place

# Of the calls asked for: each is made twice, and the second time waits for the queue to be held.
SHARE = 3
FEWEST = 3
VERSIONS = {"cuda": "runtime", "driver": "driver"}  # by the names of facts
OF_HERE = ("device_id", "user_compute_stream")  # options that mean nothing in another process
COPIES = 3  # calls with copies in a burst


def require(index: int, provider: str) -> None:
    """Raise RuntimeError, with what helps, unless a provider can run graphs on the GPU `index`.

    Makes no context there, and so takes a second or two.
    """
    _runtime(provider).require(index)


def _runtime(provider: str) -> cudart.Runtime:
    # The numbers of nvidia-smi instead of an order by speed.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    return cudart.Runtime(gpulibraries.runtime(gpulibraries.prepare(provider)))


class Gpu:
    """A GPU with its stream, its probes and its graphs; the Runtime of an agent."""

    def __init__(self, driving: Message, gpu: str, provider: str, usable: Sequence[int]) -> None:
        """Wait for `begin`; `usable` are all processors that threads of this process may run on."""
        self._driving, self._provider = driving, provider
        self.index = int(gpu.rpartition(":")[2])
        self._usable = usable
        self._cpus: Sequence[int] = ()
        self._nvml: nvml.Nvml | None = None
        self._blind = ""

    def begin(self, request: Message, cpus: Sequence[int]) -> None:  # noqa: ARG002 - a Runtime's
        """Open the GPU; raises ValueError where that cannot be done, with what helps."""
        self._cpus = cpus
        try:
            with self._anywhere():
                if self._provider == gpulibraries.TENSORRT:
                    gpulibraries.choose_tf32(on=self._driving["tf32"])
                self._open(_runtime(self._provider))
        except RuntimeError as error:
            raise ValueError(str(error)) from None

    def _open(self, runtime: cudart.Runtime) -> None:
        from benchbox.agent import gpusession
        from benchbox.agent.gpusentinel import GpuSentinel

        runtime.require(self.index)
        try:
            self._nvml = nvml.Nvml(runtime.bus_id(self.index))
        except RuntimeError as error:
            self._blind = str(error)
        self._device = cudart.Device(runtime, self.index)
        self._stream = Stream(self._device)
        self._marker = Marker(self._stream)
        probing = gpusession.place(self.index, self._stream.handle)
        self._place = self._asked_for()
        self.sentinel: GpuSentinel = GpuSentinel(self._stream, probing)
        if self._nvml:
            self._nvml.adopt()

    def _asked_for(self) -> "Place":
        from benchbox.agent import gpusession, gputensorrt

        tf32, captured = self._driving["tf32"], self._driving["mode"] == "graph"
        where = self.index, self._stream.handle
        if self._provider == gpulibraries.TENSORRT:
            return gputensorrt.place(*where, tf32=tf32, captured=captured)
        search = self._driving["conv_search"].upper()
        return gpusession.place(*where, search, tf32=tf32, captured=captured)

    def _place_of(self, request: Message) -> "Place":
        """Return the place for the graph of a request."""
        from benchbox.agent import gputensorrt

        is_tensorrt = self._provider == gpulibraries.TENSORRT
        return gputensorrt.typed(self._place, request["inputs"]) if is_tensorrt else self._place

    @contextmanager
    def _anywhere(self) -> Iterator[None]:
        """Let the calling thread, and what it starts meanwhile, run on all processors."""
        others = [cpu for cpu in self._usable if cpu not in self._cpus]
        with system.spread([*self._cpus, *others]):
            yield

    def versions(self) -> dict[str, str]:
        """Return the versions of ONNX Runtime, CUDA, the driver, and TensorRT where that runs."""
        import onnxruntime as ort

        facts = self.facts()
        told = {name: str(facts[key]) for name, key in VERSIONS.items() if key in facts}
        if self._provider == gpulibraries.TENSORRT:
            told["tensorrt"] = gpulibraries.tensorrt_version()
        return {"onnxruntime": str(ort.__version__), **told}

    def providers(self) -> list[str]:
        """Return the execution providers of this build."""
        import onnxruntime as ort

        return list(ort.get_available_providers())

    def facts(self) -> dict[str, object]:
        """Return what the GPU is and how it is set; `unseen` is why NVML cannot be asked.

        `options` are those of the provider, but for the device's and the stream's.
        """
        properties = asdict(self._device.properties())
        told = self._nvml.facts() if self._nvml else {"unseen": self._blind}
        options = {name: to for name, to in self._place.options.items() if name not in OF_HERE}
        return {**properties, **told, "options": options}

    def free_bytes(self) -> int:
        """Return how much of the GPU's memory is free."""
        return self._device.memory()[0]

    def temperature_c(self) -> float | None:
        """Return how warm the GPU is, None where nobody tells."""
        return self.look().get("gpu_temperature_c")

    def look(self) -> Seen:
        """Return what NVML tells now."""
        return self._nvml.look() if self._nvml else {}

    def watch(self, seconds: float) -> dict[str, object]:
        """Let the GPU work for so long; return the readings in ns, and what NVML tells then."""
        end = time.monotonic() + seconds
        readings = [self.sentinel.compute()]
        while time.monotonic() < end:
            readings.append(self.sentinel.compute())
        return {"readings_ns": readings, "seen": self.look()}

    def load(self, request: Message) -> Session:
        """Open a graph and call it, and record it as a CUDA graph where that is asked for."""
        from benchbox.agent import gpusession, session

        options = session.options(1, ())
        with self._anywhere():
            where = self._place_of(request)
            return gpusession.load(
                request["path"], request["inputs"], request["seed"], where, options
            )

    def compare(self, request: Message, loaded: Session) -> None:
        """Raise Refusal unless the graph gives what it gives on the processor."""
        from benchbox.agent import gpuoutputs, gpusession, likeness

        assert isinstance(loaded, gpusession.Session), "loaded here"
        rounded = request["compare"] == "half" or self._driving["tf32"]
        tolerance = likeness.HALF_TOLERANCE if rounded else likeness.TOLERANCE
        with self._anywhere():
            gpuoutputs.compare(request, loaded, tolerance, len(self._usable))

    def types(self, request: Message) -> Mapping[str, int] | None:
        """Return how many nodes of such a graph give which type; an engine does not tell."""
        from benchbox.agent import gpusession, kernels, session

        if self._provider == gpulibraries.TENSORRT:
            return None
        eager = gpusession.eager(self._place)
        with self._anywhere():
            return kernels.types(
                lambda options: gpusession.load(
                    request["path"], request["inputs"], request["seed"], eager, options
                ),
                session.options(1, ()),
            )

    def burst(
        self, session: Session, calls: int, probe: Callable[[], int], *, memory_bound: bool
    ) -> gputiming.Burst:
        """Time a burst that lasts about as long as so many calls."""
        from benchbox.agent import gpusession

        assert isinstance(session, gpusession.Session), "loaded here"
        plan = gputiming.Plan(
            max(min(calls, FEWEST), calls // SHARE),
            copies=COPIES,
            cold=self._driving["cache"] == "cold",
            replayed=self._place.captured,
        )
        return gputiming.burst(session, self._marker, plan, probe, memory_bound=memory_bound)

    def ceilings(self) -> Mapping[str, float]:
        """Return what the GPU does at best, as GpuSentinel.ceilings measures it."""
        with self._anywhere():
            return self.sentinel.ceilings()
