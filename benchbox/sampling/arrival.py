"""Arrival at a rate: rounds in which calls come apart, each after a burst of calls in a row.

Many programs call a network now and then. In between the processor falls asleep, with a lower clock
and cold caches afterwards, which a tight loop never shows.
"""

import math
from collections.abc import Iterator, Sequence
from statistics import median

from benchbox.analysis import arrival, stats
from benchbox.analysis.samples import Kind
from benchbox.sampling.plan import Plan
from benchbox.sampling.progress import Progress
from benchbox.sampling.sampler import CHUNK_S, Sampler
from benchbox.sampling.session import Ask, Session, Timed, asleep_s

# Of a burst at the rate: a clock that governors lower over tenths of a second has come down for
# most of it.
PACED_S = 1.0
SPARE = 1.5  # times the fewest rounds, for the interval to become narrow


def calls(plan: Plan) -> int:
    """The calls of a burst at the rate of a plan."""
    return max(1, round(PACED_S * (plan.arrival_per_s or 0.0)))


def least_s(plan: Plan, cases: int) -> float:
    """How long the fewest rounds of so many cases take at the rate of a plan."""
    if plan.arrival_per_s is None:
        return 0.0
    burst_s = plan.burst_s + calls(plan) / plan.arrival_per_s
    return cases * plan.sessions * plan.rounds_each * burst_s


class PacedSampler(Sampler):
    """A sampler of calls at the rate of its plan."""

    def _warm_up(self, session: Session) -> Iterator[Progress]:
        yield from super()._warm_up(session)
        fresh = [case for case in self.awake if not case.rounds]
        yield from self._fail_slow({case.subject.key: case.latency_s for case in fresh})

    def _retire(self) -> Iterator[Progress]:
        known = [case for case in self.awake if len(case.rounds) >= stats.MIN_ROUNDS]
        yield from self._fail_slow({c.subject.key: median(c.rounds.values()) for c in known})
        yield from super()._retire()

    def _time(self, session: Session, asks: Sequence[Ask]) -> Iterator[Timed]:
        lengths = [asleep_s(ask) for ask in asks]
        for timed, length_s in zip(super()._time(session, asks), lengths, strict=True):
            yield timed
            if length_s >= CHUNK_S:
                self._notify(self)  # a round can take minutes

    def _fail_slow(self, latencies_s: dict[str, float]) -> Iterator[Progress]:
        """Fail the cases that take longer than the time between calls."""
        period_s = 1 / self._per_s
        for key, latency_s in latencies_s.items():
            if latency_s > period_s:
                self.fail(
                    key, f"takes {_duration(latency_s)}, calls come every {_duration(period_s)}"
                )
                yield self.cases[key]

    def _looks_enough(self, case: Progress) -> bool:
        """Whether a case has enough, rounds with both kinds of burst included."""
        return super()._looks_enough(case) and len(arrival.shared(case.bursts)) >= stats.MIN_ROUNDS

    def _bursts(self, members: Sequence[Progress], left_s: float) -> list[tuple[Ask, Kind]]:
        """For each case a burst in a row and, right behind it, one at the rate."""
        paced = self._fitting(members, left_s)
        pairs: list[tuple[Ask, Kind]] = []
        for case in members:
            key, bound = case.subject.key, case.subject.memory_bound
            in_a_row = self._calls(case, self.plan.burst_s, self.plan.min_calls)
            pairs.append(((key, in_a_row, bound), "beside"))
            pairs.append(((key, paced, False, 1 / self._per_s), "paced"))
        return pairs

    def _fitting(self, members: Sequence[Progress], left_s: float) -> int:
        """The calls at the rate: fewer where time is short for the rounds."""
        fewest = min(self.rounds_in_stage(case) for case in members)
        rounds = max(1, self.plan.rounds_each - fewest)
        period_s, wanted = 1 / self._per_s, calls(self.plan)
        each_s = left_s / rounds / len(members) - self.plan.burst_s
        return max(1, min(wanted, math.floor(each_s / period_s)))

    @property
    def _per_s(self) -> float:
        assert self.plan.arrival_per_s is not None, "a plan with a rate"
        return self.plan.arrival_per_s


def _duration(seconds: float) -> str:
    """Format a duration: `26 ms`, `1.5 s`."""
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"
