"""Sentences on disturbances: what was seen, and what helps."""

import math
from collections.abc import Mapping

from benchbox.analysis.disturbances import TAGS, Tag, gpu_tags

WORTH_SAYING = 0.05  # share of the bursts below which a cause explains nothing
EXPLAINED = 0.5  # of the bursts with one cause have another that explains it

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
    "queued": ("its threads waited for a processor", "stop other programs or use fewer --threads"),
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


def of_gpu(seen: Mapping[str, float]) -> list[str]:
    """LASTING causes on a GPU by NVML in words, each with advice."""
    found = gpu_tags(seen)
    texts = {tag: "; ".join(WORDS[tag]) for tag in LASTING if found[tag]}
    if "gpu_shared" in texts:
        count = int(seen["gpu_other_processes"])
        texts["gpu_shared"] = ONE_OTHER if count == 1 else f"{count} {texts['gpu_shared']}"
    return list(texts.values())


def summary(shares: Mapping[str, float], of: str = "bursts") -> tuple[str, str]:
    """The one or two causes that matter most, and advice; empty where none does.

    `shares` has for each tag the share of the bursts that bear it.
    """
    known = [tag for tag in TAGS if tag not in ASIDE]
    worth = [tag for tag in known if shares.get(tag, 0.0) >= WORTH_SAYING]
    left = [tag for tag in worth if not _is_explained(tag, shares)]
    first = sorted(left, key=lambda tag: -shares[tag])[:2]
    percents = [f"{math.floor(shares[tag] * 100 + 1e-9)}%" for tag in first]
    parts = [
        f"in {share}{f' of the {of}' if not index else ''} {WORDS[tag][0]}"
        for index, (share, tag) in enumerate(zip(percents, first, strict=True))
    ]
    # "stop those" is said once, by the longer advice that begins with it.
    helps = [WORDS[tag][1] for tag in first if WORDS[tag][1]]
    said_once = [do for do in helps if not any(o != do and o.startswith(do) for o in helps)]
    return ", ".join(parts), ", ".join(said_once)


def _is_explained(tag: Tag, shares: Mapping[str, float]) -> bool:
    """Whether another cause comes with much of it, which is then the one to name."""
    enough = max(WORTH_SAYING, EXPLAINED * shares[tag])
    return any(shares.get(by, 0.0) >= enough for by in EXPLAINS.get(tag, ()))
