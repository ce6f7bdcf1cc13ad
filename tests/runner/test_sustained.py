"""Runs under continuous load: one agent a case, what is lost and kept, options, the command."""

import pytest

from benchbox.analysis.machine import Known
from benchbox.api import load_options
from benchbox.api.options import UnderLoad
from benchbox.errors import UsageError
from benchbox.runner import recorder
from benchbox.sampling.plan import Plan
from benchbox.sampling.sampler import Sampler
from benchbox.sampling.sustained import Sustainer
from tests.helpers.runs import LARGE, Bench, Watcher, graph_of, interrupt, named

LOAD = Plan(sustained_s=10.0, max_time_s=20.0, burst_s=0.05)


class Noting(Watcher):
    """Notes the reasons that stand in the journal, and stops the second case."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench, self.reasons = bench, set[str]()

    def measuring(self, sampler: Sampler) -> None:
        assert isinstance(sampler, Sustainer)
        self.reasons |= {record.reason for record in self.bench.journal.records.values()}
        if "tiny:b" in sampler.cases and sampler.windows:
            interrupt()


def test_each_case_has_its_time_in_an_agent_of_its_own(bench: Bench) -> None:
    found = bench.measure("ab", plan=LOAD)
    assert bench.statuses() == {"a": "ok", "b": "ok"}
    assert [agent.loaded for agent in bench.devices.agents] == [["tiny:a"], ["tiny:b"]]
    for each in found.values():
        assert each.sustained is not None
        assert each.latency is not None
        assert each.relative is None
        assert each.bursts == []
        assert each.load_s is not None
        assert sum(window.lasts_s for window in each.sustained.windows) >= 9
    assert bench.measurement.state.machine.after() == Known()
    assert bench.watcher.records[0].reason == ""


def test_a_reference_is_timed_once_whatever_the_memory(bench: Bench) -> None:
    cases = named("a", "b", "c")
    large = {case.key: graph_of(case, LARGE) for case in cases}
    bench.measure(cases, plan=LOAD, graphs=large)
    assert [agent.loaded for agent in bench.devices.agents] == [["tiny:a"], ["tiny:b"], ["tiny:c"]]


def test_a_lost_agent_costs_one_case(bench: Bench) -> None:
    bench.devices.lost_at = {0: 100}
    found = bench.measure("ab", plan=LOAD)
    assert bench.statuses() == {"a": "failed", "b": "ok"}
    assert found["tiny:a"].reason == "the agent is gone"
    assert found["tiny:a"].latency is None
    assert found["tiny:a"].sustained is not None


def test_ctrl_c_keeps_the_windows_and_a_resumed_run_begins_the_case_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "CHECKPOINT_S", 1.0)
    cases, watcher = named("a", "b", "c"), Noting(bench)
    found = bench.measure(cases, watcher, LOAD)
    assert bench.interrupted
    assert "still being timed" in watcher.reasons
    assert bench.statuses() == {"a": "ok", "b": "imprecise", "c": "skipped"}
    assert found["tiny:b"].reason.startswith("interrupted: only ")
    assert found["tiny:b"].latency is not None
    first = found["tiny:a"]
    assert first.reason == ""
    found = bench.measure(cases, plan=LOAD)
    assert bench.statuses() == {"a": "ok", "b": "ok", "c": "ok"}
    assert found["tiny:a"] is first


# what is asked for


def adapted(text: str, *typed: str) -> Plan:
    load, names = UnderLoad(sustained=text), frozenset(typed)
    return load_options.adapt(Plan(sessions=3), load, 2, precise=False, timed=False, typed=names)


def test_the_plan_of_a_sustained_load_is_one_process_for_each_case() -> None:
    plan = adapted("10m")
    assert plan.sustained_s == 600
    assert plan.sessions == 1
    assert plan.max_time_s == 1200
    text = "2 cases, 10 min of continuous load each, 20 min together"
    assert load_options.announcement(plan, 2) == text
    assert load_options.announcement(plan, 1).startswith("1 case, 10 min of continuous load")


@pytest.mark.parametrize("name", ["quick", "precision", "max_time", "sessions"])
def test_options_that_make_no_sense_are_refused_where_they_are_typed(name: str) -> None:
    with pytest.raises(UsageError, match=name.replace("_", "-")):
        adapted("10m", name)
    assert adapted("10m").sustained_s == 600  # from the environment they may be for other runs


@pytest.mark.parametrize("text", ["soon", "0s", "1s"])
def test_a_time_that_is_none_or_too_short_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"--sustained {text}"):
        adapted(text)
