"""Sessions for tests of samplers: latencies by models, on a clock that is simulated."""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from benchbox.analysis.samples import Burst
from benchbox.analysis.states import Gate, State
from benchbox.errors import AgentError
from benchbox.sampling.plan import Plan
from benchbox.sampling.progress import Subject
from benchbox.sampling.sampler import Sampler
from benchbox.sampling.session import Ask, Timed, samples

Model = Callable[[float], float]  # seconds since the start -> latency in seconds
NS = 1_000_000_000
LEVEL = Gate(State(12_000.0, 11_000.0, 13_000.0), State(300_000.0, 290_000.0, 310_000.0))


def steady(latency_s: float) -> Model:
    return lambda _: latency_s


def noisy(latency_s: float, noise: float = 0.01, seed: int = 0) -> Model:
    generator = random.Random(seed)
    return lambda _: latency_s * (1 + generator.gauss(0, noise))


def breaks(latency_s: float, after: int, error: Exception) -> Model:
    calls = iter(range(10**9))

    def model(_: float) -> float:
        if next(calls) >= after:
            raise error
        return latency_s

    return model


def wave(now: float) -> float:
    return 1 + 0.3 * math.sin(2 * math.pi * now / 11)


def bursts(*latencies: int, session: int = 0, **more: Any) -> list[Burst]:
    """One burst of one call to a round."""
    return [Burst(session, n, (latency,), **more) for n, latency in enumerate(latencies)]


def on_level(quiet: int, other: int, latency: int) -> list[Burst]:
    """Rounds at the gate's level of the memory, and others at another level."""
    levels = [300_000] * quiet + [400_000] * other
    return [Burst(0, n, (latency,), stream_ns=(level, level)) for n, level in enumerate(levels)]


class FakeSession:
    """Times bursts on a clock of its own: a call takes what its case's model says.

    A ValueError of a model is a burst's; the agent is lost at `fails_at`.
    """

    def __init__(
        self, models: Mapping[str, Model], switches: Callable[[], int] = lambda: 0
    ) -> None:
        self.models, self.switches = models, switches
        self.now = 0.0
        self.asked: list[list[Ask]] = []
        self.expected: list[float] = []
        self.fails_at = math.inf

    def clock(self) -> float:
        return self.now

    def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
        self.asked.append(list(bursts))
        self.expected += expected_s
        for ask in bursts:
            if self.now >= self.fails_at:
                raise AgentError("gone")
            try:
                timed = Timed(ask[0], samples(self.burst(ask)))
            except ValueError as error:
                timed = Timed(ask[0], error=str(error))
            yield timed

    def burst(self, ask: Ask) -> dict[str, Any]:
        latencies = [self.call(ask[0]) for _ in range(ask[1])]
        switches = [self.switches() for _ in latencies]
        return {"latencies_ns": latencies, "switches": switches}

    def call(self, graph: str) -> int:
        latency = self.models[graph](self.now)
        self.now += latency
        return max(1, round(latency * NS))


class FragileSession(FakeSession):
    """Its agent is lost after the last burst of each request, at `lost_after` at the earliest."""

    lost_after = 0.0

    def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
        yield from super().time(bursts, expected_s)
        if self.now > self.lost_after:
            raise AgentError("gone after the last burst")


class Sampling:
    """A sampler of cases, set beside the first of them, and its session."""

    def __init__(
        self,
        models: Mapping[str, Model],
        plan: Plan,
        session: FakeSession | None = None,
        *,
        kind: type[Sampler] = Sampler,
        references: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        self.session = session or FakeSession(models)
        beside = dict.fromkeys(models, next(iter(models))) | dict(references or {})
        subjects = [Subject(key, beside[key]) for key in models]
        self.sampler = kind(subjects, plan, clock=self.session.clock, **more)
        self.cases = self.sampler.cases

    def measure(self, index: int = 0) -> list[str]:
        """The keys of the cases that finish in a session, in order."""
        return [case.subject.key for case in self.sampler.measure(self.session, index)]

    def measure_in_stages(self) -> list[list[str]]:
        """The keys of the cases that finish in each session of the plan."""
        finished = []
        for stage in range(self.sampler.plan.sessions):
            self.sampler.begin(stage)
            finished.append(self.measure(stage))
        return finished

    def bursts(self, key: str = "a") -> list[Burst]:
        return self.cases[key].bursts

    def per_session(self, key: str = "a") -> list[int]:
        """How many rounds each session of the plan has of a case."""
        rounds = {(burst.session, burst.round) for burst in self.bursts(key)}
        stages = range(self.sampler.plan.sessions)
        return [sum(session == stage for session, _ in rounds) for stage in stages]

    def orders(self) -> list[list[str]]:
        """The keys timed in each round, in order; warm-up requests are left out."""
        timed = [ask[0] for request in self.session.asked for ask in request]
        order = iter(timed[sum(len(case.warm_medians) for case in self.cases.values()) :])
        rounds = [burst.round for key in self.cases for burst in self.bursts(key)]
        return [[next(order) for _ in range(rounds.count(n))] for n in range(max(rounds) + 1)]
