"""Adjusted latency: each call set back to the machine's usual speed by slopes of its own graph.

A shared machine has no quiet minutes to choose from, but its sentinels tell how fast it is: the
compute sentinel between calls, and the levels of the stream and of the refill sentinel over some
seconds. How much a graph follows each of them is fitted to its own calls,

    ln t = a + clock x + memory y + refill z,    x = ln(reading / usual reading), y and z of levels,

and a latency is the median over rounds of exp(ln t - clock x - memory y - refill z). Calls whose
compute readings are further than WINDOW from the usual one do not count. The half-width of the
interval joins three parts: the scatter of rounds, the error of the slopes times the shift, and the
spread between processes, which more calls in the same process do not lower.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, variance
from typing import TYPE_CHECKING

from benchbox.analysis import stats
from benchbox.analysis.levels import MemoryLevels, PerSentinel, Round, Usual
from benchbox.analysis.quantities import Amount, Number, Ratio, Share
from benchbox.analysis.samples import Burst
from benchbox.analysis.segments import Segment, Stretch, segments, stretches
from benchbox.analysis.stats import Interval

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

Rounds = Mapping[Round, float]  # the latency of each, in seconds

FEWEST_SEGMENTS = 6
FULL_SEGMENT, FULL_WEIGHT = 20, 10.0  # calls; beyond them a segment's median gets no better
HUBER = 1.345  # standard deviations: 95% efficient where nothing is an outlier
LEAST_SD = 0.003
ITERATIONS = 12
CONVERGED = 1e-4  # of a slope
RUN_SD = 0.012  # ln of a latency, from one run to the next in one state of the machine
UNSURE = 1e-9  # precision of what nothing is known of
Z95 = 1.96
WIDEST = 5.0  # ln of an interval's end over the middle
# The relative spread between processes before any run, and how many runs that is worth: by three
# processes it is known to within a factor of three only.
UNKNOWN_TAU, UNKNOWN_RUNS = 0.0075, 2
MOST_VARIANCE = 0.02**2  # that an earlier run counts
CHI2_MEDIAN = 0.693  # of two degrees of freedom, over their number: that of a variance of three


@dataclass(frozen=True, slots=True)
class Slopes:
    """How much of a change of the sentinels a graph's latency follows, with standard errors."""

    clock: Number
    clock_se: Amount
    memory: Number
    memory_se: Amount
    refill: Number = 0.0
    refill_se: Amount = 0.0

    @property
    def values(self) -> PerSentinel:
        """The slopes alone."""
        return self.clock, self.memory, self.refill

    @property
    def errors(self) -> PerSentinel:
        """Their standard errors."""
        return self.clock_se, self.memory_se, self.refill_se


# Nine graphs of 0.7 to 43 ms had 0.2 to 0.9, 0.2 to 0.4 and 0.05 to 0.28 on an Intel processor;
# twelve on an AMD EPYC 0.8 to 1.2 by the clock.
UNKNOWN = Slopes(0.75, 0.25, 0.2, 0.15, 0.14, 0.1)


@dataclass(frozen=True, slots=True)
class RunCenter:
    """A graph in one run: its latency, not adjusted, and the readings of the sentinels then."""

    latency_s: Ratio
    readings: Usual


def fit(
    found: Sequence[Segment],
    prior: Slopes = UNKNOWN,
    earlier: Sequence[tuple[float, PerSentinel]] = (),
) -> tuple[Slopes, Slopes]:
    """The slopes of a case by Huber's regression, drawn towards the prior; needs six segments.

    `earlier` has ln of the graph's latency in other runs, and the states then: what a run's own
    minute does not show, as it stayed the same, may differ from one run to the next. The second are
    the slopes without them.
    """
    if len(found) < FEWEST_SEGMENTS:
        return prior, prior
    import numpy as np  # here, as lists of runs take a fifth less time without it

    # An intercept of this run, and one that it shares with the others but for their spread.
    rows = [(1.0, 0.0, *each.state) for each in found]
    rows += [(0.0, 1.0, *state) for _, state in earlier]
    x = np.array([*rows, (1.0, -1.0, 0.0, 0.0, 0.0)])
    y = np.array([*(each.timed.middle for each in found), *(ln for ln, _ in earlier), 0.0])
    own = np.arange(len(y)) < len(found)
    sizes = np.ones(len(y))
    sizes[own] = [min(len(each.timed.latencies), FULL_SEGMENT) / FULL_WEIGHT for each in found]
    means = np.array((0.0, 0.0, *prior.values))
    precision = np.diag((0.0, UNSURE, *(error**-2 for error in prior.errors)))
    weights, scale, before = np.ones(len(y)), 0.02, means
    for _ in range(ITERATIONS):
        sd = np.where(own, scale, RUN_SD)
        weighted = x * (weights * sizes / sd**2)[:, None]
        information = weighted.T @ x + precision
        beta = np.linalg.solve(information, weighted.T @ y + precision @ means)
        apart = np.abs(y - x @ beta)
        scale = max(stats.SD_OF_MAD * stats.middle(apart[own]), LEAST_SD)
        sd = np.where(own, scale, RUN_SD)
        weights = np.minimum(1.0, HUBER * sd / np.maximum(apart, 1e-12))
        if np.abs(beta - before)[2:].max() <= CONVERGED:
            break
        before = beta
    weighted[~own] = 0.0
    alone = weighted.T @ x + precision
    return _slopes(beta, information), _slopes(
        np.linalg.solve(alone, weighted.T @ y + precision @ means), alone
    )


def _slopes(beta: "NDArray[float64]", information: "NDArray[float64]") -> Slopes:
    import numpy as np

    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    return Slopes(*(float(v) for pair in zip(beta[2:], errors[2:], strict=True) for v in pair))


@dataclass(frozen=True, slots=True)
class Adjusted:
    """A case set back to the machine's usual state: its latency in each round, and by how much.

    `state` is the one in the middle of its segments; `calls` counts the calls in them. `learned`
    are the slopes without what other runs say of them.
    """

    slopes: Slopes
    rounds: Rounds
    state: PerSentinel = (0.0, 0.0, 0.0)
    calls: int = 0
    learned: Slopes = UNKNOWN

    @property
    def shift(self) -> float:
        """What the usual state changes: ln of the latency as it was over the adjusted one."""
        return moved(self.slopes, self.state)


def adjust(
    bursts: Sequence[Burst],
    levels: MemoryLevels,
    usual: Usual,
    prior: Slopes = UNKNOWN,
    earlier: Sequence[RunCenter] = (),
    stretches_of: Callable[[Burst], Sequence[Stretch]] = stretches,
) -> Adjusted:
    """Fit a case's slopes to its bursts, and adjust its calls by them."""
    found = segments(bursts, levels, usual, stretches_of)
    if not found:
        return Adjusted(prior, {}, learned=prior)
    runs = [(math.log(run.latency_s), usual.apart(run.readings)) for run in earlier]
    slopes, learned = fit(found, prior, runs)
    clock, memory, refill = (median(each) for each in zip(*(s.state for s in found), strict=True))
    calls = sum(len(each.timed.latencies) for each in found)
    return Adjusted(slopes, _rounds(found, slopes), (clock, memory, refill), calls, learned)


def center(case: Adjusted, usual: Usual) -> RunCenter:
    """What a run found of a graph, for the fits of later ones; the case has rounds."""
    clock, memory, refill = case.state
    readings = Usual(
        usual.compute_ns * math.exp(clock),
        usual.stream_ns * math.exp(memory),
        usual.refill_ns * math.exp(refill) if usual.refill_ns else None,
    )
    return RunCenter(median(case.rounds.values()) * math.exp(case.shift), readings)


def moved(slopes: Slopes, state: PerSentinel) -> float:
    """Ln of a latency in a state over the one in the usual state."""
    clock, memory, refill = state
    return slopes.clock * clock + slopes.memory * memory + slopes.refill * refill


def _rounds(found: Sequence[Segment], slopes: Slopes) -> Rounds:
    """The median of each round's calls, adjusted, in seconds."""
    rounds: dict[Round, list[float]] = {}
    for each in found:
        shift = moved(slopes, each.state)
        rounds.setdefault(each.round, []).extend([value - shift for value in each.timed.latencies])
    return {key: math.exp(median(values)) for key, values in rounds.items()}


@dataclass(frozen=True, slots=True)
class Widths:
    """The parts of the relative half-width of a 95% interval.

    `scatter` is that of rounds, `slopes` comes from the error of the slopes and `processes` from
    what processes differ by.
    """

    scatter: Amount
    slopes: Amount
    processes: Amount

    @property
    def total(self) -> float:
        """The half-width."""
        return math.hypot(self.scatter, self.slopes, self.processes)

    @property
    def within(self) -> float:
        """What more rounds in the same processes would lower."""
        return math.hypot(self.scatter, self.slopes)


def interval(case: Adjusted, tau: float) -> tuple[Interval, Widths] | None:
    """The adjusted p50 in seconds with its 95% interval; None with too few rounds for one.

    `tau` is the spread `between` processes.
    """
    found = stats.median_interval(list(case.rounds.values()))
    return _widened(found, _slopes_error(case), case.rounds, tau) if found else None


def ratio(case: Adjusted, reference: Adjusted, tau: float) -> tuple[Interval, Widths] | None:
    """The ratio to a reference, from the rounds that they share; `tau` is that of ratios."""
    found = stats.ratio_interval(case.rounds, reference.rounds)
    if found is None:
        return None
    error = math.hypot(_slopes_error(case), _slopes_error(reference))
    return _widened(found, error, case.rounds.keys() & reference.rounds.keys(), tau)


def _slopes_error(case: Adjusted) -> float:
    """The standard error of the shift."""
    return error_of(case.slopes, case.state)


def error_of(slopes: Slopes, state: PerSentinel) -> float:
    """The standard error of what slopes say of a state."""
    return math.hypot(*(e * part for e, part in zip(slopes.errors, state, strict=True)))


def _widened(
    found: Interval, error: float, rounds: Iterable[Round], tau: float
) -> tuple[Interval, Widths]:
    processes = len({session for session, _ in rounds})
    widths = Widths(found.half_width, Z95 * error, Z95 * tau / math.sqrt(processes))
    more = math.exp(min(widths.total, WIDEST))
    return Interval(found.value, found.value / more, found.value * more), widths


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What a record tells of an adjusted figure, so that it can be checked.

    Readings were set back to those that are usual, in ns; those further than `window` away did not
    count. `shift` is ln of the latency as it was over the adjusted one, `tau` the spread between
    processes, `widths` the parts of the half-width of p50.
    """

    slopes: Slopes
    usual_compute_ns: Ratio
    usual_stream_ns: Ratio
    window: Share
    shift: Number
    tau: Amount
    widths: Widths
    usual_refill_ns: Ratio | None = None


def between(found: Iterable[tuple[float, float]], earlier: Sequence[float] = ()) -> float:
    """The spread between processes that the cases of a run share, as a standard deviation of ln.

    Each case has its `process_variance`; `earlier` has the `excess` of earlier runs.
    """
    own = excess(found)
    runs = [*(min(each, MOST_VARIANCE) for each in earlier), *([] if own is None else [own])]
    total = UNKNOWN_RUNS * UNKNOWN_TAU**2 + sum(runs)
    return math.sqrt(total / (UNKNOWN_RUNS + len(runs)))


def excess(found: Iterable[tuple[float, float]]) -> float | None:
    """The variance between processes beyond what rounds explain; None where none can be told."""
    each = [spread - CHI2_MEDIAN * error for spread, error in found]
    return max(0.0, median(each) / CHI2_MEDIAN) if each else None


def process_variance(rounds: Rounds) -> tuple[float, float] | None:
    """The variance of ln of a case's process medians, and what rounds explain of it.

    None with rounds in too few processes to tell.
    """
    groups: dict[int, list[float]] = {}
    for (session, _), value in rounds.items():
        groups.setdefault(session, []).append(math.log(value))
    known = [group for group in groups.values() if len(group) >= 3]
    if len(known) < 2:
        return None
    explained = [math.pi / 2 * _sd(group) ** 2 / len(group) for group in known]
    return variance(map(median, known)), sum(explained) / len(explained)


def _sd(values: Sequence[float]) -> float:
    centre = median(values)
    return stats.SD_OF_MAD * median(abs(value - centre) for value in values)
