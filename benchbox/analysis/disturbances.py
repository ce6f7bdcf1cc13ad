"""Disturbances of a burst as tags, from counters, sentinels and what a GPU's driver reports."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

NS = 1e-9
US = 1e-6

QUEUED = 0.01  # of the burst: what the precision asked for by default would show
STEAL = 0.01  # likewise; counted in ticks, so that one tick in 100 ms is already more
# Of the burst, while any task waited anywhere. Two programs in turns on one of two processors let
# it grow all the time; a tenth is enough work beside the burst to be felt in caches and memory.
PRESSURE = 0.1
CLOCK = 0.03  # more than a clock scatters, less than a step of one, which was seen to be 3.6%
FAULT_S = 2 * US  # of a minor page fault: 1.7 us on a virtual machine, less without one
FAULTED = 0.01  # of the burst; a graph whose buffers are bound faults less than once a burst

NOTHING: Mapping[str, str] = {}
THROTTLED = "throttled"  # of a setting: what a board's firmware says, in words

Tag = Literal[
    "throttled",
    "steal",
    "preempted",
    "queued",
    "hot",
    "undervoltage",
    "firmware",
    "capped",
    "changed",
    "clock",
    "faulted",
    "migrated",
    "collected",
    "gpu_hardware",
    "gpu_hot",
    "gpu_power",
    "gpu_shared",
    "gpu_clock",
    "pressure",
    "slow",
    "fast",
    "gpu_slow",
    "gpu_fast",
    "unheld",
]
TAGS: tuple[Tag, ...] = get_args(Tag)  # of equally frequent ones the first says more
# The bits of a Raspberry Pi's get_throttled that say what it does now, and the words for them in a
# setting, where only a program tells and so not for each burst.
NOW: tuple[tuple[Tag, int, tuple[str, ...]], ...] = (
    ("undervoltage", 0b0001, ("under-voltage now",)),
    ("capped", 0b0010, ("clock capped now",)),
    ("firmware", 0b1100, ("throttled now", "near its heat limit now")),
)
HELD_DOWN = 0b1111  # any of them


@dataclass(frozen=True, slots=True)
class ClockReason:
    """A reason why a GPU's clock is below its highest: NVML's bits for it, and what it is called.

    `advice` says in full what it is and what helps. A clock that someone set is no disturbance and
    has no tag.
    """

    bits: int
    tag: Tag | None
    name: str
    severity: Literal["good", "fair", "poor"]
    advice: str


HARDWARE = "its hardware slows it down: look at its power supply and its cooling"
CLOCK_REASONS = (
    ClockReason(
        0x4,
        "gpu_power",
        "its power limit",
        "fair",
        "its power limit holds it down: the more it works, the slower it is",
    ),
    ClockReason(0x8, "gpu_hardware", "hardware slowdown", "poor", HARDWARE),
    ClockReason(
        0x20 | 0x40, "gpu_hot", "heat", "poor", "it is too hot: let it cool, and see to its fans"
    ),
    ClockReason(0x80, "gpu_hardware", "the power brake of its hardware", "poor", HARDWARE),
    ClockReason(
        0x2, None, "its setting", "good", "someone set it: it is steady, though not what users get"
    ),
)


def clock_reasons(seen: Mapping[str, float]) -> list[ClockReason]:
    """The reasons in NVML's `gpu_throttle_bits`, in the order of CLOCK_REASONS."""
    bits = int(seen.get("gpu_throttle_bits", 0))
    return [reason for reason in CLOCK_REASONS if bits & reason.bits]


def tags(
    seen: Mapping[str, float],
    duration_s: float,
    switches: int | None = None,
    *,
    slow: bool = False,
    fast: bool = False,
    top_khz: float | None = None,
    setting: Mapping[str, str] = NOTHING,
    gpu_slow: bool = False,
    gpu_fast: bool = False,
    top_gpu_mhz: float | None = None,
    unheld: bool = False,
) -> tuple[Tag, ...]:
    """The tags of a burst's disturbances, in the order of TAGS.

    `seen` has the agent's counters between the ends of the burst, `switches` the
    involuntary context switches in its calls, `slow` and `fast` say whether a sentinel read more or
    less than in the usual state, `top_khz` is the highest clock of the run, `setting` what of the
    device was set otherwise than when the run began; None is not known. `gpu_slow` and `gpu_fast`
    say it of a GPU's sentinels, `top_gpu_mhz` is its highest clock of the run, and `unheld` says
    that spans have gaps in them.
    """
    bits = int(seen.get("throttled_bits", 0))
    firmware = setting.get(THROTTLED, "")

    def share(name: str, unit_s: float) -> float:
        return seen.get(name, 0.0) * unit_s / duration_s if duration_s > 0 else 0.0

    taken = seen.get("switches", 0) if switches is None else switches
    found: dict[Tag, bool] = {
        "throttled": _any(seen, "throttled_us", "throttled_periods"),
        "steal": share("steal_s", 1.0) > STEAL,
        "preempted": taken > 0,
        "queued": share("queued_ns", NS) > QUEUED,
        "hot": _any(seen, "thermal_throttles"),
        **{
            tag: bool(bits & mask) or any(word in firmware for word in words)
            for tag, mask, words in NOW
        },
        "changed": any(name != THROTTLED for name in setting),
        "clock": 0 < seen.get("clock_khz", 0.0) < (1 - CLOCK) * (top_khz or 0.0),
        "faulted": _any(seen, "faults_major") or share("faults_minor", FAULT_S) > FAULTED,
        "migrated": _any(seen, "migrations", "moved"),
        "collected": _any(seen, "collections"),
        "pressure": share("pressure_us", US) > PRESSURE,
        "slow": slow,
        "fast": fast,
        "gpu_slow": gpu_slow,
        "gpu_fast": gpu_fast,
        "unheld": unheld,
        **gpu_tags(seen, top_gpu_mhz),
    }
    # What waits while another has this processor is pressure too, and says nothing new.
    found["pressure"] = found["pressure"] and not (found["preempted"] or found["queued"])
    return tuple(tag for tag in TAGS if found[tag])


def gpu_tags(seen: Mapping[str, float], top_mhz: float | None = None) -> dict[Tag, bool]:
    """For each cause on a GPU whether a burst bears it; None is an unknown highest clock."""
    held = {reason.tag for reason in clock_reasons(seen)}
    slowest = (1 - CLOCK) * (top_mhz or 0.0)
    return {
        **{reason.tag: reason.tag in held for reason in CLOCK_REASONS if reason.tag},
        "gpu_shared": _any(seen, "gpu_other_processes"),
        "gpu_clock": 0 < seen.get("gpu_sm_clock_mhz", 0.0) < slowest,
    }


def _any(seen: Mapping[str, float], *names: str) -> bool:
    return any(seen.get(name, 0) > 0 for name in names)
