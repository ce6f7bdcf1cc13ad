"""Observation of a processor: fixed work in a loop, with counters and other programs' load."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchbox.agent.host import counters, machine
from benchbox.agent.host.disturbances import PROC, SYS, CounterReader, between

LONGEST_S = 1.0  # of one observation, so that whoever asked can show how far it is
GAP_NS = 100_000  # between two probes: longer than an interrupt, shorter than a program's turn
DIGITS = 4  # of a reading: finer than readings of one state scatter


def observe(
    probe: Callable[[], int], cpu: int, seconds: float, proc: Path = PROC, sys: Path = SYS
) -> dict[str, object]:
    """Spin on a processor and observe it; the calling thread stays bound to it.

    `probe` does the same work every time and returns its nanoseconds. The reply has the readings as
    [ns, how many], what was lost between them, what the reader saw, and as [processor, share] what
    other programs took of each.
    """
    machine.pin([cpu])
    with CounterReader(1, [cpu], proc, sys) as reader:
        busy, own = _busy_s(proc), time.process_time()
        start, before = time.perf_counter(), reader.read_counters()
        readings, lost = _spin(probe, min(seconds, LONGEST_S))
        after, elapsed = reader.read_counters(), time.perf_counter() - start
        used, busy_after = time.process_time() - own, _busy_s(proc)
    others = {
        each: max(0.0, busy_after[each] - busy[each] - (used if each == cpu else 0.0)) / elapsed
        for each in sorted(busy.keys() & busy_after.keys())
    }
    rounded = Counter(float(f"{reading:.{DIGITS}g}") for reading in readings)
    return {
        "cpu": cpu,
        "seconds": elapsed,
        "readings_ns": sorted(rounded.items()),
        "gaps": len(lost),
        "lost_s": sum(lost) / 1e9,
        "longest_gap_s": max(lost, default=0) / 1e9,
        "seen": between(before, after),
        "others": [[each, round(share, 4)] for each, share in others.items()],
    }


def _spin(probe: Callable[[], int], seconds: float) -> tuple[list[int], list[int]]:
    """Return the readings, and by how much each turn that lost time was longer than usual, in ns.

    A reading is the fastest of several calls, in which it does not show that a program took the
    processor for a while. In the turn around them it does.
    """
    clock = time.perf_counter_ns
    readings: list[int] = []
    turns: list[int] = []
    then = clock()
    end = then + int(seconds * 1e9)
    while then < end:
        readings.append(probe())
        now = clock()
        turns.append(now - then)
        then = now
    usual = int(median(turns)) if turns else 0
    # Slow states stay below twice the usual time; beyond it something else ran.
    return readings, [turn - usual for turn in turns if turn - usual > max(GAP_NS, usual)]


def _busy_s(proc: Path) -> dict[int, float]:
    try:
        return counters.busy_s((proc / "stat").read_bytes())
    except OSError:
        return {}
