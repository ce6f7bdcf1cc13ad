"""NVML's counters and facts, by a stand-in for the driver's library."""

import pytest

from benchbox.agent.gpu import nvml
from tests.fakegpu.building import Libraries

OPEN = """
from benchbox.agent.gpu.nvml import Nvml
nvml = Nvml("0000:17:00.0")
"""
UNRATIONED = "from benchbox.agent.gpu import nvml as module; module.SHARE = 1e12"
SAID = """
from benchbox.agent.gpu.nvml import Nvml
try:
    Nvml("0000:{}:00.0")
    result = None
except RuntimeError as error:
    result = str(error)
"""
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


def counters(fake_gpu: Libraries, told: str = "", *, old: bool = False) -> dict[str, float]:
    folders = [fake_gpu.old] if old else None
    result = fake_gpu.run(f"{OPEN}result = nvml.read_counters()", nvml=told, folders=folders)
    assert isinstance(result, dict)
    return result


def test_a_reading_has_every_value_with_its_unit(fake_gpu: Libraries) -> None:
    assert counters(fake_gpu) == COUNTERS
    older = {**COUNTERS, "gpu_throttle_bits": 4}  # by older functions
    del older["gpu_other_processes"], older["gpu_other_memory_bytes"]  # from CUDA 12 on
    assert counters(fake_gpu, "reasons 4\nprocess 1 100", old=True) == older


@pytest.mark.parametrize("code", [3, 4, 13])
def test_what_a_driver_does_not_tell_is_absent(fake_gpu: Libraries, code: int) -> None:
    told = f"fail nvmlDeviceGetPowerUsage {code}\nfail nvmlDeviceGetUtilizationRates {code}"
    seen = counters(fake_gpu, told)
    assert seen.keys() == COUNTERS.keys() - {"gpu_power_w", "gpu_busy_percent"}


def test_what_has_no_answer_or_takes_long_is_not_asked_each_time(fake_gpu: Libraries) -> None:
    code = f"{UNRATIONED}{OPEN}result = [nvml.read_counters() for _ in range(5)]"
    fake_gpu.run(code, nvml="fail nvmlDeviceGetPowerUsage 3")
    assert fake_gpu.log("nvml").count("nvmlDeviceGetPowerUsage") == 1
    assert fake_gpu.log("nvml").count("nvmlDeviceGetUtilizationRates") == 5
    code = f"{OPEN}result = [nvml.read_counters() for _ in range(4)] == [nvml.read_counters()] * 4"
    assert fake_gpu.run(code, nvml="cost_us 20000") is True
    assert fake_gpu.log("nvml").count("nvmlDeviceGetPowerUsage") == 1


def test_what_failed_for_once_is_asked_again(fake_gpu: Libraries) -> None:
    code = f"""{UNRATIONED}{OPEN}
import os, pathlib
first = nvml.read_counters()
pathlib.Path(os.environ["FAKE_NVML"]).write_text("")
result = ["gpu_power_w" in first, "gpu_power_w" in nvml.read_counters()]
"""
    assert fake_gpu.run(code, nvml="fail nvmlDeviceGetPowerUsage 10") == [False, True]


@pytest.mark.parametrize(
    ("processes", "others", "held"),
    [
        ("process self 5000\nprocess 71 300\nprocess 72 4000", 2, 4300),
        ("process 71 300\nprocess 72 -1", 2, None),  # what it holds is not known
    ],
)
def test_other_processes_are_counted_with_what_they_hold(
    fake_gpu: Libraries, processes: str, others: int, held: int | None
) -> None:
    found = counters(fake_gpu, processes)
    assert (found["gpu_other_processes"], found.get("gpu_other_memory_bytes")) == (others, held)


@pytest.mark.parametrize(("before", "others"), [("process 71 300", 1), ("", 2)])
def test_in_a_container_the_one_process_that_is_new_is_this_one(
    fake_gpu: Libraries, before: str, others: int
) -> None:
    """Of two that are new none is."""
    code = f"""{OPEN}
import os, pathlib
pathlib.Path(os.environ["FAKE_NVML"]).write_text("process 71 300\\nprocess 4242 5000")
nvml.adopt()
result = nvml.read_counters()["gpu_other_processes"]
"""
    assert fake_gpu.run(code, nvml=before) == others


def test_the_facts_tell_nothing_that_tells_two_of_a_kind_apart(fake_gpu: Libraries) -> None:
    assert fake_gpu.run(f"{OPEN}result = nvml.facts()", nvml="power_limit_mw 350000") == {
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
    asked = set(fake_gpu.log("nvml"))
    assert not any("UUID" in name or "Serial" in name for name in asked)
    told = "fail nvmlDeviceGetEccMode 3\nfail nvmlDeviceGetMigMode 4"
    fewer = fake_gpu.run(f"{OPEN}result = nvml.facts()", nvml=told)
    assert isinstance(fewer, dict)
    assert (fewer.keys() & {"ecc", "mig"}, fewer["persistence"]) == (set(), True)


@pytest.mark.parametrize(
    ("code", "bus", "parts"),
    [
        (4, 17, ["Insufficient Permissions", "this user may not ask"]),
        (9, 17, ["Driver Not Loaded", "nvidia-smi"]),
        (18, 17, ["version mismatch", "reboot"]),
        (0, 99, []),  # another GPU than there is
    ],
)
def test_why_nothing_can_be_read_is_one_sentence(
    fake_gpu: Libraries, code: int, bus: int, parts: list[str]
) -> None:
    sentence = str(fake_gpu.run(SAID.format(bus), nvml=f"fail nvmlInitWithFlags {code}"))
    assert sentence.startswith("the GPU's clock, power and temperature cannot be read: ")
    assert all(part in sentence for part in parts)
    assert "\n" not in sentence


def test_without_library_or_binding_the_sentence_has_what_helps(fake_gpu: Libraries) -> None:
    ask = SAID.format(17)
    without_library = str(fake_gpu.run(ask, folders=[]))
    assert "libnvidia-ml.so.1 comes with the driver" in without_library
    without_binding = str(fake_gpu.run(f"import sys; sys.modules['pynvml'] = None\n{ask}"))
    assert without_binding.endswith(": pip install nvidia-ml-py")


def test_of_two_readings_the_worse_one_counts() -> None:
    assert nvml.GAUGES["gpu_sm_clock_mhz"](1980, 1200) == 1200
    assert nvml.GAUGES["gpu_throttle_bits"](4, 32) == 36
    assert nvml.GAUGES.keys() == COUNTERS.keys() - {"gpu_energy_mj"}
