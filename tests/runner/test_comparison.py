"""Records of a comparison: ratios, verdicts, what one case's failure leaves, resumed runs."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from benchbox import records
from benchbox.analysis import stats
from benchbox.analysis.machine import Known, Machine
from benchbox.analysis.samples import round_medians
from benchbox.analysis.states import Bases
from benchbox.analysis.stats import Interval
from benchbox.errors import CaseError
from benchbox.records import Record
from benchbox.runner import record as runner_record
from benchbox.runner.judge import MORE, shortfall
from benchbox.sampling.plan import Plan
from tests.helpers.runs import Bench, Watcher, interrupt, named
from tests.helpers.sessions import on_level, wave
from tests.helpers.tables import record as row_of

PLAN = Plan(precision=0.01, max_time_s=60, min_rounds=18, burst_s=0.02, margin=0.01)


def wander(bench: Bench, **latencies_ms: float) -> None:
    """Let cases wander together by 30%, which no sentinel shows."""

    def wandering(latency_s: float) -> Callable[[], float]:
        return lambda: latency_s * wave(bench.devices.machine.now)

    latencies = {f"tiny:{key}": wandering(ms / 1e3) for key, ms in latencies_ms.items()}
    bench.devices.machine.latencies |= latencies


def relative(record: Record) -> Interval:
    assert record.relative is not None
    return record.relative


def test_every_case_has_its_ratio_and_the_verdict_follows(bench: Bench) -> None:
    """Of rounds at any level of the memory, of which a latency counts the usual one."""
    bench.devices.machine.memory = lambda now: 1.5 if math.floor(now) % 3 == 0 else 1.0
    bench.devices.take(a=2, b=4, c=1)
    cases, plan = named("a", "b", "c"), replace(PLAN, min_rounds=40)
    found = bench.measure(cases, plan=plan)
    assert bench.statuses() == {"a": "ok", "b": "ok", "c": "ok"}
    assert found["tiny:a"].relative is None
    read = {record.key: record for record in records.read(bench.journal.path).records}
    for key, value, verdict in (("tiny:b", 2.0, "SLOWER"), ("tiny:c", 0.5, "FASTER")):
        assert relative(found[key]).value == pytest.approx(value, rel=0.01)
        assert stats.verdict(found[key].relative) == verdict
        pair = [read[key], read["tiny:a"]]
        medians = [round_medians(each.bursts, each.gate, paired=True) for each in pair]
        assert found[key].relative == read[key].relative == stats.ratio_interval(*medians)
        quiet = round_medians(read[key].bursts, read[key].gate)
        assert len(quiet) < 0.9 * len(medians[0])
        assert found[key].latency is not None
        assert found[key].latency.rounds == len(quiet)
    before = dict(found)
    assert bench.measure(cases, plan=plan) == before  # what is good is not timed again
    assert bench.devices.agents[-1].loaded == []


def test_a_ratio_is_ok_although_latencies_wander(bench: Bench) -> None:
    wander(bench, a=2, b=3)
    found = bench.measure("ab", plan=PLAN)
    assert bench.statuses() == {"a": "ok", "b": "ok"}
    for record in found.values():
        assert record.reason == ""
        assert record.latency is not None
        assert record.latency.interval is not None
        assert record.latency.interval.half_width > PLAN.precision
    assert relative(found["tiny:b"]).value == pytest.approx(1.5, rel=0.01)


def test_a_ratio_that_is_too_wide_is_imprecise_and_the_reference_is_not(bench: Bench) -> None:
    plan = replace(PLAN, precision=1e-6, max_time_s=3)
    found = bench.measure("ab", plan=plan)
    assert bench.statuses() == {"a": "ok", "b": "imprecise"}
    reason = found["tiny:b"].reason
    assert reason.startswith("the ratio is ±0.")
    assert MORE in reason
    assert found["tiny:b"].relative is not None


@pytest.mark.parametrize(("bad", "why"), [("a", "no memory for it"), ("b", "torch refused")])
def test_when_one_of_two_fails_the_other_is_judged_by_its_own_latency(
    bench: Bench, bad: str, why: str
) -> None:
    wander(bench, a=2, b=2)
    graphs: dict[str, Any] = {}
    if why.startswith("torch"):
        graphs[f"tiny:{bad}"] = CaseError(why)
    else:
        bench.devices.refused = {0: f"tiny:{bad}"}
    found = bench.measure("ab", graphs=graphs, plan=replace(PLAN, max_time_s=5))
    left = found["tiny:b" if bad == "a" else "tiny:a"]
    assert (found[f"tiny:{bad}"].status, found[f"tiny:{bad}"].reason) == ("failed", why)
    assert left.status == "imprecise"
    assert left.reason.startswith("±")
    assert left.latency is not None
    assert left.relative is None


@pytest.mark.parametrize(("paired", "count"), [(True, 20), (False, 8)])
def test_the_ratio_of_a_record_is_of_all_rounds_only_where_they_are_mirrored(
    paired: bool, count: int
) -> None:
    case, reference = on_level(8, 12, 2000), on_level(8, 12, 1000)
    case = [*case[:8], *(replace(burst, latencies_ns=(3000,)) for burst in case[8:])]
    bare = row_of({}, None, spec="tiny", case="b", reference="a")
    machine = Machine(Known(Bases(12_000.0, 300_000.0)))
    found = runner_record.measured(bare, case, reference, "ab", machine, paired=paired)
    assert len(round_medians(case, machine.gate, paired=paired)) == count
    assert relative(found).value == pytest.approx(3.0 if paired else 2.0)
    assert found.latency is not None
    assert found.latency.p50_s == pytest.approx(2e-6)
    assert found.latency.rounds == 8


# going on


def test_ctrl_c_while_a_precise_ratio_is_unclear_leaves_it_imprecise(bench: Bench) -> None:
    bench.devices.take(a=2, b=2.02, c=4)
    found = bench.measure("abc", Watcher(interrupt, after=80), PLAN)
    assert bench.interrupted
    near, reference = found["tiny:b"], found["tiny:a"]
    machine = bench.measurement.state.machine
    assert shortfall(near.bursts, PLAN, machine, None, reference.bursts) == ""
    assert stats.verdict(near.relative, 0.01) == "UNCLEAR"
    assert bench.statuses() == {"a": "ok", "b": "imprecise", "c": "ok"}
    assert near.reason.startswith("interrupted before ")


def test_an_unclear_comparison_is_ok_and_measures_on_when_it_is_resumed(bench: Bench) -> None:
    bench.devices.take(a=2, b=2.02, c=4)
    cases, plan = named("a", "b", "c"), replace(PLAN, max_time_s=5)
    first = dict(bench.measure(cases, plan=plan))
    assert set(bench.statuses().values()) == {"ok"}
    assert stats.verdict(first["tiny:b"].relative, 0.01) == "UNCLEAR"
    assert bench.devices.machine.now >= 5
    second = dict(bench.measure(cases, plan=plan))
    assert sorted(bench.devices.agents[-1].loaded) == ["tiny:a", "tiny:b"]
    for name, grows in (("a", True), ("b", True), ("c", False)):
        before, after = (len(each[f"tiny:{name}"].bursts) for each in (first, second))
        assert after > 1.5 * before if grows else after == before
    assert dict(bench.measure(cases, plan=replace(plan, margin=0.1))) == second
    assert bench.devices.agents[-1].loaded == []
