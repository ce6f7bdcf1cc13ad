"""Condition of a fleet's device: as fast as usual by its sentinel, and not held down by heat.

A device that drifts rests, as long as others of its kind do not: until a look at it shows what was
usual before, or for long the same as the look before.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchbox.analysis.states import Histogram
from benchbox.errors import BenchboxError
from benchbox.records import Record
from benchbox.transports import Agent

DRIFT = 0.05  # ln of the sentinel's reading over the usual one
FIRST = 5  # tasks by which the usual reading is known
HOT = frozenset(("hot", "firmware", "capped", "gpu_hot"))  # tags of bursts that heat slowed down
HOT_SHARE = 0.1  # of a task's bursts
HELD = ("throttled now", "clock capped now")  # of a board's firmware
COOLER_C = 10.0  # than it was when heat slowed it down
LOOK_S = 0.5
NEW_USUAL_S = 600.0  # a reading that stays for so long is the usual one from then on


@dataclass(frozen=True, slots=True)
class Glance:
    """A look at a device that nothing is timed on: its sentinel, its heat, whether it is held."""

    reading_ns: float | None
    temperature_c: float | None = None
    is_held: bool = False


def glance(agent: Agent) -> Glance:
    """Look at a device for half a second; what it cannot tell is not known."""
    try:
        seen, _ = agent.look(agent.hello["cpus"][0], LOOK_S)
        health = agent.health()
    except BenchboxError:
        return Glance(None)
    histogram = Histogram()
    if gpu := seen.get("gpu"):
        counts: Sequence[tuple[float, int]] = [(ns, 1) for ns in gpu["readings_ns"]]
    else:
        counts = seen["readings_ns"]
    for ns, count in counts:
        histogram.add(ns, count)
    state = histogram.base()
    held = any(word in health.setting.get("throttled", "") for word in HELD)
    return Glance(state.centre_ns if state else None, health.temperature_c, held)


@dataclass(slots=True)
class Condition:
    """What is usual of a device; `word` says why it rests, empty where it does not."""

    idle: Glance = Glance(None)
    clock: Callable[[], float] = time.monotonic
    word: str = ""
    reading_ns: float | None = None
    temperature_c: float | None = None
    _usual: dict[int, list[float]] = field(default_factory=dict)  # by threads
    _rested_ns: float | None = None  # what the last task read, where the device rests for it
    _last: Glance = Glance(None)
    _steady_since: float = 0.0

    def after(self, threads: int, records: Sequence[Record]) -> str:
        """Take in the records of a task; why the device rests from now on, empty where not."""
        centres = [r.gate.compute.centre_ns for r in records if r.gate.compute is not None]
        bursts = [burst for record in records for burst in record.bursts]
        seen = [_temperature(burst.seen) for burst in bursts]
        known = [each for each in seen if each is not None]
        self.temperature_c = max(known, default=self.temperature_c)
        if bursts and sum(not HOT.isdisjoint(b.tags) for b in bursts) > HOT_SHARE * len(bursts):
            self._rest("heat slows it down" + _at(self.temperature_c))
        if centres:
            self.reading_ns = median(centres)
            usual = self._usual.setdefault(threads, [])
            ratio = self.reading_ns / median(usual) if usual else 1.0
            before, self._rested_ns = self._rested_ns, None
            if _is_near(1.0, ratio):
                usual += [self.reading_ns] if len(usual) < FIRST else []
            elif before is not None and _is_near(before, self.reading_ns):
                usual[:] = [self.reading_ns]  # looks found it usual: so it is at work
            else:
                self._rested_ns = self.reading_ns
                self._rest(f"its sentinel takes {ratio:.2f}x its usual time")
        return self.word

    def _rest(self, word: str) -> None:
        if not self.word:
            self.word = word
            self._steady_since = self.clock()
            self._last = Glance(None, self.temperature_c)

    def look(self, now: Glance) -> bool:
        """Take in a look at a device that rests; whether it is usual again."""
        before, self._last = self._last, now
        if not _is_near(before.reading_ns, now.reading_ns):
            self._steady_since = self.clock()
        is_cool = not now.is_held and self._is_cooler(now.temperature_c)
        if is_cool and _is_near(self.idle.reading_ns, now.reading_ns):
            self.word = ""
        elif self.clock() - self._steady_since >= NEW_USUAL_S:
            self.word, self.idle = "", now
            self._usual.clear()
        return not self.word

    def _is_cooler(self, now_c: float | None) -> bool:
        if "heat" not in self.word or now_c is None or self.temperature_c is None:
            return True
        return now_c <= self.temperature_c - COOLER_C


def _is_near(one_ns: float | None, other_ns: float | None) -> bool:
    """Whether two readings are alike, as far as they are known."""
    if one_ns is None or other_ns is None:
        return True
    return abs(math.log(other_ns / one_ns)) <= DRIFT


def _temperature(seen: Mapping[str, Any]) -> float | None:
    found = seen.get("gpu_temperature_c", seen.get("temperature_c"))
    return None if found is None else float(found)


def _at(temperature_c: float | None) -> str:
    return "" if temperature_c is None else f" at {temperature_c:.0f} °C"
