"""Connection to a fleet: who is in it, and tasks with their files, sent and waited for."""

import asyncio
import contextlib
import secrets
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from benchbox.errors import DeviceError
from benchbox.fleet import engine, exports, members, store, task, worker
from benchbox.fleet.authority import CONNECT_S, FleetAddress
from benchbox.fleet.members import Member
from benchbox.fleet.task import Files, Reply, Task

T = TypeVar("T")
AGAIN_S = 2.0  # for a try to reach a scheduler that was lost
ASK_S = 10.0  # for its answer
# What Dask raises where a worker, or the scheduler, has left.
LEFT = (OSError, TimeoutError, RuntimeError, ValueError, LookupError)


class Connection:
    """A client of a fleet's scheduler, which is made again once that was lost."""

    def __init__(self, address: FleetAddress) -> None:
        """Raises DeviceError where no scheduler answers."""
        self._address = address
        # It hears of tasks, by their keys, that have begun; and then the lines of what they have.
        self.heard: Callable[[str, str], None] = lambda *_: None
        self.made = 0  # how often: what an earlier client had is lost
        self.topic = f"benchbox-{secrets.token_hex(8)}"
        self.wrong: Mapping[str, str] = {}  # of devices left out at the last look, by name
        self._has: set[tuple[str, str]] = set()  # worker and sha256
        self._sending: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._client = self._open(CONNECT_S)

    def _open(self, timeout_s: float) -> Any:  # noqa: ANN401 - the type is of an extra
        from distributed import Client

        asyncio.run(engine.greet(self._address, timeout_s))
        options = {"security": self._address.security(), "timeout": timeout_s}
        try:
            client = Client(self._address.url, set_as_default=False, **options)
        except LEFT as error:
            raise self._address.unreachable(error) from None
        self._stream = client.scheduler_comm  # another once Dask has connected it again by itself
        self.made += 1
        client.subscribe_topic(self.topic, self._hear)
        return client

    def _hear(self, event: tuple[float, Any]) -> None:
        with contextlib.suppress(TypeError, ValueError):  # of whoever sends something else
            key, lines = event[1]
            self.heard(str(key), str(lines))

    def members(self) -> list[Member] | None:
        """The devices of the fleet as they are now, None while its scheduler is away."""
        try:
            is_same = self._client.scheduler_comm is self._stream
            if self._client.status != "running" or not is_same:  # what it had has gone
                self.close()
                self._client = self._open(AGAIN_S)
            found = self.ask(members.of_scheduler)
        except (*LEFT, DeviceError):
            return None
        there, self.wrong = members.parse(found)
        return there

    def present(self) -> list[Member]:
        """The devices of the fleet; raises DeviceError where its scheduler does not answer."""
        found = self.members()
        if found is None:
            raise self._address.unreachable(TimeoutError())
        return found

    def submit(self, asked: Task, there: Member, priority: int) -> Any:  # noqa: ANN401
        """Submit a task to the worker of a device; return its future."""
        return self._client.submit(
            worker.perform,
            task.dump(asked),
            key=asked.key,
            workers=[there.worker],
            allow_other_workers=False,
            resources={f"device:{there.name}": 1},
            priority=priority,
            fifo_timeout=0,  # what came first goes first, whoever sent it
            retries=0,
            pure=False,
        )

    def send(self, files: Mapping[str, Files], host: str) -> None:
        """Send the files that a worker's host lacks, each once.

        Raises StorageError where it cannot keep them.
        """
        with self._sending[host]:
            unknown = [sha256 for sha256 in files if (host, sha256) not in self._has]
            lacking = self.call(host, store.lacking, unknown) if unknown else ()
            for load in store.loads({sha256: files[sha256] for sha256 in lacking}):
                self.call(host, store.receive, *load)
            self._has |= {(host, sha256) for sha256 in unknown}

    def end(self, keys: Sequence[str], hosts: Collection[str]) -> None:
        """Have workers end tasks with what they have measured, without waiting for it."""

        def tell() -> None:
            with contextlib.suppress(*LEFT):
                self._client.run(worker.end, keys, workers=[*hosts], on_error="ignore")

        threading.Thread(target=tell, daemon=True).start()

    def export(self, text: str, key: str) -> str:
        """Have a worker export graphs; raises DeviceError where none does."""
        try:
            if not self.ask(members.services)[0]:
                raise DeviceError(exports.NOBODY)
            resources = {members.ROLE: 1}
            future = self._client.submit(exports.perform, text, key=key, resources=resources)
            found: str = future.result()
        except (*LEFT, CancelledError) as error:
            raise DeviceError(f"the worker that exports graphs has left: {error}") from None
        return found

    def call(self, host: str, function: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401
        """Call a function on the host of a worker."""
        return self._client.run(function, *args, workers=[host])[host]

    def ask(self, function: Callable[..., T]) -> T:
        """Call a function on the scheduler; raises TimeoutError where it does not answer."""
        found: T = self._client.run_on_scheduler(function, callback_timeout=ASK_S)
        return found

    def close(self) -> None:
        """Leave the fleet."""
        with contextlib.suppress(Exception):  # of a client whose scheduler has gone
            self._client.close(timeout=2)


class Flight:
    """A task that is sent to a device and waited for, in a thread of its own."""

    def __init__(
        self,
        connection: Connection,
        asked: Task,
        there: Member,
        files: Mapping[str, Files],
        over: Callable[[str], None],
        priority: int = 0,
    ) -> None:
        """`over` hears the key of the task once there is a reply, or an error."""
        self.member, self.made = there, connection.made
        self.reply: Reply | None = None
        self.error: BaseException | None = None
        self._future: Any = None
        self._is_dropped = False
        args = connection, asked, files, over, priority
        threading.Thread(target=self._go, args=args, daemon=True).start()

    def _go(
        self,
        connection: Connection,
        asked: Task,
        files: Mapping[str, Files],
        over: Callable[[str], None],
        priority: int,
    ) -> None:
        try:
            connection.send(files, self.member.worker)
            self._future = connection.submit(asked, self.member, priority)
            if self._is_dropped:
                self.drop()
            self.reply = task.parse_reply(self._future.result())
        except BaseException as error:  # whoever takes the flight tells what to do
            self.error = error
        over(asked.key)

    def drop(self) -> None:
        """Take the task back; what becomes of one that has begun is not kept."""
        self._is_dropped = True
        if self._future is not None:
            with contextlib.suppress(Exception):  # of a client whose scheduler has gone
                self._future.cancel()

    @property
    def is_killed(self) -> bool:
        """Whether its worker was lost while it had the task."""
        return type(self.error).__name__ == "KilledWorker"

    @property
    def has_left(self) -> bool:
        """Whether it came to nothing as its worker, or the scheduler, has left."""
        if self._future is None:
            return isinstance(self.error, LEFT)
        return self.is_killed or isinstance(self.error, CancelledError | OSError)

    @property
    def is_cut_short(self) -> bool:
        """Whether its worker has ended it before it was done."""
        return self.reply is not None and self.reply.is_cut_short

    @property
    def lines(self) -> str:
        """The lines of its run, empty where it has none."""
        return self.reply.lines if self.reply else ""

    @property
    def rests(self) -> str:
        """Why its device rests, empty where it does not."""
        return self.reply.rests if self.reply else ""

    @property
    def failure(self) -> str:
        """Why its device cannot be used, empty where it can."""
        if self.error is not None:
            return str(self.error) or type(self.error).__name__
        return self.reply.failure if self.reply else ""
