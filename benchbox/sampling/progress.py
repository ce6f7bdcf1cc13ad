"""Progress of a case: its samples so far, its warm-up, and how it ended."""

from dataclasses import dataclass, field

from benchbox.analysis import samples
from benchbox.analysis.samples import OPEN, Burst
from benchbox.analysis.states import Gate

WARM_BURSTS = 10  # a case that still gets faster after this many bursts is timed all the same
WARM_GAIN = 0.02  # a burst this much faster than the best before it: not warm yet
WARM_STILL = 2  # bursts in a row that must not be faster


@dataclass(frozen=True, slots=True)
class Subject:
    """A case by key, and the key of the case that it is compared with (its own for a reference).

    The stream sentinel watches a case that is memory-bound.
    """

    key: str
    reference: str
    memory_bound: bool = False


@dataclass(slots=True)
class Progress:
    """A case being sampled: its bursts, whether it is warm, and how it ended.

    `bursts` include those of earlier runs. `rounds` are the medians that p50 comes from, `paired`
    those for a ratio.
    """

    subject: Subject
    latency_s: float = 0.001
    bursts: list[Burst] = field(default_factory=list)
    rounds: dict[tuple[int, int], float] = field(default_factory=dict)
    paired: dict[tuple[int, int], float] = field(default_factory=dict)
    warmup_calls: int = 0
    warm_medians: list[float] = field(default_factory=list)
    resting: bool = False
    finished: bool = False
    failure: str = ""
    _gate: Gate = OPEN
    _judged: int = 0

    @property
    def warm(self) -> bool:
        """Whether the last bursts have stopped getting faster."""
        medians = self.warm_medians
        if len(medians) <= WARM_STILL:
            return False
        best = min(medians[:-WARM_STILL])
        still = all(value >= best * (1 - WARM_GAIN) for value in medians[-WARM_STILL:])
        return still or len(medians) >= WARM_BURSTS

    def judge(self, gate: Gate, *, paired: bool = False) -> None:
        """Take the medians of new rounds, or of all where the gate has changed."""
        if gate != self._gate:
            self.rounds.clear()
            self.paired.clear()
            self._gate, self._judged = gate, 0
        fresh = self.bursts[self._judged :]
        self.rounds |= samples.round_medians(fresh, gate)
        if paired:
            self.paired |= samples.round_medians(fresh, gate, paired=True)
        self._judged = len(self.bursts)
