"""One run on several devices: at the same time, but in turn where they are the same hardware."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchbox import records, runner
from benchbox.errors import BenchboxError
from benchbox.records import Record
from benchbox.runner import Outcome, Prepared, Request, Watcher
from benchbox.sampling import Sampler

LOOK_S = 0.2  # how often the waiting thread wakes up, so that Ctrl-C reaches it

Part = tuple[int, Request, Watcher]  # a request with its place among all
Failed = Callable[[int, BenchboxError], None]


@dataclass(slots=True)
class Ends:
    """What became of requests, by their place; one that was never begun is in neither."""

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    failures: dict[int, BenchboxError] = field(default_factory=dict)
    interrupted: bool = False


class _Stoppable:
    """A watcher that ends what its thread measures once it is to stop.

    Who watches has heard of the start already: the look at how busy this machine is comes before
    anything of this run keeps it busy.
    """

    def __init__(self, watcher: Watcher, stop: threading.Event) -> None:
        self._watcher, self._stop = watcher, stop

    def exporting(self, done: int, total: int) -> None:
        self._watcher.exporting(done, total)

    def starting(self) -> None:
        self._check()

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
    Raises a BenchboxError before any device is reached, and when there is one device only.
    After Ctrl-C every device ends with the burst or the load that it is at; the next is not waited
    for.
    """
    for request in requests:
        records.check_writable(request.results / request.device.name)
    ready = runner.prepared(requests[0], watchers[0])
    ends, stop = Ends(), threading.Event()
    by_hardware: dict[str, list[Part]] = {}
    for place, (request, watcher) in enumerate(zip(requests, watchers, strict=True)):
        watcher.starting()
        part = (place, request, _Stoppable(watcher, stop))
        by_hardware.setdefault(request.device.hardware, []).append(part)
    groups = list(by_hardware.values())
    if len(groups) == 1:
        _in_turn(groups[0], ready, ends, failed, stop)
    else:
        _at_once(groups, ready, ends, failed, stop, stopping)
    if ends.failures and len(requests) == 1:
        raise ends.failures[0]
    return ends


def _at_once(
    groups: Sequence[Sequence[Part]],
    ready: Prepared,
    ends: Ends,
    failed: Failed,
    stop: threading.Event,
    stopping: Callable[[], None],
) -> None:
    bugs: list[BaseException] = []

    def work(parts: Sequence[Part], done: threading.Event) -> None:
        try:
            _in_turn(parts, ready, ends, failed, stop)
        except BaseException as error:
            bugs.append(error)
            stop.set()  # it is told now, and not when the last device is done
        finally:
            done.set()

    begun: list[threading.Event] = []
    try:
        for parts in groups:
            done = threading.Event()
            # Daemons: a second Ctrl-C ends the program whatever a device is at.
            threading.Thread(target=work, args=(parts, done), daemon=True).start()
            begun.append(done)
        _wait(begun)
    except KeyboardInterrupt:
        ends.interrupted = True
        stop.set()
        if not all(done.is_set() for done in begun):
            stopping()
        _wait(begun)
    if bugs:
        raise bugs[0]


def _wait(begun: Sequence[threading.Event]) -> None:
    # Not by Thread.join: until Python 3.13 a thread whose join is interrupted counts as ended.
    for done in begun:
        while not done.wait(LOOK_S):
            pass


def _in_turn(
    parts: Sequence[Part],
    ready: Prepared,
    ends: Ends,
    failed: Failed,
    stop: threading.Event,
) -> None:
    """Measure on one device after the other; one that fails does not take the next with it."""
    for place, request, watcher in parts:
        if stop.is_set():
            return
        try:
            outcome = runner.measure(request, ready, watcher)
        except BenchboxError as error:
            ends.failures[place] = error
            failed(place, error)
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
