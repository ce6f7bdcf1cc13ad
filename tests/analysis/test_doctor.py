"""Findings of `benchbox doctor` from made-up observations."""

from collections.abc import Mapping
from typing import Any

import pytest

from benchbox.analysis import doctor
from benchbox.analysis.doctor import Finding, Observation, Report, examine, gather, gpu
from tests.fakegpu.building import Libraries

CALM: Mapping[str, Any] = {
    "cpu": 1,
    "seconds": 1.0,
    "readings_ns": [[11500.0, 5000]],
    "gaps": 1,
    "lost_s": 0.0002,
    "longest_gap_s": 0.0002,
    "seen": {"switches": 1, "clock_khz": 2_100_000, "temperature_c": 51.0},
    "others": [[0, 0.01], [1, 0.0]],
}


def look(**changed: object) -> dict[str, Any]:
    return {**CALM, **changed}


def seen(**changed: float) -> dict[str, Any]:
    return look(seen={**CALM["seen"], **changed})


def report(*looks: Mapping[str, Any], **facts: object) -> Report:
    return examine(gather(looks or [CALM], facts, usable=(0, 1)))


def found(text: str, *looks: Mapping[str, Any], **facts: object) -> Finding:
    """Return the one finding that has the text in it."""
    (finding,) = (each for each in report(*looks, **facts).findings if text in each.text)
    assert finding.text[-1] == "." or finding.command
    return finding


# the verdict


def test_a_calm_machine_that_shows_its_clock_is_a_good_place() -> None:
    result = report()
    assert result.verdict.startswith("processor 1: a good place")
    assert {result.severity, *(finding.severity for finding in result.findings)} == {"good"}


def test_the_worst_finding_decides_and_comes_first() -> None:
    result = report(seen(thermal_throttles=3), virtual=True)
    severities = [finding.severity for finding in result.findings]
    assert severities == sorted(severities, key=doctor.WORST_FIRST.index)
    assert result.severity == severities[0] == "poor"
    assert "a poor place" in result.verdict


def test_without_any_observation_there_is_a_verdict_all_the_same() -> None:
    assert examine(Observation(cpus=())).severity == "poor"
    assert examine(gather([], {})).findings
    assert report(look(seconds=0.0, readings_ns=[], seen={}, others=[])).findings


# what was observed


UNSTEADY = [[10_000.0, 4020], [13_400.0, 1000]]
ALL_SPEEDS = [[float(10_000 * 1.05**step), 100] for step in range(12)]
BOOSTED = [[9500.0, 100], [11500.0, 4900]]


@pytest.mark.parametrize(
    ("readings", "severity", "text"),
    [
        ([[11500.0, 5000]], "good", "at one speed"),
        (UNSTEADY, "fair", "one speed for 75% of the time; for 25% it was slower, mostly by 34%"),
        (ALL_SPEEDS, "poor", "at one speed"),
        (BOOSTED, "good", "for 2% it was faster, mostly by 17%"),
        ([[11500.0, 3]], "poor", "too few readings"),
    ],
)
def test_a_steady_speed_is_good_and_one_that_changes_costs_time(
    readings: list[list[float]], severity: str, text: str
) -> None:
    assert found(text, look(readings_ns=readings)).severity == severity


@pytest.mark.parametrize(
    ("counters", "who"),
    [({"switches": 99}, "other programs"), ({"steal_s": 0.4}, "other guests"), ({}, "neither")],
)
def test_programs_that_take_the_processor_differ_from_a_host_that_does(
    counters: dict[str, float], who: str
) -> None:
    lost = look(gaps=120, lost_s=0.5, longest_gap_s=0.016, seen=counters)
    text = "120 times a second, for 50% of the time and for 16 ms at the longest: "
    assert text + who in found("took the", lost).text
    assert "0.3 times a second" in found("took the", *[CALM, look(gaps=0), look(gaps=0)]).text


def test_a_calmer_processor_is_proposed_where_there_is_one() -> None:
    lost = {"gaps": 120, "lost_s": 0.5, "seen": {"switches": 99}}
    busy = look(**lost, others=[[0, 0.02], [1, 0.5]])
    assert found("took the", busy).command == "benchbox run g2 --cpus 0"
    assert found("took the", look(**lost, others=[[0, 0.45], [1, 0.5]])).command is None
    not_usable = gather([busy], {}, usable=(1,))
    assert all("--cpus 0" not in (each.command or "") for each in examine(not_usable).findings)


@pytest.mark.parametrize(("others", "total"), [([[0, 0.97], [1, 0.3]], "1.3 of 2"), ([], "1.2")])
def test_the_work_of_others_is_said_and_the_busiest_are_named(
    others: list[list[float]], total: str
) -> None:
    programs = [("cc1", 0.831), ("python3", 0.4), ("sshd", 0.01)]
    findings = examine(gather([look(others=others)], {}, programs)).findings
    (text,) = (each.text for each in findings if "Other programs kept" in each.text)
    assert f"kept {total} processors busy" in text
    assert "most of all cc1 (83% of one), python3 (40% of one)." in text
    assert "busy. Also" in found("programs kept", look(others=[[0, 0.97], [1, 0.2]])).text


SWAPPED = {"swap_used_bytes": 1_200_000_000}


@pytest.mark.parametrize(
    ("changed", "facts", "text", "severity"),
    [
        ({"steal_s": 0.01}, {}, "The hypervisor gave 1% of it", "fair"),
        ({"steal_s": 0.1}, {}, "The hypervisor gave 10% of it", "poor"),
        ({"throttled_periods": 3, "throttled_us": 9}, {}, "stopped 3 times", "poor"),
        ({"throttled_us": 9}, {}, "Its container was stopped", "poor"),
        ({"memory_pressure_us": 5000}, {}, "waited for memory", "fair"),
        ({"memory_pressure_us": 50_000}, {}, "waited for memory", "poor"),
        ({"thermal_throttles": 1, "temperature_c": 99.0}, {}, "for heat, at 99 °C", "poor"),
        ({"faults_major": 9}, SWAPPED, "times, with 1.2 GB swapped out", "fair"),
        ({"temperature_c": 93.4}, {}, "It is hot, at 93 °C", "fair"),
        ({}, {"quota_cpus": 0.5}, "may use 0.5 processors", "poor"),
        ({}, {"on_battery": True}, "battery", "poor"),
        ({}, {"profile": "low-power"}, "power profile is low-power", "fair"),
        ({}, {"isolated": [3, 4]}, "no other work to processors 3 and 4", "fair"),
        ({}, {"isolated": [1]}, "no other work to processor 1", "good"),
        ({}, {"memory_bytes": 100, "memory_available_bytes": 2}, "Only 2% of the memory", "fair"),
        ({}, {"cpus": [{"limit_khz": 10**6, "top_khz": 3_600_000}]}, "to 1 of 3.6 GHz", "fair"),
        ({}, {"load_5min": 1.7}, "1.7 of 2 processors", "fair"),
    ],
)
def test_what_was_counted_and_what_is_set_is_a_finding(
    changed: Mapping[str, float], facts: Mapping[str, Any], text: str, severity: str
) -> None:
    assert found(text, seen(**changed), **facts).severity == severity


def test_a_busy_half_of_the_same_core_is_bad_and_a_calm_one_is_not() -> None:
    cpus = [{"cpu": 1, "siblings": [0]}]
    assert report(cpus=cpus).severity == "good"
    finding = found("other half", look(others=[[0, 0.5], [1, 0.0]]), cpus=cpus)
    assert (finding.severity, "used 50% of it" in finding.text) == ("poor", True)
    assert finding.command == "echo off | sudo tee /sys/devices/system/cpu/smt/control"


def test_two_threads_on_one_core_are_one_finding() -> None:
    cpus = [{"cpu": 0, "siblings": [1]}, {"cpu": 1, "siblings": [0]}]
    finding = found("halves of one core", CALM, look(cpu=0), cpus=cpus)
    assert "Processors 0 and 1 are halves" in finding.text


def test_a_machine_that_is_as_busy_as_before_is_not_quiet_now() -> None:
    busy = look(others=[[0, 0.9], [1, 0.8]])
    assert not any("quiet now" in each.text for each in report(busy, load_5min=1.7).findings)


# how it is set up


@pytest.mark.parametrize(
    ("governor", "driver", "severity"),
    [
        ("schedutil", "cpufreq-dt", "fair"),
        ("powersave", "intel_pstate", "fair"),
        ("powersave", "acpi-cpufreq", "poor"),
        ("powersave", None, "poor"),
    ],
)
def test_a_governor_that_moves_the_clock_is_to_be_replaced(
    governor: str, driver: str | None, severity: str
) -> None:
    finding = found("governor", cpus=[{"cpu": 1, "governor": governor, "driver": driver}])
    command = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/"
    assert (finding.severity, str(finding.command).startswith(command)) == (severity, True)


@pytest.mark.parametrize(("file", "off"), [("intel_pstate/no_turbo", 1), ("cpufreq/boost", 0)])
def test_boost_is_named_only_where_it_is_on_and_the_speed_changed(file: str, off: int) -> None:
    boost = {"on": True, "file": f"/sys/devices/system/cpu/{file}"}
    unsteady = look(readings_ns=UNSTEADY)
    assert found("Boost", unsteady, boost=boost).command == f"echo {off} | sudo tee {boost['file']}"
    assert report(boost=boost).severity == "good"
    assert report(unsteady, boost={**boost, "on": False}) == report(unsteady)


@pytest.mark.parametrize(
    "facts",
    [
        {"quota_cpus": 8.0, "on_battery": False, "profile": "performance", "isolated": []},
        {"cpus": [{"cpu": 1, "siblings": []}], "load_5min": 0.1, "virtual": False},
        {"cpus": [{"cpu": 1, "limit_khz": 5, "top_khz": 5}], "boost": {"on": False, "file": "x"}},
        {"memory_bytes": 100, "memory_available_bytes": 50, "swap_used_bytes": 40},
        *({"cpus": [{"cpu": 1, "governor": name}]} for name in ("performance", "userspace")),
    ],
)
def test_what_is_in_order_is_no_finding(facts: Mapping[str, Any]) -> None:
    assert report(**facts) == report()
    assert report(seen(faults_major=1), **facts).severity == "good"  # few are no matter


def test_a_machine_that_shows_neither_clock_nor_temperature_has_the_probe_alone() -> None:
    finding = found("only benchbox's own sentinel", look(seen={}), virtual=True)
    assert finding.severity == "fair"
    assert finding.text.startswith("It is a virtual machine that shows neither")
    hot = look(seen={"temperature_c": 40.0})
    assert "Its temperature can be read." in found("can be read", hot).text


def test_threads_that_take_every_processor_leave_none_for_the_system() -> None:
    looks = CALM, look(cpu=0)
    assert found("every processor that is usable (0 and 1)", *looks)
    assert report(*looks).verdict.startswith("processors 1 and 0: a fair place")


# a GPU


FINE = {
    "name": "NVIDIA Stand-in",
    "top_sm_clock_mhz": 1980,
    "power_limit_w": 700.0,
    "default_power_limit_w": 700.0,
    "persistence": True,
    "mig": False,
    "gpu_sm_clock_mhz": 1980.0,
    "gpu_temperature_c": 41.0,
    "gpu_throttle_bits": 0,
    "gpu_other_processes": 0,
}
CHECKS = [check for check in doctor.CHECKS if check.__module__ == gpu.__name__]


def found_on_gpu(slow: int = 0, **seen: object) -> list[tuple[str, str]]:
    readings = (40_000.0,) * (50 - slow) + (80_000.0,) * slow
    watch = Observation((0,), gpu={**FINE, **seen}, gpu_readings_ns=readings)
    return [(each.severity, each.text) for check in CHECKS for each in check(watch)]


def test_the_times_of_a_gpu_are_good_as_long_as_they_hardly_change() -> None:
    assert not [each for check in CHECKS for each in check(Observation((0,)))]
    assert found_on_gpu() == [("good", "The GPU took the same time for the same work (40 us).")]
    ((severity, text),) = found_on_gpu(slow=20)
    assert (severity, "40% of the time, 100% in the middle" in text) == ("poor", True)


@pytest.mark.parametrize(
    ("seen", "severity", "text"),
    [
        ({"gpu_other_processes": 2, "gpu_other_memory_bytes": 3e9}, "poor", "and hold 3.0 GB"),
        ({"gpu_throttle_bits": 0x4}, "fair", "its power limit holds it down"),
        ({"gpu_throttle_bits": 0x40}, "poor", "it is too hot"),
        ({"gpu_throttle_bits": 0x80}, "poor", "its hardware slows it down"),
        ({"gpu_sm_clock_mhz": 345.0}, "fair", "ran at 345 of 1980 MHz"),
        ({"gpu_temperature_c": 90.0}, "fair", "hot, at 90 °C"),
        ({"power_limit_w": 300.0}, "fair", "may draw 300 W, and was made for 700 W"),
        ({"persistence": False}, "fair", "starts anew for every program"),
        ({"mig": True}, "fair", "divided (MIG)"),
        ({"unseen": "no NVML"}, "fair", "is not known: no NVML"),
    ],
)
def test_what_disturbs_a_gpu_is_a_finding(
    seen: dict[str, object], severity: str, text: str
) -> None:
    (finding,) = [each for each in found_on_gpu(**seen) if each[0] != "good"]
    assert (finding[0], text in finding[1]) == (severity, True)


@pytest.mark.slow
def test_the_doctor_looks_at_the_gpu_that_it_is_asked_for(fake_gpu: Libraries) -> None:
    nvml = "process 999999 1000000000\npersistence 0\ndefault_power_limit_mw 800000"
    ended = fake_gpu.benchbox("doctor", "-d", "cuda", "--seconds", "0.3", nvml=nvml)
    assert ended.exit_code == 0, ended.stderr
    assert " and NVIDIA Stand-in: a poor place" in ended.stdout.splitlines()[0]
    for text in ("1 other process computes on the GPU, and holds 1.0 GB", "800 W", "starts anew"):
        assert text in ended.stdout


def test_a_source_of_energy_is_named_and_the_lack_of_one_is_no_fault() -> None:
    observed = gather([CALM], {"energy": {"source": "RAPL"}})
    assert "energy of calls is read too, by RAPL." in str(examine(observed).findings)
    assert "energy" not in str(examine(gather([CALM], {"energy": {"missing": "x"}})).findings)
