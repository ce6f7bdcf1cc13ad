from typing import Any

import pytest

from benchbox.analysis import disturbance_text
from benchbox.analysis.disturbance_text import summary
from benchbox.analysis.disturbances import TAGS, tags

BURST_S = 0.1
NAMES = (
    *("switches", "faults_minor", "faults_major", "collections", "migrations", "moved"),
    *("queued_ns", "steal_s", "pressure_us", "throttled_us", "throttled_periods"),
    *("thermal_throttles", "clock_khz", "temperature_c"),
)


@pytest.mark.parametrize(
    ("causes", "counted"),
    [
        (("throttled",), [{"throttled_us": 1}, {"throttled_periods": 1}]),
        (("steal",), [{"steal_s": 0.01}]),
        (("preempted",), [{"switches": 1}]),
        (("queued",), [{"queued_ns": 1_100_000}]),
        (("hot",), [{"thermal_throttles": 1}]),
        (("faulted",), [{"faults_major": 1}, {"faults_minor": 600}]),
        (("migrated",), [{"migrations": 1}, {"moved": 1}]),
        (("collected",), [{"collections": 1}]),
        (("pressure",), [{"pressure_us": 11_000}]),
        (("undervoltage",), [{"throttled_bits": 0b0001}]),
        (("capped",), [{"throttled_bits": 0b0010}]),
        (("firmware",), [{"throttled_bits": 0b0100}, {"throttled_bits": 0b1000}]),
        ((), [{"throttled_bits": 0xF0000}]),  # since the board was started
        ((), [{"queued_ns": 900_000}, {"faults_minor": 400}, {"pressure_us": 9_000}]),  # too little
        ((), [{"memory_pressure_us": 90_000}, {"temperature_c": 99.0}, {"clock_khz": 800_000}]),
        ((), [{}, dict.fromkeys(NAMES, 0)]),
    ],
)
def test_what_the_system_counted_is_a_cause(
    causes: tuple[str, ...], counted: list[dict[str, float]]
) -> None:
    for seen in counted:
        assert tags(seen, BURST_S) == causes


@pytest.mark.parametrize(
    ("seen", "more", "causes"),
    [
        ({}, {"switches": 0, "slow": False, "top_khz": 2e6}, ()),
        ({"switches": 3}, {"switches": 0}, ()),  # in the calls there were none
        ({"switches": 0}, {"switches": 2}, ("preempted",)),
        ({"clock_khz": 1_930_000}, {"top_khz": 2_000_000}, ("clock",)),
        ({"clock_khz": 1_950_000}, {"top_khz": 2_000_000}, ()),
        ({"steal_s": 1.0}, {"switches": 1, "slow": True}, ("steal", "preempted", "slow")),
        # who waits while another has this processor is no pressure besides
        ({"pressure_us": 100_000}, {"switches": 12}, ("preempted",)),
        ({"pressure_us": 100_000, "queued_ns": 5e7}, {"switches": 0}, ("queued",)),
        *(
            ({}, {"setting": {"throttled": words}}, causes)
            for words, causes in {
                "under-voltage now, throttled now": ("undervoltage", "firmware"),
                "clock capped now": ("capped",),
                "near its heat limit now, throttled since it was started": ("firmware",),
                "under-voltage since it was started": (),
                "none": (),
            }.items()
        ),
        *(
            ({}, {"setting": {name: "something"}}, ("changed",))
            for name in ("governor", "limit", "nvpmodel", "jetson_clocks")
        ),
    ],
)
def test_what_else_is_known_of_a_burst_decides_too(
    seen: dict[str, float], more: dict[str, Any], causes: tuple[str, ...]
) -> None:
    assert tags(seen, BURST_S, **more) == causes


# words


def test_the_words_know_no_other_causes() -> None:
    assert disturbance_text.WORDS.keys() == set(TAGS) >= disturbance_text.EXPLAINS.keys()


def test_a_summary_names_the_two_commonest_causes_with_what_to_do() -> None:
    for rare in ({}, {"slow": 0.04, "steal": 0.0}, {"cosmic-rays": 0.9}):
        assert summary(rare) == ("", "")
    shares = {"preempted": 0.629, "steal": 0.2, "collected": 0.1}
    assert summary(shares) == (
        "in 62% of the bursts other programs took its processor, "
        "in 20% the hypervisor gave its processor away",
        "stop those or choose another with --cpus, use a machine with processors of its own",
    )
    assert summary({"migrated": 0.3}, of="calls")[0].startswith("in 30% of the calls it was moved")


def test_a_cause_that_another_explains_is_not_named() -> None:
    assert "waited" not in summary({"preempted": 0.5, "queued": 0.6})[0]
    assert "slower" not in summary({"clock": 0.2, "slow": 0.3})[0]
    for clock, slow in ((0.06, 0.3), (0.04, 0.06)):
        assert "slower" in summary({"clock": clock, "slow": slow})[0]
    assert summary({"firmware": 0.5, "clock": 0.5, "slow": 0.5}) == (
        "in 50% of the bursts the board's firmware held its clock down for heat",
        "let it cool down",
    )
    weak = summary({"undervoltage": 0.5, "firmware": 0.4, "capped": 0.5})
    assert weak[1] == "give it a stronger power supply"
