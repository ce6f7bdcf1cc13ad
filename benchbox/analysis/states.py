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
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Literal, get_args

from benchbox.analysis.quantities import Ratio

STEP = 0.005  # width of a bin of the histogram, as a share of the reading
# Bins to each side of a peak that belong to it. Of the compute probe 1.75%, half of a clock step of
# 3.6%; of the stream probe, which has no steps, 4.25%: latencies follow it by a third, or 1.4%.
REACH = {"compute": 3, "stream": 8, "host": 3}
NEAR = 0.1  # of two common states closer than this the commoner counts: steps of one clock
COMMON = 0.2  # share of the readings that makes a state one to take figures in
MIN_READINGS = 20  # fewer show no peak
FORGET = 0.5  # weight of what was known before, after one more run
Probe = Literal["compute", "stream"]
# Of a GPU those two are its own; that of the processor which launches is the host's compute probe.
Part = Literal["compute", "stream", "host"]
PARTS: tuple[Part, ...] = get_args(Part)
Marks = Sequence[tuple[int, int]]  # calls before each reading, and the reading in ns
FULL_RUN = 500  # readings that make a run count in full against what was known before


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
    """Readings by logarithmic bins of STEP; the weights of one that is kept add up to 1."""

    bins: dict[int, float] = field(default_factory=dict)
    base_ns: float | None = None  # the centre of the state that was the base

    def add(self, reading_ns: float, count: float = 1.0) -> None:
        """Count one reading, or several equal ones."""
        index = _bin(reading_ns)
        self.bins[index] = self.bins.get(index, 0.0) + count

    @property
    def total(self) -> float:
        """The number of readings, or their weight."""
        return sum(self.bins.values())

    def after(self, known: "Histogram") -> "Histogram":
        """The history after this run, from `known` before it; the weights add up to 1.

        Half of it is this run's, less for a run with few readings.
        """
        if not known.bins or not self.bins:
            return Histogram(_weighted(self.bins or known.bins, 1.0), known.base_ns)
        fresh = (1 - FORGET) * min(1.0, self.total / FULL_RUN)
        old, new = _weighted(known.bins, 1 - fresh), _weighted(self.bins, fresh)
        indices = old.keys() | new.keys()
        both = {i: old.get(i, 0.0) + new.get(i, 0.0) for i in indices}
        return Histogram(both, known.base_ns)

    def base(self, reach: int = REACH["compute"]) -> State | None:
        """The state to take figures in, `reach` bins to each side; None without a reading.

        It is the one that it was before, unless that has become rare or a much faster one common;
        else the fastest common one, or a commoner one near it; the commonest where none is common.
        """
        if not self.bins:
            return None
        around = self._around(reach)
        if self.base_ns is not None and self._is_still_base(_bin(self.base_ns), around, reach):
            return _state(_bin(self.base_ns), reach)
        peaks = [index for index in around if _is_peak(around, index, reach)]
        common = [index for index in peaks if around[index] >= COMMON * self.total]
        near = [index for index in common if (index - common[0]) * STEP <= NEAR] or peaks
        peak = max(near, key=around.__getitem__)
        # The median reading around a peak moves less than the place where most are around.
        middle = {i: n for i, n in self.bins.items() if abs(i - peak) <= reach}
        return _state(_quantile(middle, 0.5), reach)

    def _around(self, reach: int) -> dict[int, float]:
        """For every bin, in order, the readings up to `reach` bins away from it."""
        first, last = min(self.bins) - reach, max(self.bins) + reach
        sums = list(
            accumulate((self.bins.get(i, 0.0) for i in range(first, last + 1)), initial=0.0)
        )
        return {
            i: sums[min(last, i + reach) - first + 1] - sums[max(first, i - reach) - first]
            for i in range(first, last + 1)
        }

    def _is_still_base(self, base: int, around: Mapping[int, float], reach: int) -> bool:
        """Whether the bin that was the base is common still, and nothing much faster is."""
        least = COMMON * self.total
        much_faster = (i for i in around if (base - i) * STEP > NEAR and around[i] >= least)
        return around.get(base, 0.0) >= least and not any(
            _is_peak(around, index, reach) for index in much_faster
        )


def _quantile(bins: Mapping[int, float], q: float) -> int:
    left = q * sum(bins.values())
    for index in sorted(bins):
        left -= bins[index]
        if left <= 0:
            return index
    return max(bins)


def _is_peak(around: Mapping[int, float], index: int, reach: int) -> bool:
    """Whether no window that overlaps this one holds more; of equal ones the first."""
    value = around[index]
    before = max(around.get(i, 0.0) for i in range(index - reach, index))
    after = max(around.get(i, 0.0) for i in range(index, index + reach + 1))
    return value > before and value >= after


def _state(index: int, reach: int) -> State:
    return State(_reading(index), _edge(index - reach), _edge(index + reach + 1))


def _bin(reading_ns: float) -> int:
    return math.floor(math.log(max(reading_ns, 1.0)) / STEP)


def _edge(index: int) -> float:
    return math.exp(index * STEP)


def _reading(index: int) -> float:
    return math.exp((index + 0.5) * STEP)


def _weighted(bins: Mapping[int, float], weight: float) -> dict[int, float]:
    total = sum(bins.values())
    return {index: weight * value / total for index, value in bins.items()} if total else {}


@dataclass(slots=True)
class Known:
    """Histograms of the compute and of the stream probe, of earlier runs on this machine.

    As in a gate, `host` is the processor's beside a GPU.
    """

    compute: Histogram = field(default_factory=Histogram)
    stream: Histogram = field(default_factory=Histogram)
    host: Histogram = field(default_factory=Histogram)

    def of(self, part: Part) -> Histogram:
        """The histogram of a probe."""
        return {"compute": self.compute, "stream": self.stream, "host": self.host}[part]


class Readings:
    """The readings of a run beside what was known before it, and the gate that they make."""

    def __init__(self, known: Known | None = None) -> None:
        self.known = known or Known()
        self.now = Known()
        self._fresh = Known()
        self._gate = self._bases()

    @property
    def gate(self) -> Gate:
        """The states in which samples count, as of the last update."""
        return self._gate

    def add(
        self,
        probe: Probe,
        marks: Marks,
        stream_ns: Sequence[int] = (),
        host_marks: Marks = (),
    ) -> None:
        """Add the readings of a burst: those between calls, and of the stream probe around.

        `host_marks` are of the processor's compute probe, where the others are of a GPU.
        """
        self.recall(probe, marks, stream_ns, host_marks)
        _count(self._fresh, probe, marks, stream_ns, host_marks)

    def recall(
        self,
        probe: Probe,
        marks: Marks,
        stream_ns: Sequence[int] = (),
        host_marks: Marks = (),
    ) -> None:
        """Add readings of a resumed run without counting them again in the saved history."""
        _count(self.now, probe, marks, stream_ns, host_marks)

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

    def after(self) -> Known:
        """The histograms of the machine after this run."""
        return Known(
            *(
                _based(self._fresh.of(part).after(self.known.of(part)), getattr(self.gate, part))
                for part in PARTS
            )
        )

    def _bases(self) -> Gate:
        return Gate(*map(self._base, PARTS))

    def _base(self, part: Part) -> State | None:
        now, known = self.now.of(part), self.known.of(part)
        if now.total < MIN_READINGS and not known.bins:
            return None
        return now.after(known).base(REACH[part])


def _based(histogram: Histogram, state: State | None) -> Histogram:
    """The histogram with this state as its base, where there is one."""
    return replace(histogram, base_ns=state.centre_ns) if state else histogram


def _shift(known: Histogram, now: State | None) -> float | None:
    return now.centre_ns / known.base_ns if known.base_ns and now else None


def _count(
    known: Known, probe: Probe, marks: Marks, stream_ns: Sequence[int], host_marks: Marks
) -> None:
    for _, reading in marks:
        known.of(probe).add(reading)
    for reading in stream_ns:
        known.stream.add(reading)
    for _, reading in host_marks:
        known.host.add(reading)


def _near(one: State | None, other: State | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(math.log(one.centre_ns / other.centre_ns)) <= 1.5 * STEP
