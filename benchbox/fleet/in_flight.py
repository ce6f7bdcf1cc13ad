"""Tasks in flight: the chunks that devices of a fleet have, until they are over or taken back."""

import operator
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from benchbox.fleet.chunks import Chunk
from benchbox.fleet.connection import Flight
from benchbox.fleet.targets import FleetTarget


@dataclass(slots=True)
class SentChunk:
    """A chunk that a device has, all that it times with it, and how long that may take."""

    target: FleetTarget
    chunk: Chunk
    whole: Chunk
    flight: Flight
    most_s: float
    begun_s: float | None = None

    @property
    def device(self) -> str:
        """The name of the device."""
        return self.flight.member.name

    def is_overdue(self, now_s: float) -> bool:
        """Whether its device is at it for so long that it never ends."""
        return self.begun_s is not None and now_s - self.begun_s > self.most_s


class SoFar(NamedTuple):
    """What a task that is not over has measured so far, as lines of a run."""

    key: str
    lines: str


class InFlight(dict[str, SentChunk]):
    """What is in flight of a run, by the keys of the tasks."""

    def of(self, target: FleetTarget) -> list[SentChunk]:
        """The tasks of a target, in the order in which they were sent."""
        return [sent for sent in self.values() if sent.target is target]

    def counts(self, target: FleetTarget) -> Counter[str]:
        """How many tasks of a target each device has."""
        return Counter(sent.device for sent in self.of(target))

    def at(self, target: FleetTarget, key: str) -> set[str]:
        """The devices that have a case of a target."""
        return {sent.device for sent in self.of(target) if key in sent.whole.graphs}

    def drop(self, is_wanted: Callable[[SentChunk], bool]) -> list[SentChunk]:
        """Take some tasks back."""
        found = {key: sent for key, sent in self.items() if is_wanted(sent)}
        for key, sent in found.items():
            del self[key]
            sent.flight.drop()
        return [*found.values()]

    def spare(self, target: FleetTarget, device: str) -> bool:
        """Where no chunk is left for a device, take back one that waits for another, if any.

        What a device has measured some of before waits for that one.
        """
        counts = self.counts(target)
        waiting = [s for s in self.of(target) if counts[s.device] > 1 and s.begun_s is None]
        for sent in reversed(waiting if target.ahead.is_done else []):
            is_its_own = target.results.has_begun(sent.device, sent.chunk)
            if sent.chunk.before != device and not is_its_own:
                self.drop(partial(operator.is_, sent))
                target.take_back(sent.chunk)
                return True
        return False
