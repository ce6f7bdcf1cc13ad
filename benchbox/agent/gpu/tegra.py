"""Readings of a Jetson's own GPU from sysfs, where NVML has none; their names are NVML's.

gpu_sm_clock_mhz      of its devfreq
gpu_memory_clock_mhz  of the memory controller (EMC), which it shares with the processors; root's
gpu_busy_percent      its load
gpu_temperature_c     of the thermal zone that is named after it
gpu_throttle_bits     heat where a cooling device of its is on, and the hardware's power brake where
                      over-current events have been counted since the last reading
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchbox.agent.gpu.nvml import Query
from benchbox.agent.host import counters
from benchbox.agent.host.counters import Counters
from benchbox.agent.host.machine import contents

ROOT = Path("/")
# What devfreq calls it: 17000000.gpu, .ga10b, .gv11b, .gp10b, 57000000.gpu; Thor's gpu-gpc-0.
NAME = re.compile(r"[0-9a-f]+\.(gpu|ga10b|gv11b|gp10b)|gpu-gpc-0")
EMC = ("bpmp/debug/clk/emc/rate", "clk/emc/clk_rate")  # below /sys/kernel/debug
RELEASE_FILE = "etc/nv_tegra_release"
RELEASE = re.compile(r"# R(\d+) \(release\), REVISION: ([\d.]+)")
COOLING = re.compile("gpu|hot-surface", re.IGNORECASE)
HEAT, BRAKE = 0x20, 0x80  # of nvmlClocksEventReasons
MHZ = 1_000_000


class Tegra:
    """The GPU of a Jetson."""

    def __init__(self, devfreq: Path, root: Path) -> None:
        """Find what is read of the GPU that devfreq has in this folder."""
        self._devfreq, self._root = devfreq, root
        thermal = root / "sys/class/thermal"
        zones = [each / "temp" for each in thermal.glob("thermal_zone*") if _is(each, "gpu")]
        self._cooling = [
            each / "cur_state"
            for each in thermal.glob("cooling_device*")
            if COOLING.search(_text(each / "type"))
        ]
        self._events = sorted((root / "sys/class/hwmon").glob("hwmon*/oc*_event_cnt"))
        self._counted = self._count()
        debug = root / "sys/kernel/debug"
        self._queries = [
            _gauge("gpu_sm_clock_mhz", [devfreq / "cur_freq"], MHZ),
            _gauge("gpu_memory_clock_mhz", [debug / each for each in EMC], MHZ),
            _gauge("gpu_busy_percent", [devfreq / "device/load", devfreq / "load"], 10),
            Query(lambda: _temperature(zones)),
            Query(self._throttling if self._cooling or self._events else lambda: None),
        ]

    def read_counters(self) -> Counters:
        """Read all that can be read now."""
        found: Counters = {}
        for query in self._queries:
            found.update(query.answer())
        return found

    def facts(self) -> dict[str, object]:
        """Its highest clock, and the release of Jetson Linux, which has the driver."""
        facts: dict[str, object] = {}
        if clocks := _numbers(_text(self._devfreq / "available_frequencies")):
            facts["top_sm_clock_mhz"] = max(clocks) // MHZ
        if release := RELEASE.search(_text(self._root / RELEASE_FILE)):
            facts["driver"] = f"L4T {release[1]}.{release[2]}"
        return facts

    def _throttling(self) -> Mapping[str, float]:
        is_hot = any(counters.number(contents(file)) for file in self._cooling)
        before, self._counted = self._counted, self._count()
        bits = HEAT * is_hot | BRAKE * (self._counted > before)
        return {"gpu_throttle_bits": bits}

    def _count(self) -> int:
        return sum(counters.number(contents(file)) or 0 for file in self._events)


def is_jetson() -> bool:
    """Whether this is a Jetson with NVIDIA's system: remote_keeper.py decides it likewise."""
    return (ROOT / RELEASE_FILE).exists() or shutil.which("nvpmodel") is not None


def find(root: Path | None = None) -> Tegra | None:
    """The GPU of this Jetson, None elsewhere."""
    root = root or ROOT
    for folder in sorted((root / "sys/class/devfreq").glob("*")):
        if NAME.fullmatch(folder.name):
            return Tegra(folder, root)
    return None


def _gauge(name: str, files: Sequence[Path], unit: int) -> Query:
    """A query for the first of these files that can be read, in this unit."""
    there = [file for file in files if contents(file)]

    def read() -> Mapping[str, float] | None:
        value = counters.number(contents(there[0])) if there else None
        return ({} if value is None else {name: value / unit}) if there else None

    return Query(read)


def _temperature(zones: Sequence[Path]) -> Mapping[str, float] | None:
    found = counters.temperature([contents(zone) for zone in zones]).get("temperature_c")
    return None if found is None else {"gpu_temperature_c": found}


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split() if word.isdigit()]


def _is(zone: Path, name: str) -> bool:
    return name in _text(zone / "type").lower()


def _text(path: Path) -> str:
    return contents(path).decode(errors="replace").strip()
