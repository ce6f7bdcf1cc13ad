import math
import random
from dataclasses import replace

import pytest

from benchbox.analysis import between_runs
from benchbox.analysis.adjusted import Adjustment, Slopes, Widths
from benchbox.analysis.between_runs import LEAST_SPREAD, UNKNOWN_SPREAD, Figure
from benchbox.analysis.latency import Latency

SLOPES = Slopes(0.7, 0.1, 0.3, 0.1, 0.2, 0.05)
WIDTHS = Widths(0.01, 0.0, 0.01)


def figure(p50_s: float = 0.010, half: float = 0.02, **changes: object) -> Figure:
    ends = p50_s / (1 + half), p50_s * (1 + half)
    latency = Latency(p50_s, *ends, None, None, p50_s, p50_s / 2, 99, 0.9, 20, basis="adjusted")
    return Figure(replace(latency, **changes), usual())  # type: ignore[arg-type]


def usual(compute_ns: float = 1e4, refill_ns: float = 1e5) -> Adjustment:
    return Adjustment(SLOPES, compute_ns, 1e6, 0.12, 0.0, 0.01, WIDTHS, refill_ns)


def test_the_interval_joins_both_intervals_and_what_runs_differ_by() -> None:
    found = between_runs.ratio(figure(), figure(0.012), 0.02)
    assert found is not None
    assert found.interval.value == pytest.approx(1.2)
    half = math.hypot(math.log(1.02), math.log(1.02), 1.96 * 0.02)
    assert math.log(found.interval.high / 1.2) == pytest.approx(half)
    assert found.interval.low * found.interval.high == pytest.approx(1.44)
    assert (found.verdict(0.01), found.verdict(0.2)) == ("SLOWER", "UNCLEAR")


def test_a_changed_state_of_the_machine_is_taken_out_on_the_same_machine_alone() -> None:
    slower = 0.010 * math.exp(0.2 * 0.5)  # by the refill slope, once it takes e^0.5 the time
    after = replace(figure(slower), adjustment=usual(refill_ns=1e5 * math.exp(0.5)))
    found = between_runs.ratio(figure(), after)
    assert found is not None
    assert found.interval.value == pytest.approx(1.0)
    assert found.carried == pytest.approx(0.1)
    level = between_runs.ratio(figure(), figure())
    assert level is not None
    assert found.interval.high > level.interval.high  # the error of the slope
    other = between_runs.ratio(figure(), after, same_machine=False)
    assert other is not None
    assert other.interval.value == pytest.approx(math.exp(0.1))


def test_processes_widen_an_interval_that_lacks_them() -> None:
    few, bare = {"sessions_p50_s": (0.01, 0.0101, 0.0102), "between_sd": 0.05}, None
    wide = between_runs.ratio(figure(), replace(figure(**few), adjustment=bare))
    level = between_runs.ratio(figure(), figure())
    assert wide is not None
    assert level is not None
    assert math.log(wide.interval.high) ** 2 - math.log(level.interval.high) ** 2 == pytest.approx(
        (1.96 * 0.05) ** 2 / 3
    )


def test_a_disturbed_figure_is_never_faster_or_slower_and_none_has_no_ratio() -> None:
    found = between_runs.ratio(figure(), figure(0.1, basis="all"))
    assert found is not None
    assert found.verdict() == "UNCLEAR"
    assert between_runs.ratio(figure(), figure(ci_low_s=None)) is None


def test_graphs_that_did_not_change_tell_what_runs_differ_by() -> None:
    assert between_runs.spread([1.5, 1.5]) == UNKNOWN_SPREAD  # too few
    assert between_runs.spread([1.0, 1.001, 0.999]) == LEAST_SPREAD
    assert between_runs.spread([math.exp(0.1)] * 3) == pytest.approx(0.162, rel=0.01)


def test_a_run_and_a_run_again_differ_in_one_of_twenty_cases_at_most() -> None:
    """Runs that shift all of their cases, and processes each case, by what none of them knows."""
    rng, wrong, total = random.Random(5), 0, 0
    for _ in range(200):
        shift = rng.gauss(0, 0.03)
        after = [figure(0.01 * math.exp(shift + rng.gauss(0, 0.014))) for _ in range(10)]
        first = [between_runs.ratio(figure(), each) for each in after]
        spread = between_runs.spread(each.interval.value for each in first if each)
        found = [between_runs.ratio(figure(), each, spread) for each in after]
        wrong += sum(each is None or each.verdict(1e-9) != "UNCLEAR" for each in found)
        total += len(found)
    assert wrong <= total / 20
