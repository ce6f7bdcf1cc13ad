"""Sampler: interleaved rounds of bursts, warm-up by evidence, and the stopping rule.

Cases of one group take turns in a random order that is new in each round, so that whatever the
machine does meets all of them alike. A session is anything that times bursts.
"""

import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from statistics import median

from benchbox.analysis import adjusted, stats
from benchbox.analysis.adjusted import Rounds
from benchbox.analysis.machine import Machine
from benchbox.analysis.samples import NS, Kind, call_count
from benchbox.errors import AgentError
from benchbox.sampling.plan import Plan, spread, undecided
from benchbox.sampling.progress import Progress, Subject
from benchbox.sampling.session import Ask, Session, Timed, asleep_s

CHUNK_S = 0.5  # rounds are asked for in chunks this long, so that the parent sleeps in between
MAX_CALLS = 50_000  # in a burst; of so many the agent times some
WARM_S = 0.02
REFIT = 1.3, 2.0  # times the bursts of the last fit of a case's slopes, until the next one
SLOW_S = 0.5  # calls longer than this come one to a burst
# Calls before each burst that the agent makes to settle a case, about; fewer of long ones.
SETTLING, SETTLE_S = 3, 0.025


class Sampler:
    """The state of measuring some subjects; it outlives the session, which may crash."""

    def __init__(
        self,
        subjects: Sequence[Subject],
        plan: Plan,
        *,
        machine: Machine | None = None,
        clock: Callable[[], float] = time.monotonic,
        notify: Callable[["Sampler"], None] = lambda _: None,
    ) -> None:
        self.plan = plan
        self.cases = {subject.key: Progress(subject) for subject in subjects}
        self.machine = machine or Machine()
        self.stage = 0
        self._stage_session: int | None = None  # the first of this stage
        self._clock = clock
        self._notify = notify
        self._random = random.Random(plan.seed)
        self._round = 0
        self._started: float | None = None
        self._in_flight: str | None = None
        self._replied_s = 0.0
        self._lost_s = 0.0

    @property
    def active(self) -> list[Progress]:
        """The cases that are not finished."""
        return [case for case in self.cases.values() if not case.finished]

    @property
    def awake(self) -> list[Progress]:
        """The cases that still want rounds in this stage."""
        return [case for case in self.active if not case.resting]

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first session began, less those that were lost on agents that hung."""
        return 0.0 if self._started is None else self._clock() - self._started - self._lost_s

    @property
    def in_time(self) -> bool:
        """Whether this stage has time left."""
        return self.elapsed_s < self.plan.stage_end_s(self.stage)

    def begin(self, stage: int) -> None:
        """Begin the part of the plan that belongs to one session; every active case is awake."""
        self.stage = stage
        for case in self.active:
            case.resting = False
        self._stage_session = None

    @contextmanager
    def untimed(self) -> Iterator[None]:
        """Leave out of the elapsed time what a session takes to get ready."""
        began = self._clock()
        try:
            yield
        finally:
            if self._started is not None:
                self._lost_s += self._clock() - began

    def fail(self, key: str, reason: str) -> None:
        """End a case with a reason; its samples stay."""
        self.cases[key].failure = reason
        self.cases[key].finished = True

    def postpone(self, key: str) -> float:
        """Leave a case to another sampler; the seconds that are its share of the time.

        A case without samples shares it with others that have none.
        """
        fresh = [other for other in self.cases.values() if not other.bursts]
        sharing = len(self.cases) if self.cases[key].bursts else len(fresh)
        share_s = self.plan.max_time_s / sharing
        self.plan = replace(self.plan, max_time_s=self.plan.max_time_s - share_s)
        del self.cases[key]
        return share_s

    def measure(self, session: Session, index: int) -> Iterator[Progress]:
        """Warm every case up and time rounds; yield each case as it finishes or fails.

        `index` numbers the session in the samples. Ends when no case wants more in this stage, or
        at its time. An AgentError fails the case that was being timed, and is raised again.
        """
        self._replied_s = self._clock()
        if self._started is None:
            self._started = self._replied_s
        if self._stage_session is None:
            self._stage_session = index
        for case in self.active:
            case.warm_medians.clear()
        try:
            yield from self._warm_up(session)
            while self.awake and self.in_time:
                yield from self._chunk(session, index)
        except AgentError as error:
            self._lost_s += self._clock() - self._replied_s
            if self._in_flight is not None:
                self.fail(self._in_flight, str(error))
                yield self.cases[self._in_flight]
            raise

    def _warm_up(self, session: Session) -> Iterator[Progress]:
        while cold := [case for case in self.awake if not case.warm]:
            if not self.in_time:
                return
            asks: list[Ask] = [(c.subject.key, self._calls(c, WARM_S, 1), False) for c in cold]
            for timed in self._time(session, asks):
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
        """Time as many rounds as fit a chunk, then see which cases have enough."""
        asks: list[Ask] = []
        labels: list[dict[str, object]] = []
        planned = 0.0
        left_s = self.plan.stage_end_s(self.stage) - self.elapsed_s
        while planned < min(CHUNK_S, left_s) or not asks:
            members = self.awake
            self._random.shuffle(members)
            fresh = self._bursts(members, left_s - planned)
            asks += [ask for ask, _ in fresh]
            where = {"session": index, "round": self._round}
            labels += [{**where, "kind": kind} for _, kind in fresh]
            self._round += 1
            planned += sum(self._expected_s(ask) for ask, _ in fresh)
        setting: Mapping[str, str] = {}
        for timed, label in zip(self._time(session, asks), labels, strict=True):
            case = self.cases[timed.graph]
            setting = timed.samples.setting if timed.samples else {}
            if timed.error and not case.finished:
                self.fail(timed.graph, timed.error)
                yield case
            elif not timed.error:
                burst = timed.burst(**label)
                case.bursts.append(burst)
                self.machine.add(burst)
        if setting:
            self._mark(setting, index, {label["round"] for label in labels})
        self._judge()
        yield from self._retire()
        self._notify(self)

    def _mark(self, setting: Mapping[str, str], session: int, rounds: Collection[object]) -> None:
        """Note in the bursts of these rounds the settings that had changed when they were over."""
        for case in self.cases.values():
            case.bursts[:] = [
                replace(burst, setting=setting)
                if burst.session == session and burst.round in rounds
                else burst
                for burst in case.bursts
            ]

    def _judge(self) -> None:
        has_moved = self.machine.is_due and self.machine.update()
        for case in self.cases.values():
            self.judge(case)
            if (
                has_moved
                and self.stage + 1 == self.plan.sessions
                and not (case.failure or self._has_enough(case))
            ):
                case.finished = case.resting = False

    def judge(self, case: Progress, *, anew: bool = False) -> None:
        """Take in the new bursts of a case, its ratio to the reference too."""
        is_due = anew or len(case.bursts) >= case.fitted * self._refit(case)
        case.judge(self.machine, paired=self.plan.margin is not None, refit=is_due)
        reference = self.cases.get(case.subject.reference, case)
        if case.adjusted and reference.adjusted and reference is not case:
            self.machine.compare(case.subject.key, case.adjusted, reference.adjusted)

    def _refit(self, case: Progress) -> float:
        """Times the bursts of the last fit until the next: half-widths fall as their root does."""
        found = self.width(case, self.stage)
        return min(REFIT[1], max(REFIT[0], (found[0] / found[1]) ** 2)) if found else REFIT[0]

    def _bursts(self, members: Sequence[Progress], left_s: float) -> list[tuple[Ask, Kind]]:
        """The bursts of one round, which is to fit the time that is left."""
        calls = self._affordable(members, left_s)
        pairs = list(zip(members, calls, strict=True))
        if self.plan.margin is not None:
            pairs = _mirrored(pairs)
        return [((c.subject.key, n, c.subject.memory_bound), "ordinary") for c, n in pairs]

    def _affordable(self, members: Sequence[Progress], left_s: float) -> list[int]:
        """Each case's calls in the next round: fewer where time is short for the rounds."""
        calls = [self._calls(case, self.plan.burst_s, self.plan.min_calls) for case in members]
        first, each = self._stage_session or 0, self.plan.rounds_each
        newest = (case.bursts[-2 * each :] for case in members)  # two of a round at most
        fewest = min(len({b.round for b in bursts if b.session >= first}) for bursts in newest)
        rounds = max(1, each - fewest)
        bursts = 1 if self.plan.margin is None else 2  # of each case, as a mirrored round has them
        expected_s = sum(
            case.latency_s * count + bursts * _settling_s(case.latency_s)
            for case, count in zip(members, calls, strict=True)
        )
        fits = max(0.0, left_s) / rounds / expected_s
        return [max(1, int(n * min(1.0, fits))) for n in calls]

    def _retire(self) -> Iterator[Progress]:
        """Let cases rest that have enough; a reference stays until the last that needs it.

        In the last stage they are finished.
        """
        enough = {case.subject.key for case in self.awake if self._has_enough(case, anew=True)}
        needed = {c.subject.reference for c in self.awake if c.subject.key not in enough}
        for case in self.awake:
            if case.subject.key in enough and case.subject.key not in needed:
                case.resting = True
                if self.stage + 1 == self.plan.sessions:
                    case.finished = True
                    yield case

    def _has_enough(self, case: Progress, *, anew: bool = False) -> bool:
        """Whether a case has what this stage, and all before it, should give it.

        `anew` looks once more by slopes of all its bursts.
        """
        if not self._looks_enough(case):
            return False
        if anew and case.adjusted is not None:
            self.judge(case, anew=True)
        return self._looks_enough(case)

    def _looks_enough(self, case: Progress) -> bool:
        if self.rounds_in_stage(case) < self.plan.rounds_each:
            return False
        needed = self.plan.stage_calls(self.stage)
        if needed and call_count(case.bursts) < needed:
            return False
        reference, rounds = self._reference_rounds(case), self.rounds(case)
        if undecided(rounds, self.plan, reference) or not self._is_narrow(case):
            return False
        if self.stage + 1 < self.plan.sessions:
            return True
        # That an earlier session gave it nothing can no longer be mended.
        shared = rounds if reference is None else rounds.keys() & reference.keys()
        return len(shared) >= self.plan.min_rounds and self._has_ratio(case)

    def _is_narrow(self, case: Progress) -> bool:
        """Whether more rounds in the processes so far are not needed."""
        found = self.width(case, self.stage)
        return found is not None and found[0] <= found[1]

    def width(self, case: Progress, stage: int) -> tuple[float, float] | None:
        """The half-width that more rounds would lower, and what it should be after a stage."""
        if found := self._adjusted(case):
            wanted = self.plan.stage_precision(stage, self.machine.tau)
            return found[1].within, wanted * (self.plan.aim if self._is_early else 1.0)
        interval = self.interval(case)
        if interval is None:
            return None
        return interval.half_width, self.plan.stage_precision(stage)

    @property
    def _is_early(self) -> bool:
        """Whether more than half of this stage's time is left."""
        half_s = self.plan.max_time_s / self.plan.sessions / 2
        return self.elapsed_s < self.plan.stage_end_s(self.stage) - half_s

    def interval(self, case: Progress) -> stats.Interval | None:
        """The figure that is to become precise: p50 in seconds, in a comparison the ratio."""
        if found := self._adjusted(case):
            return found[0]
        return spread(self.rounds(case), self._reference_rounds(case))

    def _adjusted(self, case: Progress) -> tuple[stats.Interval, adjusted.Widths] | None:
        if case.adjusted is None or self._reference_rounds(case) is not None:
            return None
        return adjusted.interval(case.adjusted, self.machine.tau)

    def rounds(self, case: Progress) -> Rounds:
        """The rounds that a case is judged by."""
        return case.rounds if self._reference_rounds(case) is None else case.paired

    def _reference_rounds(self, case: Progress) -> Rounds | None:
        """In a comparison, the rounds of the reference, for the reference its own.

        None when there is nothing left to compare with.
        """
        if self.plan.margin is None:
            return None
        reference = self.cases.get(case.subject.reference, case)
        same = [c for c in self.cases.values() if c.subject.reference == case.subject.reference]
        others = [c for c in same if c is not reference and not c.failure]
        return None if reference.failure or not others else reference.paired

    def _has_ratio(self, case: Progress) -> bool:
        """Whether there are rounds for a ratio; a reference that is finished gives no more."""
        if self.plan.margin is not None:
            return len(case.rounds) >= stats.MIN_ROUNDS  # its p50 is shown with the ratio
        reference = self.cases.get(case.subject.reference, case)
        if reference is case or reference.finished:
            return True
        return len(case.rounds.keys() & reference.rounds.keys()) >= stats.MIN_ROUNDS

    def rounds_in_stage(self, case: Progress) -> int:
        """How many of these the sessions of this stage gave."""
        return sum(session >= (self._stage_session or 0) for session, _ in self.rounds(case))

    def _calls(self, case: Progress, burst_s: float, least: int) -> int:
        if case.latency_s > SLOW_S:
            return 1
        return max(least, min(MAX_CALLS, round(burst_s / case.latency_s)))

    def _time(self, session: Session, asks: Sequence[Ask]) -> Iterator[Timed]:
        """Time bursts, keeping track of the one that the session is at."""
        expected = [self._expected_s(ask) - asleep_s(ask) for ask in asks]
        keys = iter([key for key, *_ in asks])
        self._in_flight = next(keys)
        for timed in session.time(asks, expected):
            self._in_flight = next(keys, None)
            self._replied_s = self._clock()
            yield timed

    def _expected_s(self, ask: Ask) -> float:
        """How long a burst should take, with the calls that settle the case."""
        latency_s = self.cases[ask[0]].latency_s
        return latency_s * ask[1] + _settling_s(latency_s) + asleep_s(ask)


def _settling_s(latency_s: float) -> float:
    return max(latency_s, min(SETTLING * latency_s, SETTLE_S))


def _mirrored(pairs: Sequence[tuple[Progress, int]]) -> list[tuple[Progress, int]]:
    """A round in which each case is at the same time on average: A B C B A.

    A steady change during the round then changes no ratio. The calls of a case are those of one
    burst, in two halves.
    """
    *first, last = pairs
    # Halves of one length: of unequal ones the median would lie in the longer.
    halves = [(case, (calls + 1) // 2) for case, calls in first]
    return [*halves, last, *reversed(halves)]
