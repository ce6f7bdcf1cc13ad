"""Submission to a fleet: hands its devices comparison groups, and keeps the records they return."""

import contextlib
import queue
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from benchbox import records
from benchbox.errors import BenchboxError, DeviceError
from benchbox.fleet import chunks, members, store, task, worker
from benchbox.fleet.authority import FleetAddress
from benchbox.fleet.chunks import Chunk
from benchbox.fleet.members import Member
from benchbox.fleet.results import Results
from benchbox.fleet.task import Task
from benchbox.records import Record
from benchbox.runner.request import Request
from benchbox.runner.several_devices import Ends
from benchbox.specs import Case

CONNECT_S = 10.0
LOOK_S = 2.0  # between looks at who is in the fleet
IN_FLIGHT = 2  # tasks of a device: the one it is at, and the one after it
AWAY_S = 30.0  # how long a run waits for a device where none is left


class Hearer(Protocol):
    """Hears of a run on a fleet as it happens."""

    def exporting(self, done: int, total: int, name: str) -> None:
        """`done` of `total` missing graphs are exported."""

    def finished(self, device: str, record: Record) -> None:
        """A case is finished on a device."""

    def aside(self, device: str, reason: str) -> None:
        """A device gets no more cases."""

    def stopping(self, count: int) -> None:
        """After Ctrl-C, `count` tasks that have begun are waited for."""


@contextlib.contextmanager
def connected(address: FleetAddress) -> Iterator[Any]:
    """A client of a fleet's scheduler; raises DeviceError where none answers."""
    from distributed import Client

    try:
        client = Client(address.url, security=address.security(), timeout=CONNECT_S)
    except (OSError, TimeoutError, ValueError) as error:
        why = str(error).split("\n")[0] or type(error).__name__
        raise DeviceError(f"{address.url}: no scheduler answers: {why}") from None
    try:
        yield client
    finally:
        client.close(timeout=2)


def members_of(client: Any) -> list[Member]:  # noqa: ANN401 - the type is of an extra
    """The devices of a fleet as they are now."""
    return members.parse(client.run_on_scheduler(members.of_scheduler))


@dataclass(slots=True)
class FleetTarget:
    """What one -d asks for: devices of one identity that share all cases of a run."""

    text: str
    identity: str
    request: Request
    results: Results
    ahead: Iterator[Chunk]
    total: int
    returned: list[Chunk] = field(default_factory=list)
    is_over: bool = False
    alone_since: float | None = None
    failure: BenchboxError | None = None

    def next(self) -> Chunk | None:
        """The next chunk, of those that came back first; None without any."""
        if self.returned:
            return self.returned.pop()
        found = None if self.is_over else next(self.ahead, None)
        self.is_over |= found is None
        return found

    @property
    def is_done(self) -> bool:
        """Whether no chunk is left to be handed out."""
        return self.is_over and not self.returned


@dataclass(slots=True)
class Flight:
    """A chunk that a device has."""

    target: FleetTarget
    chunk: Chunk
    member: Member
    future: Any
    has_begun: bool = False


class Submission:
    """A run on a fleet, from the first chunk to the last record."""

    def __init__(
        self,
        client: Any,  # noqa: ANN401 - the type is of an extra
        requests: Sequence[Request],
        cases: Sequence[Case],
        hearer: Hearer,
        priority: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises DeviceError where the fleet has no such devices."""
        self._client, self._hearer, self._priority, self._clock = client, hearer, priority, clock
        self._topic = f"benchbox-{secrets.token_hex(8)}"
        self._members = {each.name: each for each in members_of(client)}
        self._aside: set[str] = set()
        self._flights: dict[str, Flight] = {}
        self._over: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._has: set[tuple[str, str]] = set()  # worker and sha256
        self._looked = clock()
        self._targets = [self._target(each, cases) for each in requests]
        client.subscribe_topic(self._topic, self._begun)

    def run(self) -> Ends:
        """Have all cases timed; after Ctrl-C, those that have begun."""
        ends = Ends()
        try:
            self._all()
        except KeyboardInterrupt:
            ends.interrupted = True
            self._wind_up()
        finally:
            for flight in self._flights.values():
                flight.future.cancel()
        for target in self._targets:
            for outcome in target.results.outcomes(interrupted=ends.interrupted):
                ends.outcomes[len(ends.outcomes)] = outcome
        for index, target in enumerate(self._targets):
            if target.failure is not None:
                ends.failures[index] = target.failure
        if not ends.outcomes:
            ends.raise_only()
        return ends

    def _target(self, request: Request, cases: Sequence[Case]) -> FleetTarget:
        text = request.device.name
        found = members.matching(text, list(self._members.values()))
        is_one = text == found[0].name
        results = Results(request, cases, "" if is_one else found[0].identity)
        is_comparison = request.plan.margin is not None
        parts = chunks.groups(cases, len(found), is_comparison=is_comparison)
        ahead = chunks.prepared(request, parts, results.done(), self._hearer.exporting)
        return FleetTarget(text, found[0].identity, request, results, ahead, len(cases))

    def _begun(self, event: tuple[float, Any]) -> None:
        """Note that a task has begun; it is called in another thread."""
        if (flight := self._flights.get(str(event[1]))) is not None:
            flight.has_begun = True

    def _all(self) -> None:
        while True:
            self._hand_out()
            is_left = any(not each.is_done for each in self._targets if each.failure is None)
            if not self._flights and not is_left:
                return
            self._take_one()

    def _wind_up(self) -> None:
        """Take back what has not begun, and wait for the rest; again Ctrl-C leaves at once."""
        for key in [key for key, flight in self._flights.items() if not flight.has_begun]:
            self._flights.pop(key).future.cancel()
        if self._flights:
            self._hearer.stopping(len(self._flights))
        for target in self._targets:
            target.returned.clear()
        while self._flights:
            self._take_one()

    def _take_one(self) -> None:
        """Wait for a task to be over, or for the next look at the fleet."""
        with contextlib.suppress(queue.Empty):
            key = self._over.get(timeout=LOOK_S)
            if (flight := self._flights.pop(key, None)) is not None:
                self._take(flight)
        if self._clock() - self._looked >= LOOK_S:
            self._look()

    def _look(self) -> None:
        """See who is in the fleet; what a device had that has left goes to others."""
        self._looked = self._clock()
        try:
            self._members = {each.name: each for each in members_of(self._client)}
        except (OSError, TimeoutError, RuntimeError):  # the scheduler is away for a moment
            self._members = {}
        for key, flight in list(self._flights.items()):
            now = self._members.get(flight.member.name)
            if now is None or now.worker != flight.member.worker:
                del self._flights[key]
                flight.future.cancel()
                flight.target.returned.append(flight.chunk)
        for target in self._targets:
            self._give_up(target)

    def _give_up(self, target: FleetTarget) -> None:
        """Fail a target that no device is left for."""
        busy = any(flight.target is target for flight in self._flights.values())
        if target.is_done or busy or self._usable(target) or target.failure:
            target.alone_since = None
            return
        now = self._clock()
        target.alone_since = now if target.alone_since is None else target.alone_since
        if now - target.alone_since >= AWAY_S or any(
            each.identity == target.identity for each in self._members.values()
        ):
            name = target.text or "the fleet"
            target.failure = DeviceError(
                f"{name}: no device is left to time on; `--resume` goes on from here"
            )

    def _usable(self, target: FleetTarget) -> list[Member]:
        """The devices of a target that may get a task, those with the fewest first."""
        named = [
            each
            for each in self._members.values()
            if each.identity == target.identity and each.name not in self._aside
        ]
        with contextlib.suppress(DeviceError):
            return members.matching(target.text, named)
        return []

    def _hand_out(self) -> None:
        for target in self._targets:
            while target.failure is None and not target.is_done:
                counts = {each.name: 0 for each in self._usable(target)}
                for flight in self._flights.values():
                    if flight.target is target and flight.member.name in counts:
                        counts[flight.member.name] += 1
                name = min(counts, key=counts.__getitem__, default="")
                if not counts or counts[name] >= IN_FLIGHT:
                    break
                if (chunk := target.next()) is not None:
                    self._submit(target, chunk, self._members[name])

    def _submit(self, target: FleetTarget, chunk: Chunk, member: Member) -> None:
        request, key = target.request, f"benchbox-{secrets.token_hex(16)}"
        share = len(chunk.cases) / target.total
        asked = Task(
            device=member.name,
            run=request.name,
            cases=[task.bare(case) for case in chunk.cases],
            graphs={name: task.sent(graph) for name, graph in chunk.graphs.items()},
            plan=replace(request.plan, max_time_s=request.plan.max_time_s * min(1.0, share)),
            channels=request.selection.channels,
            threads=request.device.threads or None,
            allow_emulated=request.allow_emulated,
            topic=self._topic,
            key=key,
        )
        try:
            self._send(chunk, member)
        except BenchboxError as error:
            target.returned.append(chunk)
            self._put_aside(member, str(error))
            return
        except (OSError, TimeoutError, RuntimeError, ValueError):  # it has left: see who is there
            target.returned.append(chunk)
            del self._members[member.name]
            return
        future = self._client.submit(
            worker.perform,
            task.dump(asked),
            key=key,
            workers=[member.worker],
            allow_other_workers=False,
            resources={f"device:{member.name}": 1},
            priority=self._priority,
            retries=0,
            pure=False,
        )
        self._flights[key] = Flight(target, chunk, member, future)
        future.add_done_callback(lambda _: self._over.put(key))

    def _send(self, chunk: Chunk, member: Member) -> None:
        """Send the files of a chunk that the host of a device lacks."""
        needed = task.files(chunk.cases, chunk.graphs)
        unknown = [sha256 for sha256 in needed if (member.worker, sha256) not in self._has]
        if not unknown:
            return
        there = [member.worker]
        lacking = self._client.run(store.lacking, unknown, workers=there)[member.worker]
        for sha256 in lacking:
            token, files = secrets.token_hex(32), needed[sha256]
            for name, data in store.parts(files.path, files.beside):
                self._client.run(store.receive, sha256, token, name, data, workers=there)
            self._client.run(store.finish, sha256, token, list(files.beside), workers=there)
        self._has |= {(member.worker, sha256) for sha256 in unknown}

    def _take(self, flight: Flight) -> None:
        """Keep what a task returned; where its device failed, put that aside."""
        target, name = flight.target, flight.member.name
        if flight.future.status in ("cancelled", "lost"):
            target.returned.append(flight.chunk)
            return
        try:
            reply = task.parse_reply(flight.future.result(timeout=CONNECT_S))
            if reply.failure or reply.rests:
                raise DeviceError(reply.failure or reply.rests)
            taken = target.results.take(name, reply.lines, flight.chunk)
        except Exception as error:  # whatever a device's host met takes no other's cases with it
            target.returned.append(flight.chunk)
            if type(error).__name__ != "KilledWorker":  # it left; it may come back
                self._put_aside(flight.member, str(error) or type(error).__name__)
            return
        finally:
            flight.future.release()
        for record in taken:
            self._hearer.finished(name, record)

    def _put_aside(self, member: Member, reason: str) -> None:
        if member.name not in self._aside:
            self._aside.add(member.name)
            self._hearer.aside(member.name, reason.split("\n")[0])


def run(
    address: FleetAddress,
    requests: Sequence[Request],
    cases: Sequence[Case],
    hearer: Hearer,
    priority: int = 0,
) -> Ends:
    """Time cases on a fleet; raises a BenchboxError where nothing could be timed."""
    for request in requests:
        records.check_writable(request.results)
    with connected(address) as client:
        return Submission(client, requests, cases, hearer, priority).run()
