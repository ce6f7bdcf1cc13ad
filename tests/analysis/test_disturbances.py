from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbox.analysis import disturbance_text
from benchbox.analysis.disturbance_text import summary
from benchbox.analysis.disturbances import TAGS, tags

BURST_S = 0.1
NAMES = (
    *("switches", "faults_minor", "faults_major", "collections", "migrations", "moved"),
    *("queued_ns", "steal_s", "pressure_us", "throttled_us", "throttled_periods"),
    *("thermal_throttles", "clock_khz", "temperature_c"),
)


def test_a_burst_of_which_nothing_is_known_has_no_cause() -> None:
    assert tags({}, BURST_S) == ()
    assert tags({}, 0.0, None) == ()
    assert tags(dict.fromkeys(NAMES, 0), BURST_S, 0, slow=False, top_khz=2e6) == ()


@pytest.mark.parametrize(
    ("seen", "tag"),
    [
        ({"throttled_us": 1}, "throttled"),
        ({"throttled_periods": 1}, "throttled"),
        ({"steal_s": 0.01}, "steal"),
        ({"switches": 1}, "preempted"),
        ({"queued_ns": 1_100_000}, "queued"),
        ({"thermal_throttles": 1}, "hot"),
        ({"faults_major": 1}, "faulted"),
        ({"faults_minor": 600}, "faulted"),
        ({"migrations": 1}, "migrated"),
        ({"moved": 1}, "migrated"),
        ({"collections": 1}, "collected"),
        ({"pressure_us": 11_000}, "pressure"),
        ({"throttled_bits": 0b0001}, "undervoltage"),
        ({"throttled_bits": 0b0010}, "capped"),
        ({"throttled_bits": 0b0100}, "firmware"),
        ({"throttled_bits": 0b1000}, "firmware"),
    ],
)
def test_what_the_system_counted_is_a_cause(seen: Mapping[str, float], tag: str) -> None:
    assert tags(seen, BURST_S) == (tag,)


@pytest.mark.parametrize(
    "seen",
    [
        {"queued_ns": 900_000},
        {"faults_minor": 400},
        {"pressure_us": 9_000},
        {"memory_pressure_us": 90_000},
        {"temperature_c": 99.0},
        {"clock_khz": 800_000},
        {"throttled_bits": 0xF0000},  # since the board was started
    ],
)
def test_what_is_little_or_nobody_compares_with_anything_is_none(seen: Mapping[str, float]) -> None:
    assert tags(seen, BURST_S) == ()


def test_the_switches_in_the_calls_count_where_they_are_known() -> None:
    assert tags({"switches": 3}, BURST_S, 0) == ()
    assert tags({"switches": 0}, BURST_S, 2) == ("preempted",)


def test_a_clock_is_low_beside_the_highest_of_the_run() -> None:
    assert tags({"clock_khz": 1_930_000}, BURST_S, top_khz=2_000_000) == ("clock",)
    assert tags({"clock_khz": 1_950_000}, BURST_S, top_khz=2_000_000) == ()
    assert tags({}, BURST_S, top_khz=2_000_000) == ()


def test_the_sentinel_says_slow_and_fast() -> None:
    assert tags({}, BURST_S, slow=True) == ("slow",)
    assert tags({}, BURST_S, slow=True, fast=True) == ("slow", "fast")


def test_who_waits_while_another_has_this_processor_is_no_pressure_besides() -> None:
    assert tags({"pressure_us": 100_000}, BURST_S, 12) == ("preempted",)
    assert tags({"pressure_us": 100_000, "queued_ns": 5e7}, BURST_S, 0) == ("queued",)


@given(
    st.dictionaries(st.sampled_from(NAMES), st.floats(0, 1e18)),
    st.floats(0, 1e6),
    st.none() | st.integers(0, 99),
    st.booleans(),
    st.none() | st.floats(0, 1e9),
)
def test_causes_come_in_their_order_once_each(
    seen: dict[str, float],
    duration_s: float,
    switches: int | None,
    slow: bool,
    top_khz: float | None,
) -> None:
    found = tags(seen, duration_s, switches, slow=slow, top_khz=top_khz)
    assert found == tuple(tag for tag in TAGS if tag in found)


def test_what_only_a_program_says_of_a_board_is_a_cause_too() -> None:
    def found(words: str) -> tuple[str, ...]:
        return tags({}, BURST_S, setting={"throttled": words})

    assert found("under-voltage now, throttled now") == ("undervoltage", "firmware")
    assert found("clock capped now") == ("capped",)
    assert found("near its heat limit now, throttled since it was started") == ("firmware",)
    assert found("under-voltage since it was started") == ()
    assert found("none") == ()


def test_a_device_that_is_set_otherwise_in_mid_run_is_a_cause() -> None:
    for name in ("governor", "limit", "nvpmodel", "jetson_clocks"):
        assert tags({}, BURST_S, setting={name: "something"}) == ("changed",)


# words


def test_a_cause_of_a_later_version_is_passed_over() -> None:
    assert summary({"cosmic-rays": 0.9}) == ("", "")


def test_the_words_know_no_other_causes() -> None:
    assert disturbance_text.WORDS.keys() == set(TAGS) >= disturbance_text.EXPLAINS.keys()


def test_a_summary_names_the_two_commonest_causes_with_what_to_do() -> None:
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
    assert "slower" in summary({"clock": 0.06, "slow": 0.3})[0]
    assert "slower" in summary({"clock": 0.04, "slow": 0.06})[0]
    too_hot = summary({"firmware": 0.5, "clock": 0.5, "slow": 0.5})
    assert too_hot == (
        "in 50% of the bursts the board's firmware held its clock down for heat",
        "let it cool down",
    )
    weak = summary({"undervoltage": 0.5, "firmware": 0.4, "capped": 0.5})
    assert weak[1] == "give it a stronger power supply"


def test_rare_causes_and_none_are_not_worth_a_word() -> None:
    assert summary({}) == summary({"slow": 0.04, "steal": 0.0}) == ("", "")


@given(st.dictionaries(st.sampled_from(TAGS), st.floats(0, 1)))
def test_a_summary_is_one_line_about_two_causes_at_most(shares: dict[str, float]) -> None:
    text, _ = summary(shares)
    assert "\n" not in text
    assert text.count("% ") <= 2
    worth = [tag for tag, share in shares.items() if share >= disturbance_text.WORTH_SAYING]
    assert bool(text) == any(tag not in disturbance_text.ASIDE for tag in worth)
