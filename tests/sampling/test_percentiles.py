"""Percentiles on request: a case goes on until it has the calls that they need, time permitting."""

from dataclasses import replace

import pytest

from benchbox.analysis.samples import call_count
from benchbox.sampling.plan import Plan, unknown
from tests.helpers.sessions import FakeSession, Sampling, steady

PLAN = Plan(precision=0.5, min_rounds=6, burst_s=0.01, max_time_s=60, sessions=2)
MODELS = {"a": steady(0.001), "b": steady(0.004)}


@pytest.mark.parametrize(
    ("percentiles", "needed"), [((), 0), ((50.0,), 11), ((90.0, 99.0), 662), ((99.9,), 6636)]
)
def test_each_process_takes_its_part_of_the_calls(
    percentiles: tuple[float, ...], needed: int
) -> None:
    plan = replace(PLAN, percentiles=percentiles)
    run = Sampling(MODELS, plan, FakeSession(MODELS))
    assert run.measure_in_stages()[-1]
    for key in MODELS:
        per_process = [
            call_count([b for b in run.bursts(key) if b.session == stage]) for stage in (0, 1)
        ]
        assert sum(per_process) >= needed
        assert per_process[0] >= needed / 2
        if key == "b":  # the reference goes on beside it
            assert sum(per_process) <= needed + 250
        assert not unknown(sum(per_process), plan)


def test_what_time_did_not_permit_is_said() -> None:
    plan = replace(PLAN, percentiles=(90.0, 99.0), max_time_s=1.5)
    run = Sampling(MODELS, plan, FakeSession(MODELS))
    run.measure_in_stages()
    count = call_count(run.bursts("b"))
    assert 64 <= count < 662
    assert unknown(count, plan) == f"p99 needs 662 samples, has {count}"
    assert unknown(9, plan) == "p90 needs 64 samples, has 9"
