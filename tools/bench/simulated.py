"""What the stopping rule and the interval do on samples whose distribution is known; no timing."""

import random
from collections.abc import Iterator
from statistics import median

from benchbox.analysis.latency import estimate
from benchbox.analysis.samples import NS, Burst
from benchbox.sampling.plan import Plan
from benchbox.sampling.progress import Subject
from benchbox.sampling.sampler import Sampler
from tests.helpers.sessions import FakeSession, noisy
from tools.bench.common import UNLIMITED, Row

CV = 0.02
MOST_SAMPLES = 100
STOPS = 200
# One call a round: the fewest samples that the rule can do with are those that it asks for.
ONE_CALL = Plan(precision=0.01, max_time_s=1e6, burst_s=0.0, min_calls=1)
CALL_S = 0.5

RHO = 0.6
ROUNDS, CALLS = Plan().min_rounds, Plan().min_calls  # the least that an interval is taken from
LEAST_COVERAGE = 0.92
SERIES = 500
LATENCY_NS = 1e6


def simulated() -> Iterator[Row]:
    needed = median(accepted(seed) for seed in range(STOPS))
    what = f"samples until ±{ONE_CALL.precision:.0%}, CV {CV:.0%}, one call a round"
    yield what, f"{needed:.0f}", f"<= {MOST_SAMPLES}", needed <= MOST_SAMPLES
    share = sum(covered(seed) for seed in range(SERIES)) / SERIES
    what = f"coverage of the 95% interval, AR(1) rho {RHO}, {ROUNDS} x {CALLS} calls"
    yield what, f"{share:.1%} of {SERIES}", f">= {LEAST_COVERAGE:.0%}", share >= LEAST_COVERAGE
    stopped = sum(covered_at_stop(seed) for seed in range(SERIES)) / SERIES
    # One case alone is the worst: between its bursts lies nothing but the call that settles.
    what = f"  the same where the sampler stops by itself, at ±{Plan().precision:.0%}"
    yield what, f"{stopped:.1%} of {SERIES}", UNLIMITED, True


def accepted(seed: int) -> int:
    """Return how many samples a case has when the sampler takes it for done."""
    session = FakeSession({"a": noisy(CALL_S, CV, seed)})
    sampler = Sampler([Subject("a", "a")], ONE_CALL, clock=session.clock)
    (case,) = sampler.measure(session, 0)
    return sum(len(burst.quiet_ns()) for burst in case.bursts)


def covered(seed: int) -> bool:
    """Return whether the interval from correlated samples holds the median that they came from."""
    latencies = correlated(seed)
    bursts = []
    for index in range(ROUNDS):
        next(latencies)  # the call that settles, before each burst
        bursts.append(Burst(0, index, tuple(next(latencies) for _ in range(CALLS))))
    latency = estimate(bursts)
    assert latency is not None
    assert latency.interval is not None
    return latency.interval.low <= LATENCY_NS * NS <= latency.interval.high


def covered_at_stop(seed: int) -> bool:
    """Return the same for samples that the sampler took until it had enough."""
    latencies = correlated(seed)
    session = FakeSession({"a": lambda _: next(latencies) * 1e-8})
    sampler = Sampler([Subject("a", "a")], Plan(max_time_s=1e6), clock=session.clock)
    (case,) = sampler.measure(session, 0)
    interval = sampler.interval(case)
    assert interval is not None
    return interval.low <= LATENCY_NS * 1e-8 <= interval.high


def correlated(seed: int) -> Iterator[int]:
    """Yield latencies in ns, each one's deviation RHO of the one before and the rest its own."""
    generator = random.Random(seed)
    deviation = generator.gauss()
    while True:
        yield round(LATENCY_NS * (1 + CV * deviation))
        deviation = RHO * deviation + (1 - RHO**2) ** 0.5 * generator.gauss()
