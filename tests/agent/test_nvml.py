"""NVML's counters and facts, by a stand-in for the driver's library."""

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

import pynvml
import pytest

from benchbox.agent.gpu import nvml
from benchbox.agent.gpu.nvml import Nvml
from tests.fakegpu.building import Libraries

Open = Callable[..., Nvml]
POWER = "nvmlDeviceGetPowerUsage"
COUNTERS = {
    "gpu_sm_clock_mhz": 1755,
    "gpu_memory_clock_mhz": 2619,
    "gpu_power_w": 312.5,
    "gpu_energy_mj": 123456789,
    "gpu_temperature_c": 41,
    "gpu_busy_percent": 17,
    "gpu_throttle_bits": 0,
    "gpu_other_processes": 0,
    "gpu_other_memory_bytes": 0,
}


@pytest.fixture
def opened(fake_gpu: Libraries, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Return a function that opens NVML on a stand-in that is told something."""
    monkeypatch.setenv("FAKE_NVML_LOG", str(fake_gpu.work / "nvml.log"))
    monkeypatch.setattr(nvml, "SHARE", 1e12)  # of the time: everything is asked each time

    def open_nvml(told: str = "", bus: int = 17, folder: Path = fake_gpu.folder) -> Nvml:
        fake_gpu.tell(nvml=told)
        monkeypatch.setattr(pynvml, "CDLL", lambda name: ctypes.CDLL(str(folder / name)))
        monkeypatch.setattr(pynvml, "nvmlLib", None)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        return Nvml(f"0000:{bus}:00.0")

    return open_nvml


def test_a_reading_has_every_value_with_its_unit(fake_gpu: Libraries, opened: Open) -> None:
    assert opened().read_counters() == COUNTERS
    older = {**COUNTERS, "gpu_throttle_bits": 4}  # by older functions
    del older["gpu_other_processes"], older["gpu_other_memory_bytes"]  # from CUDA 12 on
    old = opened("reasons 4\nprocess 1 100", folder=fake_gpu.old)
    assert old.read_counters() == older


@pytest.mark.parametrize(("code", "once"), [(3, False), (4, False), (13, False), (10, True)])
def test_a_value_may_be_absent(fake_gpu: Libraries, opened: Open, code: int, *, once: bool) -> None:
    own = opened(f"fail {POWER} {code}")
    fewer = COUNTERS.keys() - {"gpu_power_w"}
    assert own.read_counters().keys() == fewer
    fake_gpu.tell(nvml="")
    assert own.read_counters().keys() == (COUNTERS.keys() if once else fewer)
    asked = fake_gpu.log("nvml")
    assert (asked.count(POWER), asked.count("nvmlDeviceGetUtilizationRates")) == (1 + once, 2)


def test_slow_functions(fake_gpu: Libraries, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "SHARE", 1e-6)
    own = opened("cost_us 1000")
    assert [own.read_counters() for _ in range(4)] == [COUNTERS] * 4
    assert fake_gpu.log("nvml").count(POWER) == 1


@pytest.mark.parametrize(
    ("processes", "others", "held"),
    [
        ("process self 5000\nprocess 71 300\nprocess 72 4000", 2, 4300),
        ("process 71 300\nprocess 72 -1", 2, None),  # what it holds is not known
    ],
)
def test_processes_are_counted(opened: Open, processes: str, others: int, held: int | None) -> None:
    found = opened(processes).read_counters()
    assert (found["gpu_other_processes"], found.get("gpu_other_memory_bytes")) == (others, held)


@pytest.mark.parametrize(("before", "others"), [("process 71 300", 1), ("", 2)])
def test_a_new_process_is_ours(fake_gpu: Libraries, opened: Open, before: str, others: int) -> None:
    """Of two that are new none is."""
    own = opened(before)
    fake_gpu.tell(nvml="process 71 300\nprocess 4242 5000")
    own.adopt()
    assert own.read_counters()["gpu_other_processes"] == others


def test_the_facts_do_not_tell_two_of_a_kind_apart(fake_gpu: Libraries, opened: Open) -> None:
    own = opened("power_limit_mw 350000")
    assert own.facts() == {
        "name": "NVIDIA Stand-in",
        "driver": "580.95.05",
        "memory_bytes": 85899345920,
        "top_sm_clock_mhz": 1980,
        "top_memory_clock_mhz": 2619,
        "power_limit_w": 350.0,
        "default_power_limit_w": 700.0,
        "pcie_generation": 5,
        "pcie_lanes": 16,
        "persistence": True,
        "ecc": False,
        "mig": False,
    }
    assert not any("UUID" in name or "Serial" in name for name in fake_gpu.log("nvml"))
    fake_gpu.tell(nvml="fail nvmlDeviceGetEccMode 3")
    assert "ecc" not in own.facts()


@pytest.mark.parametrize(
    ("code", "bus", "parts"),
    [
        (4, 17, ["Insufficient Permissions", "this user may not ask"]),
        (9, 17, ["Driver Not Loaded", "nvidia-smi"]),
        (18, 17, ["version mismatch", "reboot"]),
        (0, 99, []),  # another GPU than there is
    ],
)
def test_a_refusal_is_one_sentence(opened: Open, code: int, bus: int, parts: list[str]) -> None:
    with pytest.raises(RuntimeError) as raised:
        opened(f"fail nvmlInitWithFlags {code}", bus)
    sentence = str(raised.value)
    assert sentence.startswith("the GPU's clock, power and temperature cannot be read: ")
    assert all(part in sentence for part in parts)
    assert "\n" not in sentence


def test_without_the_library(tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match=r"libnvidia-ml\.so\.1 comes with the driver"):
        opened(folder=tmp_path)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(RuntimeError, match=r": pip install nvidia-ml-py$"):
        Nvml("0000:17:00.0")


def test_of_two_readings_the_worse_one_counts() -> None:
    assert nvml.GAUGES["gpu_sm_clock_mhz"](1980, 1200) == 1200
    assert nvml.GAUGES["gpu_throttle_bits"](4, 32) == 36
    assert nvml.GAUGES.keys() == COUNTERS.keys() - {"gpu_energy_mj"}
