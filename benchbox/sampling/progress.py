"""Progress of a case: its samples so far, its warm-up, and how it ended."""

from dataclasses import dataclass, field

from benchbox.analysis import samples
from benchbox.analysis.adjusted import Adjusted, Rounds
from benchbox.analysis.levels import Usual
from benchbox.analysis.machine import Machine
from benchbox.analysis.samples import OPEN, Burst
from benchbox.analysis.states import Gate

WARM_BURSTS = 10  # a case that still gets faster after this many bursts is timed all the same
WARM_GAIN = 0.02  # a burst this much faster than the best before it: not warm yet
WARM_STILL = 1  # burst in a row that must not be faster


@dataclass(frozen=True, slots=True)
class Subject:
    """A case by key, and the key of the case that it is compared with (its own for a reference).

    The stream sentinel watches a case that is memory-bound. `sha256` is that of its graph.
    """

    key: str
    reference: str
    memory_bound: bool = False
    sha256: str = ""


@dataclass(slots=True)
class Progress:
    """A case being sampled: its bursts, whether it is warm, and how it ended.

    `bursts` include those of earlier runs. `rounds` are the medians that p50 comes from, `paired`
    those for a ratio in a comparison. `adjusted` is the case set back to the machine's usual state,
    where it is, by slopes that were `fitted` when it had so many bursts.
    """

    subject: Subject
    latency_s: float = 0.001
    bursts: list[Burst] = field(default_factory=list)
    rounds: Rounds = field(default_factory=dict)
    paired: Rounds = field(default_factory=dict)
    adjusted: Adjusted | None = None
    warmup_calls: int = 0
    warm_medians: list[float] = field(default_factory=list)
    resting: bool = False
    finished: bool = False
    failure: str = ""
    fitted: int = 0
    _usual: Usual | None = None  # what it was set back to
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

    def judge(self, machine: Machine, *, paired: bool = False, refit: bool = True) -> None:
        """Take the medians of new rounds, or of all where the gate has changed.

        Slopes are fitted anew where asked.
        """
        if machine.gate != self._gate:
            self.paired, self._gate, self._judged = {}, machine.gate, 0
            if machine.usual is None:  # else slopes say what states make of a latency
                self.rounds = {}
        fresh = self.bursts[self._judged :]
        if machine.usual is None:
            self.rounds = {**self.rounds, **samples.round_medians(fresh, machine.gate)}
        elif refit or not self.fitted:
            self._adjust(machine)
        if paired:
            medians = samples.round_medians(fresh, machine.gate, paired=True)
            self.paired = {**self.paired, **medians}
        self._judged = len(self.bursts)

    def is_fitted(self, machine: Machine) -> bool:
        """Whether `adjusted` is by all bursts, and by what is usual now."""
        return self.fitted == len(self.bursts) > 0 and self._usual == machine.usual

    def _adjust(self, machine: Machine) -> None:
        subject = self.subject
        self.adjusted = machine.adjust(subject.key, subject.sha256, self.bursts)
        self.rounds = self.adjusted.rounds if self.adjusted else {}
        self.fitted, self._usual = len(self.bursts), machine.usual
