"""What disturbed a burst, as tags; and in words what was seen and what to do about it."""

import math
from collections.abc import Mapping
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

WORTH_SAYING = 0.05  # share of the bursts below which a cause explains nothing
EXPLAINED = 0.5  # of the bursts with one cause have another that explains it

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
# Of a GPU the reasons why its clock is held down, as benchbox.agent.gpu.nvml names the bits.
GPU_REASONS: tuple[tuple[Tag, int], ...] = (
    ("gpu_hardware", 0x8 | 0x80),
    ("gpu_hot", 0x20 | 0x40),
    ("gpu_power", 0x4),
)
# What a GPU may be under all the time, so that no call shows it by being slower than others.
LASTING: tuple[Tag, ...] = ("gpu_hardware", "gpu_hot", "gpu_power", "gpu_shared")
ONE_OTHER = "1 other process computed on the GPU; end it (nvidia-smi lists it)"
# Spans with gaps are no disturbance of a latency: a footnote tells of them.
ASIDE: tuple[Tag, ...] = ("unheld",)
EXPLAINS: Mapping[str, tuple[Tag, ...]] = {
    "preempted": ("throttled",),
    "queued": ("throttled", "preempted"),
    "migrated": ("preempted", "queued"),
    "capped": ("undervoltage",),
    "firmware": ("undervoltage",),
    "clock": ("hot", "undervoltage", "firmware", "capped", "changed"),
    "slow": ("hot", "undervoltage", "firmware", "capped", "changed", "clock"),
    "gpu_clock": ("gpu_hardware", "gpu_hot", "gpu_power"),
    "gpu_slow": ("gpu_hardware", "gpu_hot", "gpu_power", "gpu_shared", "gpu_clock"),
}
# What was seen, and what helps; nothing does where it is empty.
WORDS: Mapping[str, tuple[str, str]] = {
    "throttled": ("the processor time that its container may use was used up", "raise that limit"),
    "steal": ("the hypervisor gave its processor away", "use a machine with processors of its own"),
    "preempted": ("other programs took its processor", "stop those or choose another with --cpus"),
    "queued": (
        "its threads waited for a processor",
        "stop other programs or use fewer --threads",
    ),
    "hot": ("the processor was too hot for its clock", "let it cool down"),
    "undervoltage": ("the board had too little voltage", "give it a stronger power supply"),
    "firmware": ("the board's firmware held its clock down for heat", "let it cool down"),
    "capped": ("the board's firmware capped its clock", "let it cool down"),
    "changed": (
        "the device was set otherwise than when the run began",
        "leave its governor, clock limit and power mode alone",
    ),
    "clock": ("the clock was below its highest", "ask `benchbox doctor` what holds it down"),
    "faulted": ("memory was not there and had to be fetched", "free some memory"),
    "migrated": ("it was moved to another processor", "choose processors with --cpus"),
    "collected": ("Python's garbage collector ran", ""),
    "pressure": ("other programs crowded the caches and the memory", "stop those"),
    "slow": (
        "the processor was slower than it can be (its clock, or a neighbour on its core)",
        "measure at a quieter time",
    ),
    "fast": ("the processor was faster than it usually is", ""),
    "gpu_hardware": (
        "the GPU's hardware slowed its clock down",
        "look at its power supply and its cooling",
    ),
    "gpu_hot": ("the GPU was too hot for its clock", "let it cool down"),
    "gpu_power": ("the GPU's power limit held its clock down", "give it a higher power limit"),
    "gpu_shared": ("other processes computed on the GPU", "end those (nvidia-smi lists them)"),
    "gpu_clock": (
        "the GPU's clock was below its highest",
        "lock it with nvidia-smi --lock-gpu-clocks",
    ),
    "gpu_slow": ("the GPU was slower than it can be", "measure when it is less busy"),
    "gpu_fast": ("the GPU was faster than it usually is", ""),
    "unheld": ("launching took longer than the GPU's queue could be held", ""),
}


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
    """Return what disturbed a burst, in the order of TAGS.

    `seen` is what the agent's witness saw between the ends of the burst, `switches` the
    involuntary context switches in its calls, `slow` and `fast` say whether a sentinel read more or
    less than in the usual state, `top_khz` is the highest clock of the run, `setting` what of the
    device was set otherwise than when the run began; None is not known. `gpu_slow` and `gpu_fast`
    say it of a GPU's sentinels, `top_gpu_mhz` is its highest clock of the run, and `unheld` says
    that spans have gaps in them.
    """
    bits = int(seen.get("throttled_bits", 0))
    said = setting.get(THROTTLED, "")

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
            tag: bool(bits & mask) or any(word in said for word in words)
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
        **_of_gpu(seen, top_gpu_mhz),
    }
    # What waits while another has this processor is pressure too, and says nothing new.
    found["pressure"] = found["pressure"] and not (found["preempted"] or found["queued"])
    return tuple(tag for tag in TAGS if found[tag])


def _of_gpu(seen: Mapping[str, float], top_mhz: float | None) -> dict[Tag, bool]:
    bits = int(seen.get("gpu_throttle_bits", 0))
    slowest = (1 - CLOCK) * (top_mhz or 0.0)
    return {
        **{tag: bool(bits & mask) for tag, mask in GPU_REASONS},
        "gpu_shared": _any(seen, "gpu_other_processes"),
        "gpu_clock": 0 < seen.get("gpu_sm_clock_mhz", 0.0) < slowest,
    }


def of_gpu(seen: Mapping[str, float]) -> list[str]:
    """Return in words what NVML tells of LASTING causes on a GPU, each with what helps."""
    found = _of_gpu(seen, None)
    said = {tag: "; ".join(WORDS[tag]) for tag in LASTING if found[tag]}
    if "gpu_shared" in said:
        count = int(seen["gpu_other_processes"])
        said["gpu_shared"] = ONE_OTHER if count == 1 else f"{count} {said['gpu_shared']}"
    return list(said.values())


def _any(seen: Mapping[str, float], *names: str) -> bool:
    return any(seen.get(name, 0) > 0 for name in names)


def summary(shares: Mapping[str, float], of: str = "bursts") -> tuple[str, str]:
    """Return the one or two causes that matter most, and what to do; empty where none does.

    `shares` has for each tag the share of the bursts that bear it.
    """
    known = [tag for tag in TAGS if tag not in ASIDE]
    worth = [tag for tag in known if shares.get(tag, 0.0) >= WORTH_SAYING]
    left = [tag for tag in worth if not _is_explained(tag, shares)]
    first = sorted(left, key=lambda tag: -shares[tag])[:2]
    said = [f"{math.floor(shares[tag] * 100 + 1e-9)}%" for tag in first]
    parts = [
        f"in {share}{f' of the {of}' if not index else ''} {WORDS[tag][0]}"
        for index, (share, tag) in enumerate(zip(said, first, strict=True))
    ]
    # "stop those" is said once, by the longer advice that begins with it.
    helps = [WORDS[tag][1] for tag in first if WORDS[tag][1]]
    said_once = [do for do in helps if not any(o != do and o.startswith(do) for o in helps)]
    return ", ".join(parts), ", ".join(said_once)


def _is_explained(tag: Tag, shares: Mapping[str, float]) -> bool:
    """Return whether another cause comes with much of it, which is then the one to name."""
    enough = max(WORTH_SAYING, EXPLAINED * shares[tag])
    return any(shares.get(by, 0.0) >= enough for by in EXPLAINS.get(tag, ()))
