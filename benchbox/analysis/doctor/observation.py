"""Observation of a device by doctor: replies of the agent put together, and measures of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Any, Literal

from benchbox.analysis.states import MIN_READINGS, Histogram

Severity = Literal["good", "fair", "poor"]
Limits = tuple[float, float]  # up to the first it is good, up to the second fair
JOINED = {"clock_khz": min, "temperature_c": max}  # the others are counts, which add up


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding, how bad it is, and the command that mends it, where there is one."""

    severity: Severity
    text: str
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Speed:
    """Shares of the time at the speed that figures are taken at, and beside it.

    `slower` and `faster` are how much longer and shorter the same work took there, in the middle.
    """

    steady: float
    slower_share: float
    faster_share: float
    slower: float
    faster: float


@dataclass(frozen=True)
class Observation:
    """Several observations put together.

    `readings_ns` has how often the sentinel read what; `others` and `programs` what other programs
    took, as shares of a processor; `usable` are the processors that could be chosen, if known.
    `gpu` has the facts of a GPU with its last counters, `gpu_readings_ns` those of its sentinel.
    """

    cpus: tuple[int, ...]
    seconds: float = 0.0
    readings_ns: Mapping[float, int] = field(default_factory=dict)
    gaps: int = 0
    lost_s: float = 0.0
    longest_gap_s: float = 0.0
    seen: Mapping[str, float] = field(default_factory=dict)
    others: Mapping[int, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    programs: Sequence[tuple[str, float]] = ()
    usable: Sequence[int] = ()
    gpu: Mapping[str, Any] = field(default_factory=dict)
    gpu_readings_ns: Sequence[float] = ()

    def share(self, name: str, unit_s: float = 1.0) -> float:
        """A counted time as a share of all time; 0 if it is not counted."""
        return self.seen.get(name, 0.0) * unit_s / self.seconds if self.seconds > 0 else 0.0

    @property
    def lost(self) -> float:
        """The share of the time in which the processor did something else."""
        return self.lost_s / self.seconds if self.seconds > 0 else 0.0

    @cached_property
    def speed(self) -> Speed | None:
        """The steadiness of the processor, None with too few readings."""
        histogram = Histogram()
        for reading, count in self.readings_ns.items():
            histogram.add(reading, count)
        base = histogram.base()
        if base is None or histogram.total < MIN_READINGS:
            return None
        slower = {ns: count for ns, count in self.readings_ns.items() if ns > base.high_ns}
        faster = {ns: count for ns, count in self.readings_ns.items() if ns < base.low_ns}
        inside = {ns: count for ns, count in self.readings_ns.items() if base.holds(ns)}
        total, usual = _time(self.readings_ns), _middle(inside, base.centre_ns)
        return Speed(
            _time(inside) / total,
            _time(slower) / total,
            _time(faster) / total,
            _middle(slower, usual) / usual - 1,
            1 - _middle(faster, usual) / usual,
        )

    @property
    def named(self) -> str:
        """The processors: `processor 1`, `processors 0, 1 and 2`."""
        return ("processor " if len(self.cpus) == 1 else "processors ") + listed(self.cpus)

    @property
    def place(self) -> str:
        """The processors observed, and the GPU where there is one."""
        return f"{self.named} and {self.gpu['name']}" if "name" in self.gpu else self.named


def gather(
    looks: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    programs: Sequence[tuple[str, float]] = (),
    usable: Sequence[int] = (),
    gpu: Mapping[str, Any] | None = None,
) -> Observation:
    """Put the replies of the agent together; `gpu` has the facts of a GPU."""
    readings: dict[float, int] = {}
    seen: dict[str, float] = {}
    others: dict[int, list[float]] = {}
    for look in looks:
        for reading, count in look["readings_ns"]:
            readings[reading] = readings.get(reading, 0) + count
        for name, value in look["seen"].items():
            join = JOINED.get(name, float.__add__)
            seen[name] = join(seen[name], float(value)) if name in seen else float(value)
        for cpu, share in look["others"]:
            others.setdefault(cpu, []).append(share)
    on_gpu = [look["gpu"] for look in looks if "gpu" in look]
    return Observation(
        cpus=tuple(dict.fromkeys(look["cpu"] for look in looks)),
        seconds=sum(look["seconds"] for look in looks),
        readings_ns=readings,
        gaps=sum(look["gaps"] for look in looks),
        lost_s=sum(look["lost_s"] for look in looks),
        longest_gap_s=max((look["longest_gap_s"] for look in looks), default=0.0),
        seen=seen,
        others={cpu: fmean(shares) for cpu, shares in others.items()},
        facts=facts,
        programs=programs,
        usable=usable,
        gpu={**(gpu or {}), **(on_gpu[-1]["seen"] if on_gpu else {})},
        gpu_readings_ns=[ns for each in on_gpu for ns in each["readings_ns"]],
    )


def severity(value: float, limits: Limits) -> Severity:
    """Rate a value of which less is better."""
    if value <= limits[0]:
        return "good"
    return "fair" if value <= limits[1] else "poor"


def percent(share: float) -> str:
    """Format a share so that something never rounds to nothing."""
    return "less than 1%" if 0 < share < 0.01 else f"{share:.0%}"


def figure(value: float) -> str:
    """Format a number with one decimal where it is small: `0.3`, `4.5`, `122`."""
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def listed(items: Sequence[object]) -> str:
    """Join as `0`, `0 and 1`, `0, 1 and 2`."""
    names = [str(item) for item in items]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _time(readings_ns: Mapping[float, int]) -> float:
    # Equal work: what a reading took stands for the time around it.
    return sum(reading * count for reading, count in readings_ns.items())


def _middle(readings_ns: Mapping[float, int], default: float) -> float:
    left = sum(readings_ns.values()) / 2
    for reading, count in sorted(readings_ns.items()):
        left -= count
        if left <= 0:
            return reading
    return default
