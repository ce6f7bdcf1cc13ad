"""A Jetson's GPU, read from files as its kernel has them."""

from pathlib import Path

import pytest

from benchbox.agent.gpu import nvml, tegra
from tests.agent.conftest import Tree

GPU = "sys/class/devfreq/17000000.gpu"
THERMAL = "sys/class/thermal"
# An Orin Nano with Jetson Linux 36.4.3, as root reads it.
ORIN = {
    f"{GPU}/cur_freq": 611999837,
    f"{GPU}/available_frequencies": "305999908 407999877 510000000 611999837 624750000",
    f"{GPU}/device/load": 983,
    "sys/class/devfreq/15340000.vic/cur_freq": 115200000,
    f"{THERMAL}/thermal_zone0/type": "cpu-thermal",
    f"{THERMAL}/thermal_zone0/temp": 51218,
    f"{THERMAL}/thermal_zone1/type": "gpu-thermal",
    f"{THERMAL}/thermal_zone1/temp": 49531,
    f"{THERMAL}/cooling_device0/type": "cpu-throttle-alert",
    f"{THERMAL}/cooling_device0/cur_state": 1,
    f"{THERMAL}/cooling_device1/type": "gpu-throttle-alert",
    f"{THERMAL}/cooling_device1/cur_state": 0,
    "sys/class/hwmon/hwmon3/oc1_event_cnt": 2,
    "sys/class/hwmon/hwmon3/oc3_event_cnt": 0,
    "sys/kernel/debug/bpmp/debug/clk/emc/rate": 2133000000,
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic",
}


@pytest.fixture(autouse=True)
def asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "SHARE", 1e12)


def test_an_orin_is_read_under_the_names_of_nvml(tree: Tree, tmp_path: Path) -> None:
    assert tegra.find(tmp_path) is None
    tree(ORIN)
    found = tegra.find(tmp_path)
    assert found is not None
    assert found.facts() == {"top_sm_clock_mhz": 624, "driver": "L4T 36.4.3"}
    assert found.read_counters() == {
        "gpu_sm_clock_mhz": pytest.approx(612, rel=1e-5),
        "gpu_memory_clock_mhz": 2133,
        "gpu_busy_percent": 98.3,
        "gpu_temperature_c": 49.531,
        "gpu_throttle_bits": 0,
    }
    assert nvml.GAUGES.keys() >= found.read_counters().keys()


def test_its_throttling_is_heat_or_the_brake_of_its_power(tree: Tree, tmp_path: Path) -> None:
    tree(ORIN)
    found = tegra.find(tmp_path)
    assert found is not None

    def bits() -> float:
        return found.read_counters()["gpu_throttle_bits"]

    tree({f"{THERMAL}/cooling_device1/cur_state": 1})
    assert bits() == tegra.HEAT
    tree({"sys/class/hwmon/hwmon3/oc3_event_cnt": 1})
    assert bits() == tegra.HEAT | tegra.BRAKE
    tree({f"{THERMAL}/cooling_device1/cur_state": 0})
    assert bits() == 0


def test_what_a_user_may_not_read_or_an_older_one_has_not_is_absent(
    tree: Tree, tmp_path: Path
) -> None:
    tree({"sys/class/devfreq/57000000.gpu/cur_freq": 921600000})
    found = tegra.find(tmp_path)
    assert found is not None
    assert (found.facts(), found.read_counters()) == ({}, {"gpu_sm_clock_mhz": 921.6})
    tree({"sys/class/devfreq/57000000.gpu/cur_freq": "busy"})
    assert found.read_counters() == {}
