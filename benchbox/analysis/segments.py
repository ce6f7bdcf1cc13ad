"""Segments of a case's bursts: undisturbed calls between two readings, with the machine's state."""

import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress, pairwise
from statistics import median

from benchbox.analysis.levels import WINDOW, MemoryLevels, PerSentinel, Round, Usual
from benchbox.analysis.samples import NS, Burst


@dataclass(frozen=True, slots=True)
class Stretch:
    """Undisturbed calls between two readings of the compute sentinel, in ns: ln of all of them.

    The `latencies` are in seconds; `middle` is their median.
    """

    latencies: Sequence[float]
    middle: float
    readings: tuple[float, float]


def stretches(burst: Burst) -> list[Stretch]:
    """The stretches of a burst, whatever is usual."""
    if burst.kind == "beside" or burst.probe != "compute" or burst.waited():
        return []
    kept, found = burst.undisturbed(), []
    readings = [math.log(max(ns, 1)) for _, ns in burst.marks]
    for (first, last), ends in zip(
        pairwise(calls for calls, _ in burst.marks), pairwise(readings), strict=True
    ):
        timed_ns = compress(burst.latencies_ns[first:last], kept[first:last])
        if calls := array("d", (math.log(ns * NS) for ns in timed_ns if ns > 0)):
            found.append(Stretch(calls, median(calls), ends))
    return found


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch that counts, as its readings are near the usual one, and the machine's state."""

    round: Round
    timed: Stretch
    state: PerSentinel


def segments(
    bursts: Iterable[Burst],
    levels: MemoryLevels,
    usual: Usual,
    stretches_of: Callable[[Burst], Sequence[Stretch]] = stretches,
) -> list[Segment]:
    """The segments of a case's bursts that count."""
    centre = math.log(usual.compute_ns)
    low, high = centre - WINDOW, centre + WINDOW
    near = [
        ((burst.session, burst.round), each, sum(each.readings) / 2 - centre)
        for burst in bursts
        for each in stretches_of(burst)
        if low <= min(each.readings) and max(each.readings) <= high
    ]
    levels_of = levels.around(dict.fromkeys(key for key, *_ in near), usual)
    return [Segment(key, each, (x, *levels_of[key])) for key, each, x in near]
