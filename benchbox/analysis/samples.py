"""Samples of bursts: latencies with the evidence of disturbances, and the rule for quiet ones."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress, pairwise
from statistics import median
from typing import Literal

from benchbox.analysis import disturbances
from benchbox.analysis.quantities import Change, Count, Flag, Nanoseconds, Reading, Whole
from benchbox.analysis.states import Gate, Marks, Probe, State

NS = 1e-9
OPEN = Gate()
# In a row; at a rate; in a row, to be set beside those of the same case at a rate.
Kind = Literal["ordinary", "paced", "beside"]
PAIRED = 1 / 3  # of the calls of a round, quiet, for it to count in a ratio
QUEUED = 0.02  # of a burst, spent by threads of a pool waiting for a processor: twice the precision


@dataclass(frozen=True, slots=True)
class Burst:
    """Calls of one case in a row: latencies in ns, with the evidence of disturbances.

    `session` counts agent processes, `round` passes over the cases; `switches` are the involuntary
    context switches in each call, None where the system does not count them. `marks` are readings
    of a sentinel, each with the number of calls before it, and `probe` says of which; `stream_ns`
    and `refill_ns` are those of the stream and the refill sentinel before and after the burst,
    `probed_ns` what all of them took.
    `pool` says whether several threads worked, `seen` what else the system tells of the burst, and
    `setting` what of the device was set otherwise than when the run began, and `tags` the causes of
    disturbance found in all of it. Between calls that come at a rate the
    processor slept, for `slept_ns` together.

    On a GPU `spans_ns` has for each call what one like it took there by the GPU's own clock,
    `enqueues_ns` what the host took to launch that, `copies_ns` calls with the copies of inputs and
    outputs; `unheld` counts the spans with gaps in them, as launching them took too long, and
    `cold` says whether the GPU's cache was flushed before each. `marks` and `stream_ns` are then
    the GPU's, and `host_marks` those of the compute sentinel of the processor that launches.
    """

    session: Count
    round: Count
    latencies_ns: tuple[Nanoseconds, ...]
    switches: tuple[Whole, ...] | None = None
    marks: tuple[tuple[Whole, Count], ...] = ()
    probe: Probe = "compute"
    stream_ns: tuple[Count, ...] = ()
    refill_ns: tuple[Count, ...] = ()
    pool: Flag = False
    probed_ns: Count = 0
    seen: Mapping[str, Reading] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    kind: Kind = "ordinary"
    slept_ns: Change = 0
    setting: Mapping[str, str] = field(default_factory=dict)
    spans_ns: tuple[Nanoseconds, ...] = ()
    enqueues_ns: tuple[Count, ...] = ()
    copies_ns: tuple[Nanoseconds, ...] = ()
    unheld: Count = 0
    cold: Flag = False
    host_marks: tuple[tuple[Whole, Count], ...] = ()

    def __post_init__(self) -> None:
        """Raise ValueError with the name of a field that does not fit the calls."""
        calls = len(self.latencies_ns)
        if not calls:
            raise ValueError("latencies_ns")
        if self.switches is not None and (len(self.switches) != calls or min(self.switches) < 0):
            raise ValueError("switches")
        if self.marks and not _in_order(self.marks, calls):
            raise ValueError("marks")
        if self.host_marks and not _in_order(self.host_marks, calls):
            raise ValueError("host_marks")
        if self.spans_ns and len(self.spans_ns) != calls:
            raise ValueError("spans_ns")
        if self.unheld > len(self.spans_ns):
            raise ValueError("unheld")

    def quiet_ns(self, gate: Gate = OPEN, *, paired: bool = False) -> list[int]:
        """The latencies of the calls that nothing is known to have disturbed.

        No context switch in it or in the call before it, the sentinels on both sides in the gate's
        states. Threads of a pool that wake up and then wait for a processor are not switched; a
        burst in which they did is none. `paired` calls stand only beside others of their round: the
        level that the stream sentinel shows is then the same for both.
        """
        return list(compress(self.latencies_ns, self.quiet(gate, paired=paired)))

    def quiet(self, gate: Gate = OPEN, *, paired: bool = False) -> list[bool]:
        """For each call whether it is quiet."""
        if self.waited():
            return [False] * len(self.latencies_ns)
        steady = self.steady(gate, paired=paired)
        return [a and b for a, b in zip(steady, self.undisturbed(), strict=True)]

    def undisturbed(self) -> list[bool]:
        """For each call whether neither it nor the call before it was preempted.

        A call after a preempted one is 4% to 28% slow: others have used its caches.
        """
        counted = self.switches or (0,) * len(self.latencies_ns)
        return [now == before == 0 for before, now in pairwise((0, *counted))]

    def steady(self, gate: Gate, *, paired: bool = False, host: bool = True) -> list[bool]:
        """For each call whether the sentinels beside it were in the gate's states.

        Without the `host` only those of the GPU count: what it does by itself no processor slows.
        """
        level = paired or self._level(gate)
        steady = [level] * len(self.latencies_ns)
        watched = [(gate.of(self.probe), self.marks)]
        watched += [(gate.host, self.host_marks)] if host else []
        for state, marks in watched:
            for first, last in _out_of(state, marks):
                steady[first:last] = [False] * (last - first)
        return steady

    def waited(self) -> bool:
        """Whether threads of a pool waited for a processor."""
        in_a_row = self.kind != "paced"  # else threads wake up for every call
        queued_ns = self.seen.get("queued_ns", 0)
        return self.pool and in_a_row and queued_ns > QUEUED * self.duration_ns

    def _level(self, gate: Gate) -> bool:
        """Whether the stream sentinel was in the gate's state.

        The level that it shows lasts for seconds, and what disturbs a reading only adds to it, so
        that the lower of two counts.
        """
        return not gate.stream or not self.stream_ns or gate.stream.holds(min(self.stream_ns))

    @property
    def duration_ns(self) -> int:
        """The time of all calls, those of spans and with copies too, and of the sentinels."""
        return sum(map(sum, self._series)) + self.probed_ns

    @property
    def _series(self) -> tuple[tuple[int, ...], ...]:
        return self.latencies_ns, self.spans_ns, self.copies_ns

    def tagged(
        self, gate: Gate, top_khz: float | None, top_gpu_mhz: float | None = None
    ) -> "Burst":
        """The burst with the tags of its disturbances, by the run's highest clocks too."""
        own = _sides(gate.of(self.probe), [reading for _, reading in self.marks])
        own |= _sides(gate.stream, sorted(self.stream_ns)[:1])
        host = _sides(gate.host, [reading for _, reading in self.host_marks])
        on_gpu = bool(self.spans_ns)
        found = disturbances.tags(
            self.seen,
            (self.duration_ns + self.slept_ns) * NS,
            None if self.switches is None else sum(self.switches),
            slow="slow" in (host if on_gpu else own),
            fast="fast" in (host if on_gpu else own),
            top_khz=top_khz,
            setting=self.setting,
            gpu_slow=on_gpu and "slow" in own,
            gpu_fast=on_gpu and "fast" in own,
            top_gpu_mhz=top_gpu_mhz,
            unheld=self.unheld > 0,
        )
        return self if found == self.tags else replace(self, tags=found)


def _in_order(marks: Marks, calls: int) -> bool:
    """Whether readings are of moments between so many calls, one after the other."""
    before = 0
    for after, _ in marks:
        if after < before:
            return False
        before = after
    return before <= calls


def _out_of(state: State | None, marks: Marks) -> Iterator[tuple[int, int]]:
    """Yield the ranges of calls with a reading beside them that is not of this state."""
    if state is None:
        return
    inside = state.holds
    for (first, before), (last, after) in pairwise(marks):
        if not (inside(before) and inside(after)):
            yield first, last


def _sides(state: State | None, readings: Iterable[int]) -> set[Literal["slow", "fast"]]:
    """The sides of a state on which there are readings."""
    if state is None:
        return set()
    outside = [reading for reading in readings if not state.holds(reading)]
    return {"slow" if reading > state.high_ns else "fast" for reading in outside}


def tagged(bursts: Sequence[Burst], gate: Gate) -> list[Burst]:
    """The bursts with the tags of their disturbances."""
    tops = (
        max((burst.seen.get(name, 0.0) for burst in bursts), default=0.0) or None
        for name in ("clock_khz", "gpu_sm_clock_mhz")
    )
    top_khz, top_gpu_mhz = tops
    return [burst.tagged(gate, top_khz, top_gpu_mhz) for burst in bursts]


def tag_shares(bursts: Sequence[Burst], gate: Gate) -> dict[str, float]:
    """The share of the bursts that bear each tag."""
    counts = Counter(tag for burst in tagged(bursts, gate) for tag in burst.tags)
    return {tag: count / len(bursts) for tag, count in counts.items()}


def figures(bursts: Sequence[Burst]) -> list[Burst]:
    """The bursts that the figures of a case come from."""
    return [burst for burst in bursts if burst.kind != "beside"]


def call_count(bursts: Sequence[Burst]) -> int:
    """The calls that percentiles come from: those of the figures, disturbed ones too."""
    return sum(len(burst.latencies_ns) for burst in figures(bursts))


def round_medians(
    bursts: Sequence[Burst], gate: Gate = OPEN, *, paired: bool = False
) -> dict[tuple[int, int], float]:
    """The median of the quiet samples of each round, in seconds, by (session, round).

    `paired` ones are for ratios alone. Of two networks in mirrored rounds, the ratio took twice as
    many rounds and half the time to be as precise without the level of the stream sentinel, which
    lasts for seconds and so for a whole round, and was the same within its interval. With a quiet
    call or two among many a round is still a matter of chance; a third of them has to be quiet.
    """
    rounds: dict[tuple[int, int], list[int]] = {}
    calls: Counter[tuple[int, int]] = Counter()
    for burst in figures(bursts):
        key = (burst.session, burst.round)
        rounds.setdefault(key, []).extend(burst.quiet_ns(gate, paired=paired))
        calls[key] += len(burst.latencies_ns)
    fewest = PAIRED if paired else 0.0
    return {
        key: median(values) * NS
        for key, values in rounds.items()
        if values and len(values) >= fewest * calls[key]
    }
