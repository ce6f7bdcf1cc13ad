"""Adjusted latency: each call set back to the machine's usual speed by slopes of its own graph.

A shared machine has no quiet minutes to choose from, but its sentinels tell how fast it is: the
compute sentinel between calls, and the level of the stream sentinel over some seconds. How much a
graph follows either of them is fitted to its own calls,

    ln t = a + clock x + memory z,    x = ln(reading / usual reading), z likewise of the level,

and a latency is the median over rounds of exp(ln t - clock x - memory z). What is adjusted is
small: readings further than WINDOW from the usual one do not count. The half-width of the interval
joins three parts: the scatter of rounds, the error of the slopes times the shift, and the spread
between processes, which more calls in the same process do not lower.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median, variance

import numpy as np

from benchbox.analysis import stats
from benchbox.analysis.samples import NS, Burst, figures

Round = tuple[int, int]  # session and round

WINDOW = 0.05  # ln of a reading over the usual one
NEIGHBOURS = 2  # rounds to each side over which the level of the stream sentinel is taken
CLIP = 0.3  # of the level: beyond it the slope was never seen
FEWEST_SEGMENTS = 6
FULL_SEGMENT, FULL_WEIGHT = 20, 10.0  # calls; beyond them a segment's median gets no better
HUBER = 1.345  # standard deviations: 95% efficient where nothing is an outlier
LEAST_SD = 0.003
ITERATIONS = 12
Z95 = 1.96
LEAST_TAU, UNKNOWN_TAU = 0.003, 0.005  # relative spread between processes
CHI2_MEDIAN = 0.693  # of two degrees of freedom, over their number: that of a variance of three


@dataclass(frozen=True, slots=True)
class Slopes:
    """How much of a change of the sentinels a graph's latency follows, with standard errors."""

    clock: float
    clock_se: float
    memory: float
    memory_se: float


# What graphs were seen to have, of which nothing is known yet.
COMMON = Slopes(0.85, 0.3, 0.18, 0.3)


@dataclass(frozen=True, slots=True)
class Usual:
    """The usual readings of a machine's compute and stream sentinel, in ns."""

    compute_ns: float
    stream_ns: float


@dataclass(frozen=True, slots=True)
class Segment:
    """Undisturbed calls between two readings: ln of their latencies, and how fast the machine was.

    `clock` and `memory` are ln of the readings over the usual ones.
    """

    round: Round
    latencies: tuple[float, ...]
    clock: float
    memory: float


def levels(bursts: Iterable[Burst]) -> dict[Round, float]:
    """The level of the stream sentinel in each round: mean of ln of the readings around it.

    Single readings scatter more than the state that they show, so those of all cases count, and of
    the neighbouring rounds of the same process.
    """
    readings: dict[Round, list[float]] = {}
    for burst in bursts:
        kept = readings.setdefault((burst.session, burst.round), [])
        kept.extend(math.log(ns) for ns in burst.stream_ns if ns > 0)
    result = {}
    for session, number in readings:
        near = [
            value
            for other in range(number - NEIGHBOURS, number + NEIGHBOURS + 1)
            for value in readings.get((session, other), ())
        ]
        if near:
            result[session, number] = sum(near) / len(near)
    return result


def segments(bursts: Sequence[Burst], level: Mapping[Round, float], usual: Usual) -> list[Segment]:
    """The segments of a case's bursts that count, as far as readings are near the usual one."""
    found = []
    for burst in figures(bursts):
        key = burst.session, burst.round
        memory = level.get(key, math.log(usual.stream_ns)) - math.log(usual.stream_ns)
        kept = burst.undisturbed()
        for (first, before), (last, after) in pairwise(burst.marks):
            ends = [math.log(max(ns, 1) / usual.compute_ns) for ns in (before, after)]
            calls = [
                math.log(burst.latencies_ns[i] * NS)
                for i in range(first, last)
                if kept[i] and burst.latencies_ns[i] > 0
            ]
            if calls and max(map(abs, ends)) <= WINDOW:
                z = min(CLIP, max(-CLIP, memory))
                found.append(Segment(key, tuple(calls), sum(ends) / 2, z))
    return found


def fit(found: Sequence[Segment], prior: Slopes = COMMON) -> Slopes:
    """The slopes of a case by Huber's regression, drawn towards the prior; needs six segments."""
    if len(found) < FEWEST_SEGMENTS:
        return prior
    y = np.array([median(each.latencies) for each in found])
    x = np.array([[1.0, each.clock, each.memory] for each in found])
    sizes = np.array([min(len(each.latencies), FULL_SEGMENT) / FULL_WEIGHT for each in found])
    means = np.array([0.0, prior.clock, prior.memory])
    precision = np.array([0.0, prior.clock_se**-2, prior.memory_se**-2])
    weights, scale = np.ones(len(y)), 0.02
    for _ in range(ITERATIONS):
        weighted = x * (weights * sizes)[:, None]
        information = weighted.T @ x / scale**2 + np.diag(precision)
        beta = np.linalg.solve(information, weighted.T @ y / scale**2 + precision * means)
        apart = np.abs(y - x @ beta)
        scale = max(stats.SD_OF_MAD * float(np.median(apart)), LEAST_SD)
        weights = np.minimum(1.0, HUBER * scale / np.maximum(apart, 1e-12))
    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    return Slopes(float(beta[1]), float(errors[1]), float(beta[2]), float(errors[2]))


def round_values(found: Sequence[Segment], slopes: Slopes) -> dict[Round, float]:
    """The median of each round's calls, adjusted to the usual state, as ln of seconds."""
    rounds: dict[Round, list[float]] = {}
    for each in found:
        shift = slopes.clock * each.clock + slopes.memory * each.memory
        rounds.setdefault(each.round, []).extend(value - shift for value in each.latencies)
    return {key: median(values) for key, values in rounds.items()}


def shift(found: Sequence[Segment], slopes: Slopes) -> tuple[float, float]:
    """The adjustment of a case, as ln, at the middle of its segments; and its standard error."""
    clock = median(each.clock for each in found)
    memory = median(each.memory for each in found)
    error = math.hypot(slopes.clock_se * clock, slopes.memory_se * memory)
    return slopes.clock * clock + slopes.memory * memory, error


def half_width(
    found: Sequence[Segment], slopes: Slopes, rounds: Mapping[Round, float], tau: float
) -> float | None:
    """The relative half-width of a case's 95% interval; None with too few rounds for one.

    `rounds` are its `round_values`, `tau` is the spread `between` processes.
    """
    interval = stats.median_interval(list(rounds.values()))
    if interval is None:
        return None
    scatter = (interval.high - interval.low) / 2
    process = tau / math.sqrt(len({session for session, _ in rounds}))
    return math.hypot(scatter, Z95 * shift(found, slopes)[1], Z95 * process)


def between(cases: Iterable[Mapping[Round, float]]) -> float:
    """The spread between processes that the cases of a run share, as a standard deviation of ln.

    By the median over cases of the variance of process medians, less what rounds explain of it.
    """
    found = []
    for rounds in cases:
        groups: dict[int, list[float]] = {}
        for (session, _), value in rounds.items():
            groups.setdefault(session, []).append(value)
        known = [group for group in groups.values() if len(group) >= 3]
        if len(known) < 2:
            continue
        explained = [math.pi / 2 * _sd(group) ** 2 / len(group) for group in known]
        found.append((variance(map(median, known)), sum(explained) / len(explained)))
    if not found:
        return UNKNOWN_TAU
    excess = median(spread - CHI2_MEDIAN * error for spread, error in found) / CHI2_MEDIAN
    return max(LEAST_TAU, math.sqrt(max(0.0, excess)))


def _sd(values: Sequence[float]) -> float:
    centre = median(values)
    return stats.SD_OF_MAD * median(abs(value - centre) for value in values)
