import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbox.analysis import stats
from benchbox.analysis.samples import round_medians
from benchbox.sampling.plan import LEAST_REST, Plan, lacking, processes_for
from tests.helpers.sessions import bursts

PLAN = Plan(precision=0.01, min_rounds=20)
plans = st.builds(
    Plan,
    precision=st.floats(0.001, 0.5),
    max_time_s=st.floats(1.0, 1e4),
    min_rounds=st.integers(6, 200),
    sessions=st.integers(1, 20),
)


# the parts of a plan


@pytest.mark.parametrize(
    ("precision", "max_time_s", "processes"),
    [(0.03, 45.0, 1), (0.01, 45.0, 5), (0.006, 100.0, 11), (0.006, 36.0, 4), (0.0001, 1.0, 0)],
)
def test_a_precision_takes_more_processes_as_far_as_they_find_time(
    precision: float, max_time_s: float, processes: int
) -> None:
    assert processes_for(precision, max_time_s) == processes


@given(plans)
def test_the_sessions_together_have_the_rounds_and_the_time(plan: Plan) -> None:
    assert plan.sessions * plan.rounds_each >= plan.min_rounds
    assert plan.sessions * (plan.rounds_each - 1) < plan.min_rounds
    assert plan.stage_end_s(plan.sessions - 1) == pytest.approx(plan.max_time_s)


@given(plans)
def test_each_session_asks_for_more_than_the_one_before_and_the_last_for_all(plan: Plan) -> None:
    wanted = [plan.stage_precision(stage) for stage in range(plan.sessions)]
    assert wanted == sorted(wanted, reverse=True)
    assert wanted[-1] == pytest.approx(plan.precision)
    assert wanted[0] == pytest.approx(plan.precision * math.sqrt(plan.sessions))
    ends = [plan.stage_end_s(stage) for stage in range(plan.sessions)]
    assert ends == sorted(ends)


@given(plans, st.floats(0.0, 0.1))
def test_what_processes_differ_by_is_left_to_more_of_them(plan: Plan, tau: float) -> None:
    """What is asked of rounds makes the precision with it, as long as it can."""
    last = plan.sessions - 1
    rest, processes = plan.stage_precision(last, tau), 1.96 * tau / math.sqrt(plan.sessions)
    assert LEAST_REST * plan.precision <= rest <= plan.precision
    if rest > LEAST_REST * plan.precision:
        assert math.hypot(rest, processes) == pytest.approx(plan.precision)
    else:
        assert processes > 0.9 * plan.precision


# what samples lack of it


@pytest.mark.parametrize(
    ("latencies", "text"),
    [
        ([], "only 0 quiet rounds and an interval needs 6"),
        ([1000] * 5, "only 5 quiet rounds and an interval needs 6"),
        ([1000, 2000] * 4, "±33.3% after 8 rounds, ±1.0% was asked"),
        ([1000] * 19, "only 19 of 20 quiet rounds"),
        ([1000] * 20, ""),
    ],
)
def test_the_ways_to_fall_short_are_told_apart(latencies: list[int], text: str) -> None:
    assert stats.MIN_ROUNDS == 6
    assert lacking(round_medians(bursts(*latencies)), PLAN) == text
