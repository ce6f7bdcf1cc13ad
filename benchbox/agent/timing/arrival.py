"""Arrival of calls at a rate: the processor sleeps between them, and each is timed alone.

The period is fixed. A call's latency depends on how long the processor has slept before it, and
this mode is there to show that; gaps drawn from an exponential distribution, as servers get them,
would mix depths of sleep: a tenth of them is shorter than a tenth of the mean.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from benchbox.agent.timing.burst import TimedBurst, counted, settle, switch_counter

NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ArrivalBurst(TimedBurst):
    """Calls at a rate; `slept_ns` is the time between them, all together."""

    slept_ns: int = 0


def time_arrivals(
    call: Callable[[], object], calls: int, threads: int, period_s: float
) -> ArrivalBurst:
    """Time `calls` calls that begin `period_s` apart, after one that settles the graph.

    The first comes a period after that. The schedule is absolute, so that the time it takes to wake
    up does not add up. A call that is late, because the one before took longer than the period,
    waits for the next moment that the schedule has: calls never follow each other in a row. No
    sentinel runs: it would wake the processor.
    """
    clock, count = time.perf_counter_ns, switch_counter(threads)
    period_ns = period_s * NS
    latencies, switches = [0] * calls, [0] * calls
    settle(call)
    begin, slot = clock(), 0
    for index in range(calls):
        slot = max(slot, int((clock() - begin) / period_ns)) + 1
        _sleep_until(begin + round(slot * period_ns))
        seen = count()
        start = clock()
        call()
        end = clock()
        latencies[index] = end - start
        switches[index] = count() - seen
    slept_ns = clock() - begin - sum(latencies)
    return ArrivalBurst(latencies, counted(switches), slept_ns=slept_ns)


def _sleep_until(due_ns: int) -> None:
    """Sleep until a moment of the clock; a sleep that ends early goes on."""
    while (left := due_ns - time.perf_counter_ns()) > 0:
        time.sleep(left / NS)
