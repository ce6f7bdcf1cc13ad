"""States of a processor, found in sentinel readings, and the one in which samples count.

A processor has few states, each a narrow peak in the readings of a probe that is always the same
work: steps of its clock, a rare boost, a slow one while a neighbour uses its core. Figures that
repeat are taken in one of them, the same in every run: the fastest that the machine is in for a
good part of its time, and of clock steps close together the commonest. Rare states are no base,
fast as they may be: in one minute a machine was seen to run 17% faster for 4 s, in the next never.

Seen on a shared virtual machine, in us: 9.5 (up to 6% of the readings), 10.75 (5%), 11.15 (30%),
11.55 (45%), 14.8 to 16.5 (5% to 40%, for a second or so at a time).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import sub
from typing import Literal, get_args

from benchbox.analysis.quantities import Ratio

STEP = 0.005  # width of a bin of the histogram, as a share of the reading
# Bins to each side of a peak that belong to it. Of the compute probe 1.75%, half of a clock step of
# 3.6%; of the stream probe, which has no steps, 4.25%: latencies follow it by a third, or 1.4%.
REACH = {"compute": 3, "stream": 8, "host": 3}
NEAR = 0.1  # of two common states closer than this the commoner counts: steps of one clock
COMMON = 0.2  # share of the readings that makes a state one to take figures in
MIN_READINGS = 20  # fewer show no peak
STILL = 0.5  # of the readings of the commonest state: a base of earlier runs with more stays
Probe = Literal["compute", "stream"]
# Of a GPU those two are its own; that of the processor which launches is the host's compute probe.
Part = Literal["compute", "stream", "host"]
PARTS: tuple[Part, ...] = get_args(Part)
Marks = Sequence[tuple[int, int]]  # calls before each reading, and the reading in ns


@dataclass(frozen=True, slots=True)
class State:
    """A peak of readings, in ns: its centre and its ends."""

    centre_ns: Ratio
    low_ns: Ratio
    high_ns: Ratio

    def holds(self, reading_ns: float) -> bool:
        """Whether a reading belongs to this state."""
        return self.low_ns <= reading_ns <= self.high_ns


@dataclass(frozen=True, slots=True)
class Gate:
    """The states in which samples count, by the compute and by the stream probe; None takes all.

    On a GPU both are its own, and `host` is by the compute probe of the processor that launches.
    """

    compute: State | None = None
    stream: State | None = None
    host: State | None = None

    def of(self, probe: Probe) -> State | None:
        """The state in which samples beside this probe count."""
        return self.compute if probe == "compute" else self.stream


@dataclass(slots=True)
class Histogram:
    """Readings by logarithmic bins of STEP."""

    bins: dict[int, int] = field(default_factory=dict)

    def add(self, reading_ns: float, count: int = 1) -> None:
        """Count one reading, or several equal ones."""
        index = _bin(reading_ns)
        self.bins[index] = self.bins.get(index, 0) + count

    @property
    def total(self) -> int:
        """The number of readings."""
        return sum(self.bins.values())

    def base(self, reach: int = REACH["compute"], before_ns: float | None = None) -> State | None:
        """The state to take figures in, `reach` bins to each side; None without a reading.

        It is the one that it was before, unless that is rare now or a much faster one is common;
        else the fastest common one, or a commoner one near it; the commonest where none is common.
        """
        if not self.bins:
            return None
        around = self._around(reach)
        if before_ns is not None and self._is_still_base(_bin(before_ns), around, reach):
            return state_at(before_ns, reach)
        least = COMMON * self.total
        common = [i for i in around if around[i] >= least and _is_peak(around, i, reach)]
        near = [index for index in common if (index - common[0]) * STEP <= NEAR] or around
        peak = max(near, key=around.__getitem__)
        # The median reading around a peak moves less than the place where most are around.
        middle = {i: n for i, n in self.bins.items() if abs(i - peak) <= reach}
        return _state(_quantile(middle, 0.5), reach)

    def _around(self, reach: int) -> dict[int, int]:
        """For every bin, in order, the readings up to `reach` bins away from it."""
        first, last = min(self.bins) - reach, max(self.bins) + reach
        counts = [0] * (last - first + 1 + 2 * reach)
        for index, count in self.bins.items():
            counts[index - first + reach] = count
        sums = list(accumulate(counts, initial=0))
        return dict(enumerate(map(sub, sums[2 * reach + 1 :], sums), first))

    def _is_still_base(self, base: int, around: Mapping[int, int], reach: int) -> bool:
        """Whether the bin that was the base is common still, and nothing much faster is."""
        least = COMMON * self.total
        much_faster = (i for i in around if (base - i) * STEP > NEAR and around[i] >= least)
        enough = max(least, STILL * max(around.values()))
        return around.get(base, 0) >= enough and not any(
            _is_peak(around, index, reach) for index in much_faster
        )


def _quantile(bins: Mapping[int, int], q: float) -> int:
    left = q * sum(bins.values())
    for index in sorted(bins):
        left -= bins[index]
        if left <= 0:
            return index
    return max(bins)


def _is_peak(around: Mapping[int, int], index: int, reach: int) -> bool:
    """Whether no window that overlaps this one holds more; of equal ones the first."""
    value = around[index]
    before = max(around.get(i, 0) for i in range(index - reach, index))
    after = max(around.get(i, 0) for i in range(index, index + reach + 1))
    return value > before and value >= after


def state_at(reading_ns: float, reach: int) -> State:
    """The state around a reading."""
    return _state(_bin(reading_ns), reach)


def _state(index: int, reach: int) -> State:
    return State(_reading(index), _edge(index - reach), _edge(index + reach + 1))


def _bin(reading_ns: float) -> int:
    return math.floor(math.log(max(reading_ns, 1.0)) / STEP)


def _edge(index: int) -> float:
    return math.exp(index * STEP)


def _reading(index: int) -> float:
    return math.exp((index + 0.5) * STEP)


@dataclass(frozen=True, slots=True)
class Bases:
    """The readings that were usual in the last run on this machine, in ns; None where unknown.

    As in a gate, `host` is the processor's beside a GPU.
    """

    compute: Ratio | None = None
    stream: Ratio | None = None
    host: Ratio | None = None


class Readings:
    """The readings of a run beside what was usual before it, and the gate that they make.

    What was usual before is a base only as long as it is common in this run too, so that a run in
    a bad minute spoils none after it.
    """

    def __init__(self, known: Bases | None = None) -> None:
        self.known = known or Bases()
        self._now: dict[Part, Histogram] = {part: Histogram() for part in PARTS}
        self._gate = self._bases()

    @property
    def gate(self) -> Gate:
        """The states in which samples count, as of the last update."""
        return self._gate

    def add(
        self, probe: Probe, marks: Marks, stream_ns: Sequence[int] = (), host_marks: Marks = ()
    ) -> None:
        """Add the readings of a burst: those between calls, and of the stream probe around.

        `host_marks` are of the processor's compute probe, where the others are of a GPU.
        """
        for _, reading in marks:
            self._now[probe].add(reading)
        for reading in stream_ns:
            self._now["stream"].add(reading)
        for _, reading in host_marks:
            self._now["host"].add(reading)

    @property
    def shift(self) -> float | None:
        """The state that counts over the one of earlier runs; above 1 it is slower."""
        return _shift(self.known.compute, self.gate.compute)

    @property
    def host_shift(self) -> float | None:
        """The same of the processor beside a GPU."""
        return _shift(self.known.host, self.gate.host)

    def update(self) -> bool:
        """Find the states anew; return whether the gate has moved by more than a bin."""
        fresh = self._bases()
        if all(_near(getattr(fresh, part), getattr(self._gate, part)) for part in PARTS):
            return False
        self._gate = fresh
        return True

    def after(self) -> Bases:
        """What is usual on the machine after this run."""
        states = [getattr(self.gate, part) for part in PARTS]
        return Bases(*(state.centre_ns if state else None for state in states))

    def _bases(self) -> Gate:
        return Gate(*map(self._base, PARTS))

    def _base(self, part: Part) -> State | None:
        now, known_ns = self._now[part], getattr(self.known, part)
        if now.total >= MIN_READINGS:
            return now.base(REACH[part], known_ns)
        return state_at(known_ns, REACH[part]) if known_ns else None


def _shift(known_ns: float | None, now: State | None) -> float | None:
    return now.centre_ns / known_ns if known_ns and now else None


def _near(one: State | None, other: State | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(math.log(one.centre_ns / other.centre_ns)) <= 1.5 * STEP
