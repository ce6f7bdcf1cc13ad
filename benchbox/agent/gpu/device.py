"""GpuDevice: an open GPU with its stream, its sentinel and its NVML counters.

The order in which things are opened matters. NVML comes before CUDA, so that it can tell this
process from others by what is new on the GPU. Threads that the driver starts inherit the processors
of whoever starts them; who opens a GPU may run anywhere meanwhile, and is bound afterwards.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict

from benchbox.agent.gpu import cudart, errors, nvml, tegra
from benchbox.agent.gpu.burst import BurstPlan, GpuBurst, GpuCall, time_gpu_calls
from benchbox.agent.gpu.sentinel import GpuSentinel, MatmulFactory
from benchbox.agent.gpu.stream import Marker, Stream
from benchbox.agent.host.counters import Counters
from benchbox.agent.stdio import Message

# Of the calls asked for: each is made twice, and the second time waits for the queue to be held.
SHARE = 3
FEWEST = 3
COPIES = 3  # calls with copies in a burst
VERSIONS = {"cuda": "runtime", "driver": "driver"}  # by the names of facts

# Of a library: its stream, products in that, and the options that calls are made by.
Opened = Callable[[cudart.CudaDevice], tuple[Stream, MatmulFactory, Mapping[str, str]]]


class GpuDevice:
    """One GPU and the stream of it on which everything is timed, whichever library fills that."""

    def __init__(
        self, runtime: cudart.CudaRuntime, index: int, opened: Opened, driving: Message
    ) -> None:
        """Open the GPU; `opened` then prepares a library to use it.

        `driving` is how calls are made, as in the agent's protocol. Raises RuntimeError where that
        cannot be done, with what helps.
        """
        runtime.require(index)
        self._nvml, self._blind = _open_nvml(runtime, index)
        self._tegra = tegra.find() if index == 0 else None
        self._device = cudart.CudaDevice(runtime, index)
        self._stream, products, self._options = opened(self._device)
        self._marker = Marker(self._stream)
        self._cold, self._replayed = driving["cache"] == "cold", driving["mode"] == "graph"
        self.sentinel = GpuSentinel(self._stream, products)
        if self._nvml:
            self._nvml.adopt()

    def facts(self) -> dict[str, object]:
        """Facts and settings of the GPU; `unseen` is the reason why NVML cannot be asked.

        Of a part of a divided GPU CUDA tells its own name and memory, NVML those of the whole.
        `options` are the library's that is timed.
        """
        properties = asdict(self._device.properties())
        own: dict[str, object] = self._tegra.facts() if self._tegra else {}
        if self._nvml:
            own |= self._nvml.facts()
        elif not self._tegra:
            own = {"unseen": self._blind}
        return {**own, **properties, "options": self._options}

    def bus_id(self) -> str:
        """PCI bus id of the GPU, empty where it cannot be had."""
        with suppress(RuntimeError):
            return self._device.runtime.bus_id(self._device.index)
        return ""

    def versions(self) -> dict[str, str]:
        """Return the versions of CUDA and, where it is known, of the driver."""
        facts = self.facts()
        return {name: str(facts[key]) for name, key in VERSIONS.items() if key in facts}

    def free_bytes(self) -> int:
        """Free bytes of the GPU's memory."""
        return self._device.memory()[0]

    def temperature_c(self) -> float | None:
        """Temperature of the GPU, None where it is unknown."""
        return self.read_counters().get("gpu_temperature_c")

    def read_counters(self) -> Counters:
        """NVML's counters, and what it lacks on a Jetson; empty without either."""
        own = self._tegra.read_counters() if self._tegra else {}
        return own | self._nvml.read_counters() if self._nvml else own

    def observe(self, seconds: float) -> dict[str, object]:
        """Keep the GPU busy for so long; return its sentinel's readings, and NVML's counters."""
        end = time.monotonic() + seconds
        readings = [self.sentinel.compute()]
        while time.monotonic() < end:
            readings.append(self.sentinel.compute())
        return {"readings_ns": readings, "seen": self.read_counters()}

    def ceilings(self) -> Mapping[str, float]:
        """Peak rates of the GPU, as GpuSentinel.ceilings measures them."""
        return self.sentinel.ceilings()

    def time_calls(
        self, call: GpuCall, calls: int, probe: Callable[[], int], *, memory_bound: bool
    ) -> GpuBurst:
        """Time a burst that lasts about as long as so many calls."""
        plan = BurstPlan(
            max(min(calls, FEWEST), calls // SHARE),
            copies=COPIES,
            cold=self._cold,
            replayed=self._replayed,
        )
        with self.translate_errors():
            return time_gpu_calls(call, self._marker, plan, probe, memory_bound=memory_bound)

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Raise GpuLostError for an error after which this process cannot use the GPU any more.

        Libraries say that in words of their own; CUDA repeats it to whoever asks for anything.
        """
        with errors.translate_errors():
            try:
                yield
            except Exception:
                self._stream.synchronize()
                raise


def _open_nvml(runtime: cudart.CudaRuntime, index: int) -> tuple[nvml.Nvml | None, str]:
    """NVML for a GPU, or the reason why there is none; call it before the first context."""
    try:
        return nvml.Nvml(runtime.bus_id(index)), ""
    except RuntimeError as error:
        return None, str(error)
