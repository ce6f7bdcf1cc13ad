"""Run on several devices: at the same time, but in turn where they are the same hardware."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from benchbox import records
from benchbox.errors import BenchboxError
from benchbox.records import Record
from benchbox.runner.one_device import measure
from benchbox.runner.prepare import prepare, unfold
from benchbox.runner.request import Outcome, Prepared, Request, Watcher
from benchbox.sampling.sampler import Sampler
from benchbox.transports import Agent, replies

POLL_S = 0.2  # how often the waiting thread wakes up, so that Ctrl-C reaches it

# With its place among all, and the agent that greeted where that goes on with it.
Part = tuple[int, Request, Watcher, Agent | None]
Failed = Callable[[int, BenchboxError], None]


@dataclass(slots=True)
class Ends:
    """What became of requests, by their place; one that was never begun is in neither.

    `bugs` are the errors behind failures that benchbox did not raise on purpose.
    """

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    failures: dict[int, BenchboxError] = field(default_factory=dict)
    interrupted: bool = False
    bugs: dict[int, Exception] = field(default_factory=dict)

    def fail(self, place: int, name: str, error: Exception) -> BenchboxError:
        """Keep why the device at a place failed; return it as one line."""
        if isinstance(error, BenchboxError):
            told = error
        else:
            self.bugs[place] = error
            said = replies.line(f"{type(error).__name__}: {error}")
            told = BenchboxError(f"device {name!r}: a bug in benchbox: {said}")
        self.failures[place] = told
        return told

    def single(self) -> None:
        """Raise why the only device failed, where it did."""
        for place, failure in self.failures.items():
            raise self.bugs.get(place, failure)


class _Stoppable:
    """A watcher that ends what its thread measures once it is to stop.

    Who watches has heard of the start already: the look at how busy this machine is comes before
    anything of this run keeps it busy.
    """

    def __init__(self, watcher: Watcher, stop: threading.Event) -> None:
        self._watcher, self._stop = watcher, stop

    def exporting(self, done: int, total: int, name: str) -> None:
        self._watcher.exporting(done, total, name)

    def starting(self) -> None:
        self._check()

    def greeted(self, seen: Mapping[str, float]) -> None:
        self._watcher.greeted(seen)

    def loading(self, done: int, total: int) -> None:
        self._check()
        self._watcher.loading(done, total)

    def cooling(self, now_c: float, goal_c: float, left_s: float) -> None:
        self._check()
        self._watcher.cooling(now_c, goal_c, left_s)

    def measuring(self, sampler: Sampler) -> None:
        self._check()
        self._watcher.measuring(sampler)

    def finished(self, record: Record) -> None:
        self._watcher.finished(record)

    def _check(self) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt


def run(
    requests: Sequence[Request],
    watchers: Sequence[Watcher],
    failed: Failed = lambda *_: None,
    stopping: Callable[[], None] = lambda: None,
) -> Ends:
    """Run requests that differ in their device alone, whatever becomes of each.

    The graphs are prepared once. `failed` hears of the device at a place that cannot be used, in
    any thread, `stopping` that Ctrl-C was seen and devices are still at something.
    Every device is reached before anything is exported; what is the same hardware by what it says
    of itself takes turns, however it is addressed.
    Raises a BenchboxError for what no device could run, and when there is one device only. A bug in
    what is done for one of several devices is kept for who tells of the others first.
    After Ctrl-C every device ends with the burst or the load that it is at; the next is not waited
    for.
    """
    for request in requests:
        records.check_writable(request.results / request.device.name)
    cases = unfold(requests[0].specs, requests[0].selection)
    ends, stop = Ends(), threading.Event()
    agents = _greeted(requests, ends, failed)
    if len(requests) == 1:
        ends.single()
    left = [place for place in range(len(requests)) if place not in ends.failures]
    try:
        if left:
            ready = Prepared(cases, prepare(requests[0].specs, cases, watchers[0].exporting))
            systems = {
                requests[place].device.hardware: _system(agent) for place, agent in agents.items()
            }
            groups: dict[str, list[Part]] = {}
            for place in left:
                watchers[place].starting()
                watcher = _Stoppable(watchers[place], stop)
                part = (place, requests[place], watcher, agents.pop(place, None))
                address = requests[place].device.hardware
                groups.setdefault(systems.get(address) or address, []).append(part)
            _measured(list(groups.values()), ready, ends, failed, stop, stopping)
    finally:
        for agent in agents.values():
            agent.close()
    if len(requests) == 1:
        ends.single()
    return ends


def _greeted(requests: Sequence[Request], ends: Ends, failed: Failed) -> dict[int, Agent]:
    """Reach every device, so that one that cannot be used is told of before anything is exported.

    Of those at one address the first that can be is reached, and goes on with the agent that
    greeted; the others are opened when it is their turn.
    """
    by_address: dict[str, list[int]] = {}
    for place, request in enumerate(requests):
        by_address.setdefault(request.device.hardware, []).append(place)
    agents: dict[int, Agent] = {}

    def greet(places: Sequence[int]) -> None:
        for place in places:
            try:
                agents[place] = requests[place].open(requests[place].device)
                return
            except Exception as error:  # a bug, too, is of one device
                failed(place, ends.fail(place, requests[place].device.name, error))

    if len(by_address) == 1:
        greet(next(iter(by_address.values())))
        return agents
    crew = _Crew(threading.Event())
    for places in by_address.values():
        crew.begin(partial(greet, places))
    crew.wait()
    return agents


def _system(agent: Agent) -> str:
    """Return what tells the system there from others whatever its address; empty if not known."""
    return str(agent.hello["host"].get("boot") or "")


def _measured(
    groups: Sequence[Sequence[Part]],
    ready: Prepared,
    ends: Ends,
    failed: Failed,
    stop: threading.Event,
    stopping: Callable[[], None],
) -> None:
    if len(groups) == 1:
        _in_turn(groups[0], ready, ends, failed, stop)
        return
    crew = _Crew(stop)
    try:
        for group in groups:
            crew.begin(partial(_in_turn, group, ready, ends, failed, stop))
        crew.wait()
    except KeyboardInterrupt:
        ends.interrupted = True
        stop.set()
        if crew.is_busy:
            stopping()
        crew.wait()


class _Crew:
    """Calls that are made at the same time, each in a thread."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._begun: list[threading.Event] = []
        self._bugs: list[BaseException] = []

    def begin(self, call: Callable[[], None]) -> None:
        """Make a call in a thread; what it raises is a bug, and ends the others."""
        done = threading.Event()

        def work() -> None:
            try:
                call()
            except BaseException as error:
                self._bugs.append(error)
                self._stop.set()  # it is told now, and not when the last device is done
            finally:
                done.set()

        # Daemons: a second Ctrl-C ends the program whatever a device is at.
        threading.Thread(target=work, daemon=True).start()
        self._begun.append(done)

    @property
    def is_busy(self) -> bool:
        """Whether some call is not over."""
        return not all(done.is_set() for done in self._begun)

    def wait(self) -> None:
        """Wait for all calls; raises the first bug."""
        # Not by Thread.join: until Python 3.13 a thread whose join is interrupted counts as ended.
        for done in self._begun:
            while not done.wait(POLL_S):
                pass
        if self._bugs:
            raise self._bugs[0]


def _in_turn(
    parts: Sequence[Part],
    ready: Prepared,
    ends: Ends,
    failed: Failed,
    stop: threading.Event,
) -> None:
    """Measure on one device after the other; one that fails does not take the next with it."""
    for place, request, watcher, agent in parts:
        if stop.is_set():
            return
        try:
            outcome = measure(request, ready, watcher, agent)
        except Exception as error:  # a bug, too, takes no other device's rows with it
            failed(place, ends.fail(place, request.device.name, error))
            continue
        except KeyboardInterrupt:  # before its first sample
            if not ends.outcomes and not stop.is_set():
                raise
            ends.interrupted = True
            return
        ends.outcomes[place] = outcome
        if outcome.interrupted:
            ends.interrupted = True
            return
