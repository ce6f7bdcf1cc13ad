"""Parsers for counters in files of /proc and /sys: functions of their bytes, which may be anything.

Each takes the contents of the files that it is about, together, and leaves out what is not there.
"""

import os
import re
from collections.abc import Sequence

STEAL = 8  # column of a processor's line in /proc/stat
PROCESSOR = 36  # field 39 of /proc/*/stat, counted from 0 behind the program's name
BUSY = (1, 2, 3, 6, 7)  # columns of it: user, nice, system and interrupts; not waits and steal
THROTTLED = re.compile(rb"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})\s*")
CELSIUS = range(1, 150)  # what a sensor can read; broken ones say -273 or 255 degrees

Counters = dict[str, float]


def migrations(texts: Sequence[bytes]) -> Counters:
    """Read /proc/thread-self/sched, which few kernels have."""
    line = texts[0].partition(b"nr_migrations")[2].partition(b"\n")[0]
    return _known("migrations", number(line.partition(b":")[2]))


def processor(texts: Sequence[bytes]) -> Counters:
    """Read from /proc/thread-self/stat where the thread ran last."""
    fields = texts[0].rpartition(b")")[2].split()  # a program's name may hold spaces and brackets
    return _known("processor", number(fields[PROCESSOR]) if len(fields) > PROCESSOR else None)


def queued(texts: Sequence[bytes]) -> Counters:
    """Read from a schedstat `ran ns, waited ns, times`; kernels that do not count write zeros."""
    fields = texts[0].split()
    ran, waited = (number(fields[0]), number(fields[1])) if len(fields) == 3 else (None, None)
    return _known("queued_ns", waited) if ran else {}


def steal(cpus: Sequence[int], texts: Sequence[bytes]) -> Counters:
    """Read from /proc/stat what the processors lost, together."""
    wanted = {b"cpu%d" % cpu for cpu in cpus}
    lines = [line.split() for line in texts[0].splitlines() if line.startswith(b"cpu")]
    stolen = [_field(line, STEAL) for line in lines if line and line[0] in wanted]
    ticks = _sum(stolen) if len(stolen) == len(wanted) else None
    return {} if ticks is None else {"steal_s": ticks / os.sysconf("SC_CLK_TCK")}


def busy_s(text: bytes) -> dict[int, float]:
    """Read from /proc/stat how long each processor has worked."""
    busy = {}
    for line in text.splitlines():
        fields = line.split()
        cpu = number(fields[0].removeprefix(b"cpu")) if line.startswith(b"cpu") else None
        if cpu is not None and len(fields) > max(BUSY):
            ticks = _sum([number(fields[column]) for column in BUSY])
            busy[cpu] = (ticks or 0) / os.sysconf("SC_CLK_TCK")
    return busy


def pressure(name: str, texts: Sequence[bytes]) -> Counters:
    """Read a file of /proc/pressure: how long at least one task waited."""
    some = texts[0].partition(b"\n")[0]
    return _known(name, number(some.partition(b"total=")[2])) if some.startswith(b"some ") else {}


def throttling(texts: Sequence[bytes]) -> Counters:
    """Add up the cpu.stat of groups; the second version counts microseconds, the first ns."""
    found: Counters = {}
    for text in texts:
        lines = [line.split() for line in text.splitlines()]
        values = {line[0]: number(line[1]) for line in lines if len(line) == 2}
        periods, us = values.get(b"nr_throttled"), values.get(b"throttled_usec")
        ns = values.get(b"throttled_time")
        if us is None and ns is not None:
            us = ns // 1000
        for name, value in (("throttled_periods", periods), ("throttled_us", us)):
            if value is not None:
                found[name] = found.get(name, 0) + value
    return found


def clock(texts: Sequence[bytes]) -> Counters:
    """Lowest of some scaling_cur_freq; 0 means that a processor is off."""
    return _known("clock_khz", min(filter(None, map(number, texts)), default=None))


def heat(texts: Sequence[bytes]) -> Counters:
    """Add up some core_throttle_count."""
    return _known("thermal_throttles", _sum([number(text) for text in texts]))


def temperature(texts: Sequence[bytes]) -> Counters:
    """Return the hottest sensor; they give thousandths of a degree, a few whole degrees."""
    values = [value for text in texts if (value := number(text)) is not None]
    celsius = [value if value in CELSIUS else value / 1000 for value in values]
    sane = [value for value in celsius if CELSIUS.start <= value < CELSIUS.stop]
    return _known("temperature_c", max(sane, default=None))


def throttled(texts: Sequence[bytes]) -> Counters:
    """Return the bits of get_throttled, hexadecimal, as firmware or its program prints them."""
    match = THROTTLED.fullmatch(texts[0])
    return _known("throttled_bits", int(match[1], 16) if match else None)


def number(text: bytes) -> int | None:
    """Return a whole number, None for anything else and for what is below 0."""
    return int(text) if text.strip().isdigit() and len(text) < 30 else None


def _field(line: Sequence[bytes], index: int) -> int | None:
    return number(line[index]) if len(line) > index else None


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _known(name: str, value: float | None) -> Counters:
    return {} if value is None else {name: value}
