"""The timed loop: a burst of calls in a row, with the evidence of what disturbed each."""

import time
from collections.abc import Callable
from dataclasses import dataclass

try:
    import resource
except ImportError:  # Windows has no getrusage
    resource = None  # type: ignore[assignment]

SPIN_S = 0.005  # ORT's pool threads spin well under a millisecond after a call; then they sleep


@dataclass(frozen=True, slots=True)
class Burst:
    """Latencies of calls in a row, in ns, and the involuntary context switches during each."""

    latencies_ns: list[int]
    switches: list[int] | None


def settle(call: Callable[[], object], threads: int) -> None:
    """Make the untimed calls that follow a switch from another graph.

    One call brings the graph's weights back into the caches. With more threads than one, the pool
    of the graph before still spins on the processors that this one needs, so calls go on until it
    has gone to sleep.
    """
    end = time.perf_counter() + (SPIN_S if threads > 1 else 0.0)
    call()
    while time.perf_counter() < end:
        call()


def burst(call: Callable[[], object], calls: int, threads: int) -> Burst:
    """Time `calls` calls, each alone between two readings of the clock.

    With one thread the calling thread does all the work and its switches are counted; with more,
    those of the whole process. They are read between calls, outside of the timed window.
    """
    if resource is None:
        return Burst(_latencies(call, calls), None)
    clock, usage = time.perf_counter_ns, resource.getrusage
    who = resource.RUSAGE_SELF if threads > 1 else _one_thread()
    latencies, switches = [0] * calls, [0] * calls
    seen = usage(who).ru_nivcsw
    for index in range(calls):
        start = clock()
        call()
        latencies[index] = clock() - start
        now = usage(who).ru_nivcsw
        switches[index] = now - seen
        seen = now
    return Burst(latencies, switches)


def _one_thread() -> int:
    # Only Linux counts a thread's own switches.
    return getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)


def _latencies(call: Callable[[], object], calls: int) -> list[int]:
    clock = time.perf_counter_ns
    latencies = [0] * calls
    for index in range(calls):
        start = clock()
        call()
        latencies[index] = clock() - start
    return latencies
