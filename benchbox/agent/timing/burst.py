"""Timed loop on a processor: a burst of calls in a row, with what disturbed each of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

try:
    import resource
except ImportError:  # Windows has no getrusage
    resource = None  # type: ignore[assignment]

# Samples of calls in a row say the same over and over: of calls of 2 us a minute would fill 100 MB.
MOST_TIMED = 500
# Of seven graphs of 0.7 to 43 ms, after others and a copy of 32 MiB had the caches, the first call
# took 1.2 to 2.8 times as long, the second up to 2.4, the fifth 1.01. Bursts of 30 ms were up to 8%
# slow after one call, and within 1% after four. Of the slowest the second took 1.003: where calls
# are long, more than one is time lost.
STEADY = 0.96
MOST_CALLS = 4
SETTLE_NS = 25_000_000
MOST_CALLS_BOUND = 10  # by the memory

# Between two readings of the sentinel. Slow states were seen to last for a tenth of a second and
# more; a reading takes 100 us, 0.5% of the time. Where one takes longer they are rarer.
MARK_NS = 20_000_000
MARK_SHARE = 0.02
# A reading displaces what is in the caches, 110 KiB or 16 MiB; for calls that are not much longer
# than it takes to bring back that is worth one untimed call.
SHORT = 10  # times a reading


@dataclass(frozen=True, slots=True)
class TimedBurst:
    """Latencies of calls in a row, in ns, and the involuntary context switches during each.

    `marks` are readings of the sentinel, in ns, each with the number of calls before it; the first
    is taken before the first call and the last after the last. `probed_ns` is what they took.
    """

    latencies_ns: list[int]
    switches: list[int] | None
    marks: list[tuple[int, int]] = field(default_factory=list)
    probed_ns: int = 0


def settle(call: Callable[[], object], *, memory_bound: bool = False) -> int:
    """Make the untimed calls that follow a switch from another graph; return what the last took.

    They bring the graph's weights back into the nearest caches, by and by, and go on until one is
    about as slow as that before. A product with a 64 MB matrix got faster for five calls, by half.
    """
    last_ns = spent_ns = _timed(call)
    for _ in range((MOST_CALLS_BOUND if memory_bound else MOST_CALLS) - 1):
        if spent_ns > SETTLE_NS and not memory_bound:
            break
        before_ns, last_ns = last_ns, _timed(call)
        spent_ns += last_ns
        if last_ns > STEADY * before_ns:
            break
    return last_ns


def _timed(call: Callable[[], object]) -> int:
    start = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - start


def time_calls(
    call: Callable[[], object],
    calls: int,
    threads: int,
    probe: Callable[[], int] | None = None,
    *,
    memory_bound: bool = False,
) -> TimedBurst:
    """Time a burst of `calls` calls, each alone between two readings of the clock.

    Of far more than MOST_TIMED only some are timed, evenly spread. With one thread the calling
    thread does all the work and its switches are counted; with more, those of the whole process.
    They are read between calls, outside of the timed window, and so is the sentinel `probe`, now
    and then. Those of an untimed call or a reading are the next call's: it finds the caches as
    another program left them.
    """
    clock, count = time.perf_counter_ns, switch_counter(threads)
    readings = SentinelReadings(call, probe)
    stride = max(1, calls // MOST_TIMED)
    timed = calls // stride
    latencies, switches = [0] * timed, [0] * timed
    seen = 0

    def watched() -> None:
        nonlocal seen
        seen = count()
        call()

    due = readings.within(0, settle(watched, memory_bound=memory_bound))
    for index in range(timed):
        for _ in range(stride - 1):
            watched()
        start = clock()
        call()
        end = clock()
        latencies[index] = end - start
        now = count()
        switches[index] = now - seen
        seen = now
        if end >= due and index + 1 < timed:
            due = readings.within(index + 1, end - start)
    readings.take(timed)
    return TimedBurst(latencies, counted(switches), readings.marks, readings.probed_ns)


class SentinelReadings:
    """The readings of the sentinel in one burst, each with the number of calls before it."""

    def __init__(
        self,
        call: Callable[[], object],
        probe: Callable[[], int] | None,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._call, self._probe, self._clock = call, probe, clock or time.perf_counter_ns
        self.marks: list[tuple[int, int]] = []
        self.probed_ns = 0

    def take(self, calls: int) -> int:
        """Take a reading, where there is a probe; return the nanoseconds that it took."""
        if self._probe is None:
            return 0
        start = self._clock()
        self.marks.append((calls, self._probe()))
        took_ns = self._clock() - start
        self.probed_ns += took_ns
        return took_ns

    def within(self, calls: int, last_ns: int) -> float:
        """Take a reading between calls, of which the last took `last_ns`, and settle again.

        Return when the next one is due, by the clock of the burst.
        """
        took_ns = self.take(calls)
        if self._probe is None:
            return float("inf")
        if last_ns < SHORT * took_ns:
            self._call()
        return self._clock() + max(MARK_NS, took_ns / MARK_SHARE)


def counted(switches: list[int]) -> list[int] | None:
    """The switches of calls, None where the system does not count them."""
    return switches if resource else None


def switch_counter(threads: int) -> Callable[[], int]:
    """A function that counts involuntary context switches; always 0 where the system does not."""
    if resource is None:
        return lambda: 0
    usage = resource.getrusage
    # Only Linux counts a thread's own switches.
    one = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)
    who = resource.RUSAGE_SELF if threads > 1 else one
    return lambda: usage(who).ru_nivcsw
