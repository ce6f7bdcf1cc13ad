"""Interleaved rounds of bursts, warm-up by evidence, and the rule that says when to stop.

Cases of one group take turns in a random order that is new in each round, so that whatever the
machine does meets all of them alike. This module knows samples, not models: a session is anything
that times bursts, and the clock is handed in.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

from benchbox import samples, stats
from benchbox.errors import AgentError
from benchbox.samples import NS, Burst
from benchbox.transports.agent import Timed

CHUNK_S = 0.5  # rounds are asked for in chunks this long, so that the parent sleeps in between
MAX_CALLS = 2000
WARM_S = 0.02
WARM_BURSTS = 10  # a case that still gets faster after this many bursts is timed all the same
WARM_GAIN = 0.02  # a burst this much faster than the best before it: not warm yet
WARM_STILL = 2  # bursts in a row that must not be faster
SLOW_S = 0.5  # calls longer than this come one to a burst


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure: until the interval's half-width is `precision` of p50, or `max_time_s`.

    `burst_s` is the length that a burst aims at, `min_calls` its fewest calls.
    """

    precision: float = 0.01
    max_time_s: float = 60.0
    min_rounds: int = 20
    burst_s: float = 0.1
    min_calls: int = 5
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Subject:
    """A case by key, and the key of the case that it is set beside (its own for a reference)."""

    key: str
    reference: str


class Session(Protocol):
    """What times bursts: an agent, or a test's stand-in."""

    def time(
        self, bursts: Sequence[tuple[str, int]], expected_s: Sequence[float]
    ) -> Iterator[Timed]:
        """Yield the timed bursts (graph, calls) in order."""


@dataclass(slots=True)
class Progress:
    """One case on its way: its samples, whether it is warm, and how it ended."""

    subject: Subject
    latency_s: float = 0.001
    bursts: list[Burst] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)
    warmup_calls: int = 0
    warm_medians: list[float] = field(default_factory=list)
    finished: bool = False
    failure: str = ""

    @property
    def warm(self) -> bool:
        """Whether the last bursts have stopped getting faster."""
        medians = self.warm_medians
        if len(medians) <= WARM_STILL:
            return False
        best = min(medians[:-WARM_STILL])
        still = all(value >= best * (1 - WARM_GAIN) for value in medians[-WARM_STILL:])
        return still or len(medians) >= WARM_BURSTS

    def add(self, burst: Burst) -> None:
        """Take in the burst of one round; a round without a quiet sample has no median."""
        self.bursts.append(burst)
        self.medians += samples.round_medians([burst]).values()

    def interval(self) -> stats.Interval | None:
        """Return the median over rounds with its interval, in seconds."""
        return stats.median_interval(self.medians)


class Sampler:
    """The state of measuring some subjects; it outlives the session, which may crash."""

    def __init__(
        self,
        subjects: Sequence[Subject],
        plan: Plan,
        *,
        clock: Callable[[], float] = time.monotonic,
        notify: Callable[["Sampler"], None] = lambda _: None,
    ) -> None:
        self.plan = plan
        self.cases = {subject.key: Progress(subject) for subject in subjects}
        self._clock = clock
        self._notify = notify
        self._random = random.Random(plan.seed)
        self._round = 0
        self._started: float | None = None
        self._in_flight: str | None = None
        self._heard = 0.0
        self._lost_s = 0.0

    @property
    def active(self) -> list[Progress]:
        """The cases that are not finished."""
        return [case for case in self.cases.values() if not case.finished]

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first session began, less those that were lost on agents that hung."""
        return 0.0 if self._started is None else self._clock() - self._started - self._lost_s

    def excuse(self, seconds: float) -> None:
        """Leave out of the elapsed time what a session took to get ready."""
        if self._started is not None:
            self._lost_s += seconds

    def fail(self, key: str, reason: str) -> None:
        """End a case with a reason; its samples stay."""
        self.cases[key].failure = reason
        self.cases[key].finished = True

    def measure(self, session: Session, index: int) -> Iterator[Progress]:
        """Warm every case up and time rounds; yield each case as it finishes or fails.

        `index` numbers the session in the samples. Ends when all cases have, or at the plan's
        max_time_s. An AgentError fails the case that was being timed, and is raised again.
        """
        self._heard = self._clock()
        if self._started is None:
            self._started = self._heard
        for case in self.active:
            case.warm_medians.clear()
        try:
            yield from self._warm_up(session)
            while self.active and self.elapsed_s < self.plan.max_time_s:
                yield from self._chunk(session, index)
        except AgentError as error:
            self._lost_s += self._clock() - self._heard
            if self._in_flight is not None:
                self.fail(self._in_flight, str(error))
                yield self.cases[self._in_flight]
            raise

    def _warm_up(self, session: Session) -> Iterator[Progress]:
        while cold := [case for case in self.active if not case.warm]:
            if self.elapsed_s >= self.plan.max_time_s:
                return
            order = [(case.subject.key, self._calls(case, WARM_S, 1)) for case in cold]
            for timed in self._time(session, order):
                case = self.cases[timed.graph]
                if timed.error:
                    self.fail(timed.graph, timed.error)
                    yield case
                    continue
                case.latency_s = median(timed.latencies_ns) * NS
                case.warm_medians.append(case.latency_s)
                case.warmup_calls += len(timed.latencies_ns)
            self._notify(self)

    def _chunk(self, session: Session, index: int) -> Iterator[Progress]:
        """Time as many rounds as fit a chunk, then see which cases are done."""
        order: list[tuple[str, int]] = []
        rounds: list[int] = []
        planned = 0.0
        while planned < CHUNK_S:
            members = self.active
            self._random.shuffle(members)
            calls = self._affordable(members, planned)
            order += [(case.subject.key, n) for case, n in zip(members, calls, strict=True)]
            rounds += [self._round] * len(members)
            self._round += 1
            planned += _expected_s(members, calls)
        for timed, number in zip(self._time(session, order), rounds, strict=True):
            case = self.cases[timed.graph]
            if timed.error and not case.finished:
                self.fail(timed.graph, timed.error)
                yield case
            elif not timed.error:
                case.add(Burst(index, number, timed.latencies_ns, timed.switches))
        yield from self._retire()
        self._notify(self)

    def _affordable(self, members: Sequence[Progress], planned_s: float) -> list[int]:
        """Return each case's calls in the next round: fewer where time is short for the rounds."""
        calls = [self._calls(case, self.plan.burst_s, self.plan.min_calls) for case in members]
        left_s = self.plan.max_time_s - self.elapsed_s - planned_s
        rounds = max(1, self.plan.min_rounds - self._round)
        fits = max(0.0, left_s) / rounds / _expected_s(members, calls)
        return [max(1, int(n * min(1.0, fits))) for n in calls]

    def _retire(self) -> Iterator[Progress]:
        """Finish the cases that are precise; a reference stays until the last that needs it."""
        precise = {case.subject.key for case in self.active if self._precise(case)}
        needed = {c.subject.reference for c in self.active if c.subject.key not in precise}
        for case in self.active:
            if case.subject.key in precise and case.subject.key not in needed:
                case.finished = True
                yield case

    def _precise(self, case: Progress) -> bool:
        return not _lacking(case.medians, self.plan)

    def _calls(self, case: Progress, burst_s: float, least: int) -> int:
        if case.latency_s > SLOW_S:
            return 1
        return max(least, min(MAX_CALLS, round(burst_s / case.latency_s)))

    def _time(self, session: Session, order: Sequence[tuple[str, int]]) -> Iterator[Timed]:
        """Time bursts, always knowing which one the session is at."""
        expected = [self.cases[key].latency_s * (calls + 1) for key, calls in order]
        keys = iter([key for key, _ in order])
        self._in_flight = next(keys)
        for timed in session.time(order, expected):
            self._in_flight = next(keys, None)
            self._heard = self._clock()
            yield timed


def _expected_s(members: Sequence[Progress], calls: Sequence[int]) -> float:
    """Return how long a round should take, with the call that settles each case."""
    return sum(case.latency_s * (n + 1) for case, n in zip(members, calls, strict=True))


def shortfall(bursts: Sequence[Burst], plan: Plan) -> str:
    """Say what the samples of a case lack of the plan; empty when they fulfil it."""
    return _lacking(list(samples.round_medians(bursts).values()), plan)


def _lacking(medians: Sequence[float], plan: Plan) -> str:
    interval = stats.median_interval(medians)
    if interval is None:
        return (
            f"only {len(medians)} rounds and an interval needs {stats.MIN_ROUNDS}: "
            "give it more with --max-time"
        )
    if interval.half_width > plan.precision:
        return (
            f"±{interval.half_width:.1%} after {len(medians)} rounds, "
            f"±{plan.precision:.1%} was asked: give it more with --max-time, or quieten the machine"
        )
    if len(medians) < plan.min_rounds:
        return f"only {len(medians)} of {plan.min_rounds} rounds: give it more with --max-time"
    return ""
