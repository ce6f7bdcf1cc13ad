"""NVML's counters and facts of a GPU: its settings, and what disturbs it.

Read through the driver's own Python binding, the distribution nvidia-ml-py, where that is
installed. A value that the driver does not give is absent, never 0. Names end with their unit:

gpu_sm_clock_mhz, gpu_memory_clock_mhz      clocks now
gpu_power_w                                 drawn, averaged by the driver over up to a second
gpu_energy_mj                               counter: used since the driver was loaded
gpu_temperature_c                           of the chip
gpu_busy_percent                            share of the driver's last period with a kernel running
gpu_throttle_bits                           nvmlClocksEventReasons, why its clock is lower
gpu_other_processes, gpu_other_memory_bytes of others that compute on it, and what they hold

Neither serial numbers nor identifiers are read, and of other processes no names.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any, TypeVar

from benchbox.agent.host.counters import Counters

# Of two readings, at both ends of a burst, the one that stands for it; all others are counters.
GAUGES: Mapping[str, Callable[[float, float], float]] = {
    "gpu_sm_clock_mhz": min,
    "gpu_memory_clock_mhz": min,
    "gpu_power_w": max,
    "gpu_temperature_c": max,
    "gpu_busy_percent": max,
    "gpu_throttle_bits": lambda before, after: int(before) | int(after),
    "gpu_other_processes": max,
    "gpu_other_memory_bytes": max,
}
# A query takes from 1 us to some ms, by the value and the driver. One that took long is not made
# again before it is this share of the time, and its last answer stands meanwhile.
SHARE = 0.01
ABOUT = "the GPU's clock, power and temperature cannot be read"

# nvmlReturn_t: what a question will be answered with for as long as the driver is this one.
NEVER = (3, 4, 13, 25, 26)  # not supported, no permission, no such function, no such version
HELP: Mapping[int, str] = {
    4: "; this user may not ask",
    9: "; the driver is not loaded: nvidia-smi says more",
    12: "; libnvidia-ml.so.1 comes with the driver: a container gets it with "
    "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    18: "; the driver was updated while it was loaded: reboot",
}

Read = Callable[[], Mapping[str, float]]
T = TypeVar("T")


class Nvml:
    """The GPU at one place of the PCI bus."""

    def __init__(self, bus_id: str) -> None:
        """Find it; raises RuntimeError where NVML cannot be had, with what helps.

        Made before this process first uses the GPU, it knows its own work there by what is new
        at `adopt`: in a container NVML may call it by another number than the system does.
        """
        self._nvml = _binding()
        try:
            self._nvml.nvmlInit()
            self._gpu = self._nvml.nvmlDeviceGetHandleByPciBusId(bus_id)
        except self._nvml.NVMLError as error:
            help_ = HELP.get(error.value, "")
            raise RuntimeError(f"{ABOUT}: {error}{help_}") from None
        self._own = {os.getpid()}
        self._queries = [Query(partial(self._asked, read)) for read in self._reads()]
        self._before = self._pids()

    def adopt(self) -> None:
        """Adopt the one process that is new on the GPU as this one, if this one is not listed."""
        pids = self._pids()
        new = pids - self._before
        if os.getpid() not in pids and len(new) == 1:
            self._own |= new

    def read_counters(self) -> Counters:
        """Read all counters that can be read now."""
        counters: Counters = {}
        for query in self._queries:
            counters.update(query.answer())
        return counters

    def facts(self) -> dict[str, object]:
        """Facts and settings of the GPU; one that cannot be had is absent."""
        nvml, gpu = self._nvml, self._gpu
        facts: dict[str, Callable[[], object]] = {
            "name": lambda: nvml.nvmlDeviceGetName(gpu),
            "driver": lambda: nvml.nvmlSystemGetDriverVersion(),
            "memory_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(gpu).total,
            "top_sm_clock_mhz": lambda: nvml.nvmlDeviceGetMaxClockInfo(gpu, nvml.NVML_CLOCK_SM),
            "top_memory_clock_mhz": lambda: nvml.nvmlDeviceGetMaxClockInfo(
                gpu, nvml.NVML_CLOCK_MEM
            ),
            "power_limit_w": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1000,
            "default_power_limit_w": lambda: (
                nvml.nvmlDeviceGetPowerManagementDefaultLimit(gpu) / 1000
            ),
            "pcie_generation": lambda: nvml.nvmlDeviceGetMaxPcieLinkGeneration(gpu),
            "pcie_lanes": lambda: nvml.nvmlDeviceGetCurrPcieLinkWidth(gpu),
            "persistence": lambda: bool(nvml.nvmlDeviceGetPersistenceMode(gpu)),
            "ecc": lambda: bool(nvml.nvmlDeviceGetEccMode(gpu)[0]),
            "mig": lambda: bool(nvml.nvmlDeviceGetMigMode(gpu)[0]),
        }
        answers = {name: self._given(read) for name, read in facts.items()}
        return {name: answer for name, answer in answers.items() if answer is not None}

    def close(self) -> None:
        """Shut the library down."""
        self._given(self._nvml.nvmlShutdown)

    def __enter__(self) -> "Nvml":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _reads(self) -> list[Read]:
        nvml, gpu = self._nvml, self._gpu
        clock = nvml.nvmlDeviceGetClockInfo
        return [
            lambda: {"gpu_sm_clock_mhz": clock(gpu, nvml.NVML_CLOCK_SM)},
            lambda: {"gpu_memory_clock_mhz": clock(gpu, nvml.NVML_CLOCK_MEM)},
            lambda: {"gpu_power_w": nvml.nvmlDeviceGetPowerUsage(gpu) / 1000},
            lambda: {"gpu_energy_mj": nvml.nvmlDeviceGetTotalEnergyConsumption(gpu)},
            lambda: {"gpu_busy_percent": nvml.nvmlDeviceGetUtilizationRates(gpu).gpu},
            # The newer function first; drivers have one of the two, or both.
            *self._either(
                "gpu_temperature_c",
                ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature"),
                nvml.NVML_TEMPERATURE_GPU,
            ),
            *self._either(
                "gpu_throttle_bits",
                (
                    "nvmlDeviceGetCurrentClocksEventReasons",
                    "nvmlDeviceGetCurrentClocksThrottleReasons",
                ),
            ),
            self._others,
        ]

    def _either(self, name: str, functions: Sequence[str], *arguments: object) -> list[Read]:
        """Return a read by the first of these functions that answers now, nothing if none does."""
        asks = [
            partial(getattr(self._nvml, each, self._missing), self._gpu, *arguments)
            for each in functions
        ]
        answering = [ask for ask in asks if self._given(ask) is not None]
        return [lambda: {name: answering[0]()}] if answering else []

    def _missing(self, *_: object) -> None:
        """Stand for a function that an older binding has not."""

    def _others(self) -> Mapping[str, float]:
        others = [each for each in self._processes() if each.pid not in self._own]
        held = [each.usedGpuMemory for each in others]
        counters: dict[str, float] = {"gpu_other_processes": len(others)}
        return counters if None in held else {**counters, "gpu_other_memory_bytes": sum(held)}

    def _pids(self) -> set[int]:
        return {each.pid for each in self._given(self._processes) or ()}

    def _processes(self) -> Sequence[Any]:
        return self._nvml.nvmlDeviceGetComputeRunningProcesses(self._gpu)  # type: ignore[no-any-return]

    def _asked(self, read: Read) -> Mapping[str, float] | None:
        """An answer, empty where there is none now, None where there never will be."""
        try:
            return read()
        except self._nvml.NVMLLibraryMismatchError:
            return None
        except self._nvml.NVMLError as error:
            return None if error.value in NEVER else {}

    def _given(self, read: Callable[[], T]) -> T | None:
        """Return an answer, None where the driver gives none."""
        try:
            return read()
        except (self._nvml.NVMLError, self._nvml.NVMLLibraryMismatchError):
            return None


class Query:
    """One question, asked as often as it is cheap, and never again once its answer is None."""

    def __init__(self, read: Callable[[], Mapping[str, float] | None]) -> None:
        """Ask by this function."""
        self._read = read
        self._last: Mapping[str, float] = {}
        self._stands_until = 0.0

    def answer(self) -> Mapping[str, float]:
        """The answer now, or the last one where that took long."""
        start = time.perf_counter_ns()
        if start >= self._stands_until:
            answer = self._read()
            took_ns = time.perf_counter_ns() - start
            self._last = answer or {}
            self._stands_until = float("inf") if answer is None else start + took_ns / SHARE
        return self._last


def _binding() -> ModuleType:
    try:
        import pynvml
    except ImportError:
        raise RuntimeError(f"{ABOUT}: pip install nvidia-ml-py") from None
    return pynvml  # type: ignore[no-any-return]
