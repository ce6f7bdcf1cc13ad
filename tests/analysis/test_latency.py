from dataclasses import replace

import pytest

from benchbox.analysis import latency, stats
from benchbox.analysis.adjusted import UNKNOWN, Adjusted
from benchbox.analysis.latency import Latency
from benchbox.analysis.samples import OPEN, Burst
from benchbox.analysis.states import Gate, State

MS = 1_000_000
GATE = Gate(State(100.0, 98.0, 102.0), State(1000.0, 950.0, 1050.0))


def ten(round_: int, latency_ns: int, reading: int) -> Burst:
    """A burst of ten calls between two readings."""
    marks = ((0, reading), (10, reading))
    return Burst(0, round_, (latency_ns,) * 10, (0,) * 10, marks)


def estimate(*bursts: Burst, gate: Gate = OPEN) -> Latency:
    found = latency.estimate(bursts, gate)
    assert found is not None
    return found


def test_estimates_are_of_the_gates_state_and_percentiles_of_all() -> None:
    fast = [ten(i, 1 * MS, 100) for i in range(8)]
    slow = [ten(i, 9 * MS, 135) for i in range(8, 30)]
    found = estimate(*fast, *slow, gate=GATE)
    assert (found.p50_s, found.raw_p50_s, found.p90_s) == pytest.approx((1e-3, 9e-3, 9e-3))
    assert (found.rounds, found.quiet_samples, found.samples) == (8, 80, 300)
    assert (found.min_s, found.interval) == (1e-3, stats.Interval(*[1e-3] * 3))
    assert found.quiet_share == pytest.approx(80 / 300)
    assert estimate(*slow, gate=GATE).basis == "undisturbed"


def test_the_p50_of_each_process_is_given_in_order_with_their_scatter() -> None:
    bursts = [
        Burst(session, index, (ms * MS + index,))
        for session, ms in ((5, 4), (2, 3), (9, 5))
        for index in range(8)
    ]
    found = estimate(*bursts)
    assert found.sessions_p50_s == pytest.approx((0.003, 0.004, 0.005), rel=1e-4)
    assert found.between_sd == pytest.approx(0.256, rel=0.02)
    assert found.within_sd == pytest.approx(0, abs=1e-5)
    one = estimate(*bursts[:8])
    assert (one.between_sd, len(one.sessions_p50_s)) == (None, 1)
    interval = stats.median_interval([(4 * MS + index) / 1e9 for index in range(8)])
    assert interval is not None
    assert one.ci_low_s == pytest.approx(interval.low, rel=1e-10)
    assert one.ci_high_s == pytest.approx(interval.high, rel=1e-10)


@pytest.mark.parametrize(
    ("switches", "reading", "basis", "p50_s"),
    [
        ((0, 0, 0), 100, "quiet", 0.002),
        ((0, 0, 0), 135, "undisturbed", 0.002),
        ((0, 1, 0), 135, "undisturbed", 0.001),
        ((1, 1, 1), 100, "all", 0.002),
    ],
)
def test_a_figure_and_a_ratio_are_of_the_quietest_calls_that_are_enough(
    switches: tuple[int, ...], reading: int, basis: str, p50_s: float
) -> None:
    ms = (1 * MS, 2 * MS, 3 * MS)
    marks = ((0, reading), (3, reading))
    ours = [Burst(0, i, ms, switches, marks) for i in range(8)]
    theirs = [Burst(0, i, tuple(2 * ns for ns in ms), (0, 0, 0), marks) for i in range(8)]
    found = estimate(*ours, gate=GATE)
    assert (found.basis, found.p50_s) == (basis, pytest.approx(p50_s))
    ratio, of = latency.ratio(ours, theirs, GATE)
    assert ratio is not None and of == basis
    assert ratio.value == pytest.approx(p50_s / 0.004)
    assert latency.ratio(ours[:5], theirs[:5], GATE)[0] is None
    elsewhere = [replace(burst, round=burst.round + 8) for burst in theirs]
    apart, of = latency.ratio(ours, elsewhere, GATE)  # of two p50s, without a round in common
    assert apart is not None and of == basis
    assert apart.value == pytest.approx(ratio.value)
    assert apart.low <= apart.value <= apart.high
    assert latency.ratio(ours, elsewhere, GATE, paired=True)[0] is None


def test_few_undisturbed_calls_of_a_round_are_compared_rather_than_disturbed_ones() -> None:
    switches = (1, 1, 1, 1, 0, 0)  # of which the last alone is not after a preempted one
    ours, theirs = (
        [Burst(0, i, (*[hit * MS] * 5, quiet * MS), switches) for i in range(8)]
        for hit, quiet in ((90, 3), (5, 1))
    )
    ratio, basis = latency.ratio(ours, theirs, GATE, paired=True)
    assert ratio is not None and ratio.value == pytest.approx(3)
    assert basis == "undisturbed"


def test_a_percentile_is_given_only_with_enough_samples() -> None:
    counts = 63, 64, 661, 662
    of_counts = [estimate(Burst(0, 0, tuple(range(1, count + 1)))) for count in counts]
    assert [each.p90_s is not None for each in of_counts] == [False, True, True, True]
    assert [each.p99_s is not None for each in of_counts] == [False, False, False, True]


def test_few_samples_have_no_interval_and_none_have_no_estimate() -> None:
    assert latency.estimate([]) is None
    found = estimate(*(Burst(0, i, (i * MS,)) for i in range(5)))  # one shorter than a tick
    assert found.p50_s == pytest.approx(0.002)
    assert (found.ci_low_s, found.interval, found.quiet_share) == (None, None, None)


@pytest.mark.parametrize(("rounds", "basis"), [(8, "adjusted"), (5, "quiet")])
def test_an_adjusted_figure_comes_first_where_it_has_enough_rounds(rounds: int, basis: str) -> None:
    case, other = (Adjusted(UNKNOWN, {(0, i): ms / 1e3 for i in range(rounds)}) for ms in (4, 2))
    bursts = [ten(i, 3 * MS, 100) for i in range(8)]
    found = latency.estimate(bursts, GATE, case, 0.01)
    ratio, of = latency.ratio(bursts, bursts, GATE, (case, other), tau=0.01)
    assert found and found.interval and ratio
    assert (found.basis, of) == (basis, basis)
    if basis == "adjusted":
        assert (found.p50_s, ratio.value) == pytest.approx((0.004, 2.0))
        assert (found.rounds, found.samples) == (8, 80)
        # A process differs by the tau given, however many rounds agree.
        for interval in (found.interval, ratio):
            assert interval.high / interval.value == pytest.approx(1.0198, abs=1e-4)
    else:
        assert (found.p50_s, ratio.value) == pytest.approx((0.003, 1.0))
