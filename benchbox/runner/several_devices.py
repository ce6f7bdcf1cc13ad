"""Run on one or several devices: at the same time, but in turn on the same hardware."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

from benchbox import records
from benchbox.errors import BenchboxError
from benchbox.records import Record, resume
from benchbox.records.journal import Journal
from benchbox.runner import known_states
from benchbox.runner.assembly import assemble
from benchbox.runner.context import context_of
from benchbox.runner.prepare import prepare, unfold
from benchbox.runner.request import Outcome, Prepared, Request, Watcher
from benchbox.runner.threads import Threads
from benchbox.sampling.sampler import Sampler
from benchbox.transports import Agent, replies

# The index of a request, and the agent that was opened for it, if any.
Part = tuple[int, Request, Watcher, Agent | None]
Failed = Callable[[int, BenchboxError], None]


@dataclass(slots=True)
class Ends:
    """Outcomes and failures by request index; a request that never started is in neither.

    `bugs` are the errors behind failures that benchbox did not raise on purpose.
    """

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    failures: dict[int, BenchboxError] = field(default_factory=dict)
    interrupted: bool = False
    bugs: dict[int, Exception] = field(default_factory=dict)

    def fail(self, index: int, name: str, error: Exception) -> BenchboxError:
        """Keep the error of a device; return it as one line."""
        failure = error
        if not isinstance(failure, BenchboxError):
            self.bugs[index] = error
            text = replies.line(f"{type(error).__name__}: {error}")
            failure = BenchboxError(f"device {name!r}: a bug in benchbox: {text}")
        self.failures[index] = failure
        return failure

    def raise_only(self) -> None:
        """Raise the error of the only device, if any."""
        for index, failure in self.failures.items():
            raise self.bugs.get(index, failure)


class _Checked:
    """A watcher that checks whether the measurement of its thread goes on.

    It does not pass on the start, of which the watcher has heard: how busy this machine is must be
    measured before this run keeps it busy.
    """

    def __init__(self, watcher: Watcher, check: Callable[[], None]) -> None:
        self._watcher, self._check = watcher, check

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


def checked(watcher: Watcher, check: Callable[[], None]) -> Watcher:
    """A watcher that has `check` called between bursts, which may raise KeyboardInterrupt."""
    return _Checked(watcher, check)


def _require_unset(stop: threading.Event) -> None:
    if stop.is_set():
        raise KeyboardInterrupt


def run(
    requests: Sequence[Request],
    watchers: Sequence[Watcher],
    failed: Failed = lambda *_: None,
    stopping: Callable[[], None] = lambda: None,
) -> Ends:
    """Run requests that differ only in their device, whatever becomes of each.

    The graphs are prepared once, after every device was reached. Devices that identify themselves
    as the same hardware take turns, whatever their addresses.
    `failed` is called, in any thread, with the index of a device that cannot be used, `stopping`
    when Ctrl-C came while devices are still busy.
    Raises a BenchboxError for what no device could run, and when the only device fails. A bug that
    one of several devices met is kept, so that the others are reported first.
    After Ctrl-C every device ends with the burst or the load that it is at.
    """
    for request in requests:
        records.check_writable(request.results / request.device.name)
    cases = unfold(requests[0].specs, requests[0].selection)
    ends, stop = Ends(), threading.Event()
    agents = _reach_all(requests, ends, failed)
    if len(requests) == 1:
        ends.raise_only()
    left = [index for index in range(len(requests)) if index not in ends.failures]
    try:
        if left:
            ready = Prepared(cases, prepare(requests[0].specs, cases, watchers[0].exporting))
            systems = {
                requests[index].device.hardware: _system(agent) for index, agent in agents.items()
            }
            groups: dict[str, list[Part]] = {}
            for index in left:
                watchers[index].starting()
                watcher = checked(watchers[index], partial(_require_unset, stop))
                part = (index, requests[index], watcher, agents.pop(index, None))
                address = requests[index].device.hardware
                groups.setdefault(systems.get(address) or address, []).append(part)
            _measure_all(list(groups.values()), ready, ends, failed, stop, stopping)
    finally:
        for agent in agents.values():
            agent.close()
    if len(requests) == 1:
        ends.raise_only()
    return ends


def _reach_all(requests: Sequence[Request], ends: Ends, failed: Failed) -> dict[int, Agent]:
    """Open an agent on every device, so that failures show before anything is exported.

    Of the devices at one address, the first that can be reached goes on with its agent; the others
    are opened when it is their turn.
    """
    by_address: dict[str, list[int]] = {}
    for index, request in enumerate(requests):
        by_address.setdefault(request.device.hardware, []).append(index)
    agents: dict[int, Agent] = {}

    def reach(indices: Sequence[int]) -> None:
        for index in indices:
            try:
                agents[index] = requests[index].open(requests[index].device)
                return
            except Exception as error:  # a bug, too, is of one device
                failed(index, ends.fail(index, requests[index].device.name, error))

    if len(by_address) == 1:
        reach(next(iter(by_address.values())))
        return agents
    threads = Threads(threading.Event())
    for indices in by_address.values():
        threads.begin(partial(reach, indices))
    threads.wait()
    return agents


def _system(agent: Agent) -> str:
    """The boot id of the system that an agent runs on, empty if it is not known."""
    return str(agent.hello["host"].get("boot") or "")


def _measure_all(
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
    threads = Threads(stop)
    try:
        for group in groups:
            threads.begin(partial(_in_turn, group, ready, ends, failed, stop))
        threads.wait()
    except KeyboardInterrupt:
        ends.interrupted = True
        stop.set()
        if threads.is_busy:
            stopping()
        threads.wait()


def _in_turn(
    parts: Sequence[Part], ready: Prepared, ends: Ends, failed: Failed, stop: threading.Event
) -> None:
    """Measure on one device after the other, whatever becomes of each."""
    for index, request, watcher, agent in parts:
        if stop.is_set():
            return
        try:
            outcome = measure(request, ready, watcher, agent)
        except Exception as error:  # a bug, too, takes no other device's rows with it
            failed(index, ends.fail(index, request.device.name, error))
            continue
        except KeyboardInterrupt:  # before its first sample
            if not ends.outcomes and not stop.is_set():
                raise
            ends.interrupted = True
            return
        ends.outcomes[index] = outcome
        if outcome.interrupted:
            ends.interrupted = True
            return


def measure(
    request: Request, ready: Prepared, watcher: Watcher, agent: Agent | None = None
) -> Outcome:
    """Measure and record every case of a request.

    The first process is that of `agent`, which it ends, or one that it opens.
    Raises a BenchboxError only before anything was measured; later, a failure is a record.
    """
    watcher.starting()
    agent = agent or request.open(request.device)
    try:
        if seen := agent.hello.get("seen"):
            watcher.greeted(seen)
        context = context_of(request, ready.cases, agent)
        previous = resume.previous(request.results, context) if request.resume else None
        states, host_states = known_states.path(context), known_states.host_path(context)
        known = known_states.load(states, host_states)
        with closing(Journal(request.results, context, previous)) as journal:
            measurement = assemble(request, ready, agent, journal, watcher, known)
            interrupted = measurement.run()
        if request.plan.arrival_per_s is None:  # else the processor was waking up all the time
            known_states.save(states, measurement.state.machine.after(), host_states)
    finally:
        agent.close()
    return Outcome(journal.run, interrupted, journal.lost, measurement.state.has_failure)
