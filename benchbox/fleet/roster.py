"""Roster of a fleet's devices as a run sees them: who may get a task, who rests, who is put aside.

A device that its worker says rests is left alone until that tells otherwise, or all do; one that
fails gets nothing more; one that cannot be reached gets nothing until the next look.
"""

import contextlib
import time
from collections.abc import Collection, Mapping, Sequence

from benchbox.errors import DeviceError
from benchbox.fleet import members
from benchbox.fleet.hearer import Told
from benchbox.fleet.members import Member

TOLD_S = 15.0  # after which a worker has told whether a device rests still
AWAY_S = 120.0  # how long a run waits for a device, or the scheduler, where there is none


class Roster:
    """The devices of a fleet at the last look, and what is known of them besides."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._members: dict[str, Member] = {}
        self._aside: set[str] = set()
        self._left: set[str] = set()
        self._resting: dict[str, float] = {}  # since when, as of those below
        self._missed: set[str] = set()  # since the last look
        self._unreached: dict[str, float] = {}

    def look(self, found: Sequence[Member], identities: Collection[str]) -> None:
        """Take in who is there now, and of a run's `identities` who rests or has left.

        While the scheduler is away nobody knows, and there are no identities.
        """
        before, self._members = self._members, {each.name: each for each in found}
        self._tell_moves([e for e in before.values() if e.identity in identities])
        self._missed.clear()
        self._unreached = {n: s for n, s in self._unreached.items() if n in self._members}
        now = time.monotonic()
        resting = {e.name: e.rests for e in found if e.rests and e.identity in identities}
        self.rest(resting)
        for name in self._members.keys() - resting.keys():
            if now - self._resting.get(name, now) > TOLD_S:
                del self._resting[name]
                self._told.usual(name)

    def _tell_moves(self, before: Sequence[Member]) -> None:
        for each in before:
            if not (self.has(each) or self.is_aside(each)):
                self._left.add(each.name)
                self._told.left(each.name)
        for name in sorted(self._left & self._members.keys()):
            self._left.remove(name)
            self._told.back(name)

    def of(self, target: str, identity: str) -> list[Member]:
        """The devices of a target that are there."""
        named = [each for each in self._members.values() if each.identity == identity]
        with contextlib.suppress(DeviceError):
            return members.matching(target, named)
        return []

    def usable(self, target: str, identity: str) -> list[Member]:
        """Those that may get a task: those that rest only where all do."""
        away = self._aside | self._missed
        found = [each for each in self.of(target, identity) if each.name not in away]
        return [each for each in found if not self.rests(each)] or found

    def rests(self, member: Member) -> bool:
        """Whether a device rests."""
        return member.name in self._resting

    def is_aside(self, member: Member) -> bool:
        """Whether a device is put aside for good."""
        return member.name in self._aside

    def has(self, member: Member) -> bool:
        """Whether the worker of a device is there still."""
        now = self._members.get(member.name)
        return now is not None and now.worker == member.worker

    def rest(self, reasons: Mapping[str, str]) -> None:
        """Leave devices alone that rest, for these reasons; others may not know that yet."""
        if new := {name: each for name, each in reasons.items() if name not in self._resting}:
            self._told.resting(new)
        self._resting |= dict.fromkeys(reasons, time.monotonic())

    def reached(self, name: str) -> None:
        """Note that a device has answered."""
        self._unreached.pop(name, None)

    def miss(self, name: str, error: str) -> None:
        """Leave a device alone until the next look; if none misses it, it is put aside in the end.

        Then its worker reaches the scheduler, which does not reach that.
        """
        self._missed.add(name)
        now = time.monotonic()
        if now - self._unreached.setdefault(name, now) >= AWAY_S:
            self.put_aside(name, f"its worker cannot be reached: {error}")

    def put_aside(self, name: str, reason: str) -> None:
        """Give a device nothing more."""
        if name not in self._aside:
            self._aside.add(name)
            self._told.aside(name, reason.split("\n")[0])
