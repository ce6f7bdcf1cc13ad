"""What the doctor finds of a GPU."""

import pytest

from benchbox.analysis import doctor
from benchbox.analysis.doctor import gpu
from benchbox.analysis.doctor.observation import Observation
from tests.fakegpu.building import Libraries

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


def found(readings: tuple[float, ...] = (40_000.0,) * 50, **seen: object) -> list[tuple[str, str]]:
    watch = Observation((0,), gpu={**FINE, **seen}, gpu_readings_ns=readings)
    return [(each.severity, each.text) for check in CHECKS for each in check(watch)]


def test_the_times_of_a_gpu_are_good_as_long_as_they_hardly_change() -> None:
    assert not [each for check in CHECKS for each in check(Observation((0,)))]
    assert found() == [("good", "The GPU took the same time for the same work (40 us).")]
    ((severity, text),) = found((40_000.0,) * 30 + (80_000.0,) * 20)
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
    (finding,) = [each for each in found(**seen) if each[0] != "good"]
    assert (finding[0], text in finding[1]) == (severity, True)


@pytest.mark.slow
def test_the_doctor_looks_at_the_gpu_that_it_is_asked_for(fake_gpu: Libraries) -> None:
    nvml = "process 999999 1000000000\npersistence 0\ndefault_power_limit_mw 800000"
    ended = fake_gpu.benchbox("doctor", "-d", "cuda", "--seconds", "0.3", nvml=nvml)
    assert ended.exit_code == 0, ended.stderr
    assert " and NVIDIA Stand-in: a poor place" in ended.stdout.splitlines()[0]
    for text in ("1 other process computes on the GPU, and holds 1.0 GB", "800 W", "starts anew"):
        assert text in ended.stdout
