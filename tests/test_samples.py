import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbox import samples, stats
from benchbox.samples import Burst, Latency

MS = 1_000_000


def burst(round_: int, *latencies_ms: float, switches: tuple[int, ...] | None = None) -> Burst:
    return Burst(0, round_, tuple(int(ms * MS) for ms in latencies_ms), switches)


def estimate(*bursts: Burst) -> Latency:
    latency = samples.estimate(bursts)
    assert latency is not None
    return latency


def test_a_quiet_sample_is_one_without_a_context_switch() -> None:
    assert burst(0, 1, 2, 3, switches=(0, 2, 0)).quiet_ns() == [1 * MS, 3 * MS]
    assert burst(0, 1, 2, 3).quiet_ns() == [1 * MS, 2 * MS, 3 * MS]
    assert burst(0, 1, 2, switches=(1, 1)).quiet_ns() == []


def test_a_round_has_the_median_of_its_quiet_samples() -> None:
    bursts = [
        burst(0, 1, 2, 90, switches=(0, 0, 1)),
        burst(0, 3, switches=(0,)),
        burst(1, 7, 7, switches=(1, 1)),
        Burst(1, 0, (5 * MS,)),
    ]
    assert samples.round_medians(bursts) == pytest.approx({(0, 0): 0.002, (1, 0): 0.005})


def test_p50_is_the_median_of_the_rounds_and_the_rest_comes_from_every_sample() -> None:
    bursts = [burst(i, i + 1, i + 1, 100, switches=(0, 0, 1)) for i in range(7)]
    latency = estimate(*bursts)
    interval = stats.median_interval([(i + 1) / 1000 for i in range(7)])
    assert interval is not None
    assert latency.p50_s == pytest.approx(0.004)
    assert (latency.ci_low_s, latency.ci_high_s) == pytest.approx((interval.low, interval.high))
    assert latency.interval is not None
    assert latency.raw_p50_s == pytest.approx(0.006)
    assert latency.min_s == pytest.approx(0.001)
    assert (latency.samples, latency.rounds) == (21, 7)
    assert latency.quiet_share == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("count", "p90", "p99"),
    [(63, False, False), (64, True, False), (661, True, False), (662, True, True)],
)
def test_a_percentile_is_given_only_with_enough_samples(count: int, p90: bool, p99: bool) -> None:
    latency = estimate(Burst(0, 0, tuple(range(1, count + 1))))
    assert (latency.p90_s is not None, latency.p99_s is not None) == (p90, p99)


def test_percentiles_count_disturbed_samples() -> None:
    latency = estimate(burst(0, *[1] * 50, *[9] * 50, switches=(0,) * 50 + (1,) * 50))
    assert (latency.p50_s, latency.p90_s) == pytest.approx((0.001, 0.009))


def test_fewer_rounds_than_six_have_a_median_and_no_interval() -> None:
    latency = estimate(*(burst(i, i + 1) for i in range(5)))
    assert latency.p50_s == pytest.approx(0.003)
    assert (latency.ci_low_s, latency.ci_high_s, latency.interval) == (None, None, None)


def test_a_system_that_counts_no_switches_has_no_quiet_share() -> None:
    assert estimate(burst(0, 1)).quiet_share is None
    assert estimate(burst(0, 1, switches=(0,))).quiet_share == 1


@pytest.mark.parametrize("bursts", [[], [Burst(0, 0, ())], [burst(0, 1, switches=(3,))]])
def test_without_one_quiet_sample_there_is_no_estimate(bursts: list[Burst]) -> None:
    assert samples.round_medians(bursts) == {}
    assert samples.estimate(bursts) is None


@given(st.lists(st.tuples(st.integers(1, 2**60), st.integers(0, 9)), min_size=1), st.booleans())
def test_bursts_and_estimates_survive_json(pairs: list[tuple[int, int]], counted: bool) -> None:
    latencies, switches = zip(*pairs, strict=True)
    given_burst = Burst(1, 2, latencies, switches if counted else None)
    assert Burst.from_json(json.loads(json.dumps(asdict(given_burst)))) == given_burst
    latency = samples.estimate([given_burst])
    if latency is not None:
        assert Latency.from_json(json.loads(json.dumps(asdict(latency)))) == latency


def test_fields_of_a_later_schema_are_ignored() -> None:
    plain = asdict(estimate(burst(0, 1)))
    assert Latency.from_json({**plain, "p75_s": 1.0}) == estimate(burst(0, 1))
