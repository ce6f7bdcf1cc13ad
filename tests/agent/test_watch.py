"""Observations for `benchbox doctor`, and a machine's settings, as the agent reads them."""

import json
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from benchbox.agent.host import machine, settings
from benchbox.agent.host import watch as host_watch
from benchbox.analysis.doctor import examine, gather
from tests.agent.conftest import Tree
from tests.analysis.test_doctor import CALM

CPU = "sys/devices/system/cpu"


@pytest.mark.usefixtures("mask")
def test_an_observation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = machine.usable_cpus()[-1]
    readings = cycle([11_512, 11_518, 13_000])
    result = host_watch.observe(lambda: next(readings), pinned, 0.01)
    assert json.loads(json.dumps(result))["cpu"] == pinned
    assert {ns for ns, _ in result["readings_ns"]} <= {11_510.0, 11_520.0, 13_000.0}  # type: ignore[attr-defined]
    assert examine(gather([json.loads(json.dumps(result))], {})).verdict
    bare = host_watch.observe(lambda: next(readings), pinned, 0.005, tmp_path, tmp_path)
    assert (bare["others"], bool(bare["readings_ns"])) == ([], True)
    monkeypatch.setattr(host_watch, "LONGEST_S", 0.01)
    assert host_watch.observe(lambda: 1, pinned, 1e9)["readings_ns"]  # and ends
    assert host_watch.observe(lambda: 1, pinned, 0.0)["readings_ns"] == []


def test_time_that_went_missing_in_a_turn_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    # Turns of 50 us, one of 65 as in a slow state, one of 16 ms in which a program ran.
    turns = iter([50_000, 65_000, 16_050_000, *[50_000] * 500])
    now = 0

    def clock() -> int:
        nonlocal now
        now += next(turns) if calls else 0
        return now

    calls: list[int] = []
    monkeypatch.setattr(host_watch.time, "perf_counter_ns", clock)
    readings, lost = host_watch._spin(lambda: calls.append(1) or 11_500, 0.02)  # type: ignore[func-returns-value]
    assert (set(readings), lost) == ({11_500}, [16_000_000])


def facts(tmp_path: Path, cpus: tuple[int, ...] = (1,)) -> dict[str, Any]:
    return settings.read(cpus, tmp_path / "proc", tmp_path / "sys")


SET: Mapping[str, object] = {
    "proc/cpuinfo": "processor : 0\nflags\t: fpu hypervisor sse",
    "proc/meminfo": "MemTotal: 100 kB\nMemAvailable: 50 kB\nSwapTotal: 9 kB\nSwapFree: 4 kB",
    "proc/loadavg": "0.03 0.33 0.68 3/87 3462",
    "proc/self/cgroup": "0::/box",
    "sys/fs/cgroup/box/cpu.stat": "",
    "sys/fs/cgroup/box/cpu.max": "150000 100000",
    f"{CPU}/isolated": "2-3",
    f"{CPU}/intel_pstate/no_turbo": 0,
    f"{CPU}/cpu1/topology/thread_siblings_list": "1,5",
    f"{CPU}/cpu1/cpufreq/scaling_governor": "powersave",
    f"{CPU}/cpu1/cpufreq/scaling_driver": "intel_pstate",
    f"{CPU}/cpu1/cpufreq/scaling_max_freq": 2000000,
    f"{CPU}/cpu1/cpufreq/cpuinfo_max_freq": 3600000,
    "sys/class/power_supply/AC/type": "Mains",
    "sys/class/power_supply/AC/online": 0,
    "sys/firmware/acpi/platform_profile": "balanced",
}


def test_how_a_machine_is_set_up_is_read(tree: Tree, tmp_path: Path) -> None:
    tree(SET)
    assert facts(tmp_path) == {
        "virtual": True,
        "cpus": [
            {
                "cpu": 1,
                "siblings": [5],
                "governor": "powersave",
                "driver": "intel_pstate",
                "limit_khz": 2000000,
                "top_khz": 3600000,
            }
        ],
        "isolated": [2, 3],
        "boost": {"on": True, "file": str(tmp_path / CPU / "intel_pstate/no_turbo")},
        "quota_cpus": 1.5,
        "load_5min": 0.33,
        "memory_bytes": 102400,
        "memory_available_bytes": 51200,
        "swap_used_bytes": 5120,
        "on_battery": True,
        "profile": "balanced",
    }
    nowhere = settings.read([0], tmp_path / "none", tmp_path / "none")
    assert nowhere == {"cpus": [{"cpu": 0, "siblings": []}], "isolated": []}


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\x00\xfe", b"-1", b"9" * 9999])
def test_settings_of_nonsense_are_not_known(tree: Tree, tmp_path: Path, content: bytes) -> None:
    tree(dict.fromkeys(SET, content))
    result = facts(tmp_path)
    known = {"cpus", "isolated", "profile", "load_5min"}
    assert result.keys() <= known
    assert examine(gather([CALM], result)).verdict
    own = json.loads(json.dumps(settings.read(machine.usable_cpus())))
    assert examine(gather([CALM], own)).verdict


GROUP = "sys/fs/cgroup"
DMI = "sys/class/dmi/id"
COMPATIBLE = "proc/device-tree/compatible"
SUPPLY = "sys/class/power_supply"
ON_BATTERY = {f"{SUPPLY}/AC/type": "Mains", f"{SUPPLY}/AC/online": 0, f"{SUPPLY}/B/type": "Battery"}
BY_USB = {f"{SUPPLY}/usb/type": "USB", f"{SUPPLY}/usb/online": 1}


def first_version(quota_us: int, period_us: int) -> dict[str, object]:
    files = {"cpu.cfs_quota_us": quota_us, "cpu.cfs_period_us": period_us}
    return {f"{GROUP}/box/{name}": value for name, value in files.items()}


@pytest.mark.parametrize(
    ("files", "name", "value"),
    [
        ({f"{CPU}/isolated": "0-2,8"}, "isolated", [0, 1, 2, 8]),
        ({f"{CPU}/isolated": "1,x,-,7-,2-1,0-99999999999"}, "isolated", [1]),
        ({f"{GROUP}/box/cpu.max": "max 100000"}, "quota_cpus", None),
        (
            {f"{GROUP}/box/cpu.max": "50000 100000", f"{GROUP}/cpu.max": "300000 100000"},
            *("quota_cpus", 0.5),  # the tightest counts
        ),
        (first_version(-1, 100000), "quota_cpus", None),
        (first_version(200000, 100000), "quota_cpus", 2.0),
        (first_version(200000, 0), "quota_cpus", None),
        ({"proc/cpuinfo": "flags : fpu sse"}, "virtual", False),
        ({"sys/hypervisor/type": "xen"}, "virtual", True),
        ({f"{DMI}/sys_vendor": "Amazon EC2"}, "virtual", True),
        ({f"{DMI}/sys_vendor": "EC2", f"{DMI}/product_name": "c7g.metal"}, "virtual", False),
        ({COMPATIBLE: "linux,dummy-virt"}, "virtual", True),
        ({COMPATIBLE: "raspberrypi,4-model-b"}, "virtual", False),
        ({}, "virtual", None),
        (ON_BATTERY, "on_battery", True),
        ({**ON_BATTERY, **BY_USB}, "on_battery", False),  # any supply is enough
        ({f"{CPU}/cpufreq/boost": 0}, "boost", False),
        ({f"{CPU}/cpufreq/boost": 1, f"{CPU}/intel_pstate/no_turbo": 1}, "boost", False),
    ],
)
def test_a_setting_is_known_in_any_way_that_it_is_shown(
    tree: Tree, tmp_path: Path, files: Mapping[str, object], name: str, value: object
) -> None:
    groups = {f"{GROUP}/{path}": "" for path in ("cpu.stat", "box/cpu.stat")}
    tree({"proc/self/cgroup": "0::/box", **groups, **files})
    found = facts(tmp_path).get(name)
    assert (found["on"] if name == "boost" else found) == value
