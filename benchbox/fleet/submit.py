"""Submission to a fleet: hands its devices comparison groups, and keeps the records they return."""

import contextlib
import operator
import queue
import secrets
import time
from collections.abc import Iterator, Sequence
from functools import partial

from benchbox import records
from benchbox.errors import BenchboxError, DeviceError, StorageError, UsageError
from benchbox.fleet import exports, targets, task
from benchbox.fleet.authority import FleetAddress
from benchbox.fleet.chunks import Chunk
from benchbox.fleet.connection import Connection, Flight
from benchbox.fleet.hearer import Hearer
from benchbox.fleet.in_flight import InFlight, SentChunk, SoFar
from benchbox.fleet.members import Member
from benchbox.fleet.roster import AWAY_S, Roster
from benchbox.fleet.targets import FleetTarget
from benchbox.runner.request import Request
from benchbox.runner.several_devices import Ends
from benchbox.specs import Case

LOOK_S = 5.0  # between looks at who is in the fleet, as often as its members tell that they live
IN_FLIGHT = 2  # tasks of a device: the one it is at, and the one after it
NOTHING = ""  # a key of no task: chunks are ready


class Submission:
    """A run on a fleet, from the first chunk to the last record."""

    def __init__(
        self,
        connection: Connection,
        requests: Sequence[Request],
        cases: Sequence[Case],
        hearer: Hearer,
        priority: int = 0,
        stream: Iterator[Case] | None = None,
    ) -> None:
        """Raises DeviceError where the fleet has no such devices.

        What the `stream` yields comes after the cases; how many that will be is not known.
        """
        self._hearer, self._priority = hearer, priority
        self._roster = Roster(hearer)
        self._sent = InFlight()
        self._over: queue.SimpleQueue[str | SoFar] = queue.SimpleQueue()
        self._connection = connection
        connection.heard = self._hear
        self._is_away = self._is_stopping = False
        self._targets: list[FleetTarget] = []
        there, ready = self._look(), partial(self._over.put, NOTHING)
        if self._is_away:
            raise DeviceError("the fleet's scheduler does not answer any more")
        make = partial(exports.prepare, connection) if exports.is_needed() else None
        self._targets = [
            targets.of_request(each, cases, stream, there, hearer.exporting, ready, make)
            for each in requests
        ]
        self._roster.look(there, {each.identity for each in self._targets})

    def run(self) -> Ends:
        """Have all cases timed; after Ctrl-C, those that have begun."""
        ends = Ends()
        try:
            self._all()
        except KeyboardInterrupt:
            ends.interrupted = True
            self._wind_up()
        finally:
            self._sent.drop(lambda _: True)
        for index, target in enumerate(self._targets):
            for outcome in target.results.outcomes(interrupted=ends.interrupted):
                ends.outcomes[len(ends.outcomes)] = outcome
            if target.failure is not None:
                ends.failures[index] = target.failure
                if ends.outcomes:
                    self._hearer.failed(target.failure)
        if not ends.outcomes:
            ends.raise_only()
        return ends

    def _hear(self, key: str, lines: str) -> None:
        """Note that a task has begun, or has lines of its run; it is called in another thread."""
        if (sent := self._sent.get(key)) is not None:
            sent.begun_s = time.monotonic() if sent.begun_s is None else sent.begun_s
            if lines:
                self._over.put(SoFar(key, lines))

    def _all(self) -> None:
        while True:
            for target in self._targets:
                while self._hand_out(target):
                    pass
                self._check(target)
                self._give_up(target)
            if not self._sent and all(each.is_done for each in self._targets):
                return
            self._take_one()

    def _check(self, target: FleetTarget) -> None:
        """Fail a target in the end some of whose cases cannot be made, or are given up."""
        error = target.ahead.error
        if error is not None and not isinstance(error, BenchboxError):
            raise error
        if target.is_done and not self._sent.of(target):
            target.failure = target.failure or error or target.given_up()

    def _wind_up(self) -> None:
        """Take back what has not begun, and have the rest end; again Ctrl-C leaves at once."""
        self._is_stopping = True
        with contextlib.suppress(KeyboardInterrupt):
            self._sent.drop(lambda sent: sent.begun_s is None)
            if self._sent:
                self._hearer.stopping(len(self._sent))
            hosts = {sent.flight.member.worker for sent in self._sent.values()}
            self._connection.end([*self._sent], hosts)
            while self._sent:
                self._take_one()

    def _take_one(self) -> None:
        """Wait for a task to be over, or for the next look at the fleet."""
        with contextlib.suppress(queue.Empty):
            over = self._over.get(timeout=LOOK_S)
            if isinstance(over, SoFar):
                self._take_part(over)
            elif (sent := self._sent.pop(over, None)) is not None:
                self._take(sent)
        if time.monotonic() - self._looked >= LOOK_S:
            self._look()

    def _look(self) -> Sequence[Member]:
        """See who is in the fleet; what a device had that has left goes to others."""
        self._looked, found = time.monotonic(), self._connection.members()
        if self._is_away != (found is None):
            self._is_away = found is None
            self._hearer.waiting("the fleet's scheduler is away" if self._is_away else "")
        for name, why in self._connection.wrong.items():
            self._roster.put_aside(name, why)
        known = {e.identity for e in self._targets if not self._is_away}
        self._roster.look(found or (), known)
        for sent in self._sent.drop(self._has_left):
            sent.target.take_back(sent.chunk)
        hung = {s.device for s in self._sent.values() if s.is_overdue(self._looked)}
        for sent in self._sent.drop(lambda each: each.device in hung):
            sent.target.take_back(sent.chunk, is_loss=sent.is_overdue(self._looked))
            reason = f"a task there takes over {sent.most_s / 60:.0f} minutes"
            self._roster.put_aside(sent.device, reason)
        return found or ()

    def _has_left(self, sent: SentChunk) -> bool:
        """Whether the worker that has a task is there no more, or the scheduler that it was of."""
        if self._is_away:
            return self._is_stopping  # else it may be back before it is missed
        is_same = sent.flight.made == self._connection.made
        return not (is_same and self._roster.has(sent.flight.member))

    def _give_up(self, target: FleetTarget) -> None:
        """Fail a target that no device is left for."""
        there = self._roster.of(target.text, target.identity)
        is_spent = all(map(self._roster.is_aside, there))
        is_at_it = self._sent.of(target) and not self._is_away
        if target.is_done or is_at_it or not is_spent:
            target.alone_since = None
            return
        now = time.monotonic()
        target.alone_since = now if target.alone_since is None else target.alone_since
        if there or now - target.alone_since >= AWAY_S:
            what = "the scheduler has gone" if self._is_away else "no device is left to time on"
            name = target.text or "the fleet"
            self._fail(target, DeviceError(f"{name}: {what}; `--resume` goes on from here"))

    def _fail(self, target: FleetTarget, error: BenchboxError) -> None:
        target.failure = error
        self._sent.drop(lambda sent: sent.target is target)

    def _hand_out(self, target: FleetTarget) -> bool:
        """Give a device of a target a task, one of those with the fewest; whether there was one."""
        usable = self._roster.usable(target.text, target.identity)
        counts = self._sent.counts(target)
        at = self._sent.at(target, target.control.key)
        free = [each for each in usable if counts[each.name] < IN_FLIGHT and not target.failure]
        for member in sorted(free, key=lambda each: counts[each.name]):
            find = partial(target.next, member.name, len(usable), member.name in at)
            chunk = find()
            if not (chunk or counts[member.name]) and self._sent.spare(target, member.name):
                chunk = find()
            if chunk:
                begun = (each for each in free if target.results.has_begun(each.name, chunk))
                self._send(target, chunk, next(begun, member), at)
                return True
        return False

    def _send(self, target: FleetTarget, chunk: Chunk, member: Member, at: set[str]) -> None:
        """Send a chunk to a device, with the control where it has not had that, nor is `at` it."""
        key = f"benchbox-{secrets.token_hex(16)}"
        chunk.is_kept |= self._roster.rests(member)
        whole = chunk if member.name in at else target.control.added(chunk, member.name)
        asked = target.task(whole, member.name, self._connection.topic, key)
        files = task.files(whole.cases, whole.graphs)
        flight = Flight(self._connection, asked, member, files, self._over.put, self._priority)
        self._sent[key] = SentChunk(target, chunk, whole, flight, asked.most_s)

    def _take(self, sent: SentChunk) -> None:
        """Keep what a task returned; where its device failed, put that aside."""
        flight, name = sent.flight, sent.device
        self._note(flight)
        if flight.reply is not None and flight.reply.refusal:
            self._fail(sent.target, UsageError(f"{name}: {flight.reply.refusal}"))
        elif self._is_stopping and not flight.lines:
            sent.target.take_back(sent.chunk)
        elif flight.is_cut_short and not self._is_stopping:  # its worker leaves
            sent.target.take_back(sent.chunk)
            self._roster.miss(name, "its worker has left")
        elif flight.rests and self._is_for_another(sent):
            sent.chunk.is_kept = True
            sent.target.take_back(sent.chunk)
        elif flight.has_left:
            sent.target.take_back(sent.chunk, is_loss=flight.is_killed)
            self._roster.miss(name, str(flight.error))
        elif reason := flight.failure or self._keep(sent, flight.lines):
            sent.target.take_back(sent.chunk, is_loss=True)
            self._roster.put_aside(name, reason)

    def _note(self, flight: Flight) -> None:
        """Note what is known of a device by a task that is over."""
        if not flight.has_left:
            self._roster.reached(flight.member.name)
        if flight.rests:
            self._roster.rest({flight.member.name: flight.rests})

    def _take_part(self, part: SoFar) -> None:
        """Keep what a task has measured so far; where its device tells nonsense, put that aside."""
        sent = self._sent.get(part.key)
        if sent is not None and (reason := self._keep(sent, part.lines, is_part=True)):
            self._sent.drop(partial(operator.is_, sent))
            sent.target.take_back(sent.chunk, is_loss=True)
            self._roster.put_aside(sent.device, reason)

    def _is_for_another(self, sent: SentChunk) -> bool:
        """Whether what a device that rests had goes to one that does not, as it does once."""
        usable = self._roster.usable(sent.target.text, sent.target.identity)
        has_other = not all(map(self._roster.rests, usable))
        is_kept = sent.chunk.is_kept or self._is_stopping
        return not is_kept and (has_other or not sent.flight.lines)

    def _keep(self, sent: SentChunk, lines: str, *, is_part: bool = False) -> str:
        """Keep the records of a task; why its device is not to be believed, empty where it is."""
        results, chunk, name = sent.target.results, sent.chunk, sent.device
        try:
            run = results.read(name, lines, sent.whole, is_part=is_part)
        except Exception as error:  # whatever a device tells takes no other's cases with it
            return str(error) or type(error).__name__
        try:
            new = results.keep(name, run)
        except StorageError as error:  # whatever else is measured could not be kept either
            self._fail(sent.target, error)
            return ""
        if is_part:
            return ""
        if sent.target.control.key in sent.whole.graphs:
            sent.target.control.tried.add(name)
        for record in new:
            self._hearer.finished(name, record)
        if rest := chunk.rest([record.key for record in run.records], name):
            sent.target.take_back(rest)
        return ""


def run(
    address: FleetAddress,
    requests: Sequence[Request],
    cases: Sequence[Case],
    hearer: Hearer,
    priority: int = 0,
    stream: Iterator[Case] | None = None,
) -> Ends:
    """Time cases on a fleet; raises a BenchboxError where nothing could be timed."""
    for request in requests:
        records.check_writable(request.results)
    with contextlib.closing(Connection(address)) as connection:
        return Submission(connection, requests, cases, hearer, priority, stream).run()
