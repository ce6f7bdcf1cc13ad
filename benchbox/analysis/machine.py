"""Machine of a run by its sentinels: usual states, levels by round, and slopes of graphs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchbox.analysis import adjusted, stats
from benchbox.analysis.adjusted import UNKNOWN, Z95, Adjusted, Adjustment, RunCenter, Slopes
from benchbox.analysis.levels import WINDOW, MemoryLevels, Usual
from benchbox.analysis.quantities import Amount
from benchbox.analysis.samples import Burst
from benchbox.analysis.segments import Stretch, stretches
from benchbox.analysis.states import Bases, Gate, Readings, State

# Figures are set back to what is usual, so that those of several runs can be compared, where that
# is near, as ln of a reading, and adds less to the half-width than it is worth.
NEAR = 0.08, 0.3, 1.0  # of the compute, the stream and the refill sentinel
WORTH = 0.03
# What is usual stays until it is so far from the middle of the last runs, as a usual graph would
# feel it: it does not wander, and one bad minute neither becomes it nor stays it.
STALE = 0.05
FRESH = 1.1  # times the readings of the last update of what is usual, until the next one
RECENT = 5  # runs that tell what is usual, and what the processes of the next differ by
CENTERS = 8  # runs of a graph that are kept
# Slopes change with the neighbours' kind of work: what is known of one is never surer than this.
SUREST = 0.05, 0.03, 0.01
STEEPEST = 2.0  # no graph follows a sentinel more
ADJUSTED = ("x86_64", "AMD64")  # where adjusting was tried, as platform.machine() names them
Variance = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Known:
    """What earlier runs learned of a machine: usual readings, and slopes by the graph's sha256.

    `bases` make the gate, `usual` is what figures are set back to, `seen` what was usual in each of
    the last runs. Between the processes of these latencies differed by `variances`, ratios by
    `ratio_variances`; `centers` has the last runs of each graph.
    """

    bases: Bases = field(default_factory=Bases)
    usual: Usual | None = None
    slopes: Mapping[str, Slopes] = field(default_factory=dict)
    variances: tuple[Amount, ...] = ()
    ratio_variances: tuple[Amount, ...] = ()
    centers: Mapping[str, tuple[RunCenter, ...]] = field(default_factory=dict)
    seen: tuple[Usual, ...] = ()


class Machine:
    """What a run knows of its machine, and the cases set back to its usual state.

    Where it `adjusts`, figures come from all undisturbed calls, adjusted; else from the calls in
    the states of the gate.
    """

    def __init__(self, known: Known | None = None, *, adjusts: bool = False) -> None:
        self.known = known or Known()
        self.adjusts = adjusts
        self._added = self._updated = 0  # readings, and those of the last update
        self._readings = Readings(self.known.bases)
        self._levels = MemoryLevels()
        self.usual: Usual | None = None  # what cases are set back to, once there are readings
        self._kept = self.known.usual
        self._now: Usual | None = None  # what is usual in this run
        self._graphs: dict[str, Adjusted] = {}
        self._cases: dict[str, Variance] = {}
        self._ratios: dict[str, Variance] = {}
        # By identity, with the bursts, so that none gets the identity of one that has gone.
        self._known_stretches: dict[int, tuple[Burst, Sequence[Stretch]]] = {}

    @property
    def gate(self) -> Gate:
        """The states in which samples count, as of the last update."""
        return self._readings.gate

    @property
    def tolerated(self) -> Gate:
        """The states in which no burst is slow or fast: those that are adjusted, or the gate."""
        if self.usual is None:
            return self.gate
        centre_ns, reach = self.usual.compute_ns, math.exp(WINDOW)
        return Gate(State(centre_ns, centre_ns / reach, centre_ns * reach))

    @property
    def shift(self) -> float | None:
        """The state that counts over the one of earlier runs; above 1 it is slower.

        Of adjusted cases it is what the middle one's slopes say that it does to latencies.
        """
        if self.usual is None or self.known.usual is None:
            return self._readings.shift
        apart = self.known.usual.apart(self.usual)
        each = [case.slopes for case in self._graphs.values()] or [UNKNOWN]
        return math.exp(median(adjusted.moved(slopes, apart) for slopes in each))

    @property
    def host_shift(self) -> float | None:
        """The same of the processor beside a GPU."""
        return self._readings.host_shift

    def add(self, burst: Burst) -> None:
        """Add the readings of a burst."""
        self._added += len(burst.marks)
        self._readings.add(burst.probe, burst.marks, burst.stream_ns, burst.host_marks)
        self._levels.add(burst)

    @property
    def is_due(self) -> bool:
        """Whether there are enough new readings for an update to tell something new."""
        return self._added >= FRESH * self._updated

    def update(self) -> bool:
        """Find the usual states anew; return whether the gate has moved."""
        self._updated = self._added
        has_moved = self._readings.update()
        if self.adjusts and (state := self.gate.compute):
            self._find_usual(state.centre_ns)
        return has_moved

    def _find_usual(self, now_ns: float) -> None:
        before, now = self.known.usual, self._levels.usual(now_ns)
        if now is None:
            return
        earlier = self.known.seen or ((before,) if before else ())
        middle = _middle((*earlier, now))
        self._kept = before if before and _felt(before.apart(middle)) <= STALE else middle
        self._now = now
        is_worth = _is_near(self._kept, now) and self._cost(self._kept, now) <= WORTH
        self.usual = self._kept if is_worth else now

    def _cost(self, kept: Usual, now: Usual) -> float:
        """What setting figures back from now to what was usual adds to a half-width."""
        each = [case.slopes for case in self._graphs.values()] or [UNKNOWN]
        return median(Z95 * adjusted.error_of(slopes, kept.apart(now)) for slopes in each)

    def adjust(self, key: str, sha256: str, bursts: Sequence[Burst]) -> Adjusted | None:
        """A case adjusted by the slopes of its graph; None where nothing is."""
        usual = self.usual
        if usual is None:
            return None
        earlier = self.known.centers.get(sha256, ())
        prior, known = self._prior(sha256), self._stretches
        found = adjusted.adjust(bursts, self._levels, usual, prior, earlier, known)
        self._graphs[sha256] = found
        if variance := adjusted.process_variance(found.rounds):
            self._cases[key] = variance
        return found

    def _stretches(self, burst: Burst) -> Sequence[Stretch]:
        """The stretches of a burst, which is asked for again and again as others come."""
        if id(burst) not in self._known_stretches:
            self._known_stretches[id(burst)] = burst, stretches(burst)
        return self._known_stretches[id(burst)][1]

    def _prior(self, sha256: str) -> Slopes:
        return _unsure(self.known.slopes.get(sha256, UNKNOWN))

    def compare(self, key: str, case: Adjusted, reference: Adjusted) -> None:
        """Learn from a case and its reference what ratios differ by between processes."""
        shared = case.rounds.keys() & reference.rounds.keys()
        ratios = {each: case.rounds[each] / reference.rounds[each] for each in shared}
        if variance := adjusted.process_variance(ratios):
            self._ratios[key] = variance

    @property
    def tau(self) -> float:
        """The spread of latencies between processes."""
        return adjusted.between(self._cases.values(), self.known.variances)

    @property
    def ratio_tau(self) -> float:
        """The spread of ratios between processes."""
        return adjusted.between(self._ratios.values(), self.known.ratio_variances)

    def adjustment(self, case: Adjusted) -> Adjustment | None:
        """What a record tells of an adjusted figure; None where there are too few rounds."""
        usual, found = self.usual, adjusted.interval(case, self.tau)
        if usual is None or found is None:
            return None
        return Adjustment(
            case.slopes,
            usual.compute_ns,
            usual.stream_ns,
            WINDOW,
            case.shift,
            self.tau,
            found[1],
            usual.refill_ns,
        )

    def after(self) -> Known:
        """What is known of the machine after this run; the graphs of this run come last."""
        cases = {k: case for k, case in self._graphs.items() if k and case.rounds}
        learned = {k: v.learned for k, v in cases.items() if v.learned != self._prior(k)}
        earlier = {k: v for k, v in self.known.slopes.items() if k not in learned}
        before = {k: v for k, v in self.known.centers.items() if k not in cases}
        centers = {
            k: (*self.known.centers.get(k, ()), adjusted.center(case, self.usual))[-CENTERS:]
            for k, case in cases.items()
            if self.usual and len(case.rounds) >= stats.MIN_ROUNDS
        }
        return Known(
            self._readings.after(),
            self._kept,
            {**earlier, **learned},
            _with(self.known.variances, self._cases),
            _with(self.known.ratio_variances, self._ratios),
            {**before, **centers},
            (*self.known.seen, *([self._now] if self._now else []))[-RECENT:],
        )


def _middle(seen: Sequence[Usual]) -> Usual:
    """The middle reading of each sentinel, of an even number the faster one."""

    def middle(readings: Iterable[float | None]) -> float | None:
        known = sorted(each for each in readings if each)
        return known[(len(known) - 1) // 2] if known else None

    compute_ns, stream_ns = (
        middle(getattr(each, name) for each in seen) or 0 for name in ("compute_ns", "stream_ns")
    )
    return Usual(compute_ns, stream_ns, middle(each.refill_ns for each in seen))


def _felt(apart: Sequence[float]) -> float:
    """What it does to the latency of a usual graph when sentinels read so far apart, as ln."""
    return sum(abs(slope * each) for slope, each in zip(UNKNOWN.values, apart, strict=True))


def _is_near(before: Usual, now: Usual) -> bool:
    pairs = zip(before.apart(now), NEAR, strict=True)
    return all(abs(apart) <= near for apart, near in pairs)


def _with(before: tuple[float, ...], cases: Mapping[str, Variance]) -> tuple[float, ...]:
    """The variances of the last runs, this one's too."""
    own = adjusted.excess(cases.values())
    return before if own is None else (*before, own)[-RECENT:]


def _unsure(slopes: Slopes) -> Slopes:
    """Slopes of earlier runs as far as they are believed."""
    found = []
    for each in zip(slopes.values, slopes.errors, SUREST, UNKNOWN.errors, strict=True):
        value, error, surest, unknown = each
        found += [min(max(value, -STEEPEST), STEEPEST), min(max(error, surest), unknown)]
    return Slopes(*found)
