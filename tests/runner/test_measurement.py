"""Measurement of a run: sessions, lost agents, memory groups, Ctrl-C, resumed runs, the gate."""

import math
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from benchbox import records
from benchbox.analysis.samples import round_medians
from benchbox.devices import Device
from benchbox.errors import AgentError, DeviceError
from benchbox.records import Record
from benchbox.runner import measurement, recorder
from benchbox.sampling.session import Timed
from benchbox.specs import Case, OnnxFile
from benchbox.transports import Agent
from tests.helpers.runs import (
    ENDLESS,
    LARGE,
    QUICK,
    THREE,
    Bench,
    SimulatedAgent,
    Watcher,
    graph_of,
    interrupt,
    named,
    sessions,
)

MakeCases = Callable[..., list[Case]]
ONE = replace(THREE, sessions=1)


def in_groups(bench: Bench, cases: Sequence[Case]) -> dict[str, Record]:
    """Measure cases of which an agent's memory holds the reference and one more."""
    large = {case.key: graph_of(case, LARGE) for case in cases}
    return bench.measure(cases, plan=THREE, graphs=large)


# with real agents


def test_a_graph_that_does_not_load_is_a_failed_row(real: Bench, onnx_cases: MakeCases) -> None:
    cases = onnx_cases("a", "b")
    assert isinstance(cases[0].source, OnnxFile)
    cases[0].source.path.write_text("no graph")
    found = real.measure(cases)
    assert real.statuses() == {"a": "failed", "b": "ok"}
    reason = found["tiny:a"].reason
    assert "a.onnx" in reason
    assert str(real.folder.parent) not in reason
    assert found["tiny:b"].relative is None
    assert len(real.devices.pids) == 1


def test_an_agent_that_dies_costs_one_case(real: Bench, onnx_cases: MakeCases) -> None:
    watcher = Watcher(lambda: os.kill(real.devices.pids[0], signal.SIGKILL))
    found = real.measure(onnx_cases("a", "b"), watcher, replace(QUICK, min_rounds=40))
    assert sorted(real.statuses().values()) == ["failed", "ok"]
    (failed,) = (record for record in found.values() if record.status == "failed")
    assert "ended by SIGKILL" in failed.reason
    assert failed.latency is None
    assert failed.bursts
    for record in found.values():
        assert sessions(record) == ({0, 1} if record.status == "ok" else {0})


def test_the_agent_is_closed_although_there_is_a_bug(bench: Bench) -> None:
    def break_() -> None:
        raise AssertionError("a bug")

    with pytest.raises(AssertionError, match="a bug"):
        bench.measure("a", Watcher(break_), ENDLESS)
    assert [agent.closed for agent in bench.devices.agents] == [True]


# sessions, on a machine that is simulated


def test_a_figure_comes_from_as_many_processes_as_the_plan_asks_for(bench: Bench) -> None:
    found = bench.measure("abc", plan=THREE)
    assert bench.statuses() == {"a": "ok", "b": "ok", "c": "ok"}
    assert [agent.closed for agent in bench.devices.agents] == [True] * 3
    assert all(sorted(each.loaded) == sorted(found) for each in bench.devices.agents)
    assert [sorted(each.denormals) for each in bench.devices.agents] == [sorted(found), [], []]
    for record in found.values():
        assert sessions(record) == {0, 1, 2}
        assert record.latency is not None
        assert len(record.latency.sessions_p50_s) == 3
        assert record.latency.p50_s == pytest.approx(0.002, rel=0.01)
        assert record.latency.between_sd is not None
        assert record.denormal_ratio == 1.0
        per = [sum(b.session == session for b in record.bursts) for session in range(3)]
        assert min(per) >= THREE.rounds_each
    assert bench.lines() == 3


def test_each_memory_group_has_three_agents_of_its_own_and_the_reference(bench: Bench) -> None:
    found = in_groups(bench, named("a", "b", "c"))
    assert bench.statuses() == {"a": "ok", "b": "ok", "c": "ok"}
    loaded = [sorted(agent.loaded) for agent in bench.devices.agents]
    assert loaded == [["tiny:a", "tiny:b"]] * 3 + [["tiny:a", "tiny:c"]] * 3
    assert {key: sessions(record) for key, record in found.items()} == {
        "tiny:a": {0, 1, 2, 3, 4, 5},
        "tiny:b": {0, 1, 2},
        "tiny:c": {3, 4, 5},
    }
    assert found["tiny:c"].relative is not None
    shared = round_medians(found["tiny:a"].bursts).keys() & round_medians(found["tiny:c"].bursts)
    assert len(shared) >= 6


@pytest.mark.parametrize(("agent", "burst"), [(0, 3), (0, 20), (1, 0), (2, 12)])
def test_an_agent_lost_in_one_session_costs_one_case_and_no_sample(
    bench: Bench, agent: int, burst: int
) -> None:
    bench.devices.lost_at = {agent: burst}
    found = bench.measure("abc", plan=THREE)
    assert sorted(bench.statuses().values()) == ["failed", "ok", "ok"]
    assert len(bench.devices.agents) == 4
    assert all(each.closed for each in bench.devices.agents)
    for record in found.values():
        if record.status == "ok":
            assert sessions(record) >= {0, 1, 2, 3} - {agent}
            assert record.latency is not None
        else:
            assert record.reason == "the agent is gone"
            assert sessions(record) <= set(range(agent + 1))
            assert bool(record.bursts) == (agent > 0 or burst > 6)


def test_agents_that_die_without_a_case_to_blame_are_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = SimulatedAgent.time

    def lost(self: SimulatedAgent, *asked: Any) -> Iterator[Timed]:
        yield from time(self, *asked)
        raise AgentError("lost between requests")

    monkeypatch.setattr(SimulatedAgent, "time", lost)
    found = bench.measure("ab", plan=THREE)
    assert {record.reason for record in found.values()} == {"lost between requests"}
    assert len(bench.devices.agents) == measurement.IDLE_CRASHES


def test_a_graph_that_a_later_agent_cannot_load_is_a_failed_row_and_is_tried_again(
    bench: Bench,
) -> None:
    bench.devices.refused = {1: "tiny:b"}
    found = dict(bench.measure("abc", plan=THREE))
    assert bench.statuses() == {"a": "ok", "b": "failed", "c": "ok"}
    assert found["tiny:b"].reason == "no memory for it"
    assert sessions(found["tiny:b"]) == {0}
    assert sorted(bench.devices.agents[2].loaded) == ["tiny:a", "tiny:c"]
    bench.measure("abc", plan=THREE)
    assert bench.statuses() == dict.fromkeys("abc", "ok")
    assert sorted(bench.devices.agents[-1].loaded) == ["tiny:a", "tiny:b"]


@pytest.mark.parametrize("lost_at", [{}, {0: 12}])
def test_a_device_that_goes_away_for_good_fails_what_is_left(
    bench: Bench, lost_at: dict[int, int]
) -> None:
    def unplug(number: int) -> None:
        if number == 1:
            raise DeviceError("device 'cpu' was unplugged")

    bench.devices.opening, bench.devices.lost_at = unplug, lost_at
    found = bench.measure("ab", plan=THREE).values()
    assert set(bench.statuses().values()) == {"failed"}
    assert sum("unplugged" in record.reason for record in found) == 2 - len(lost_at)
    assert all(sessions(record) == {0} for record in found)


def test_an_agent_with_other_libraries_than_the_first_is_not_used(bench: Bench) -> None:
    opened = bench.devices.open

    def upgraded(device: Device) -> Agent:
        agent = opened(device)
        agent.hello["versions"] = {"onnxruntime": f"1.{len(bench.devices.agents)}"}
        return agent

    bench.devices.open = upgraded
    found = bench.measure("a", plan=THREE)
    assert "onnxruntime changed in mid-run" in found["tiny:a"].reason
    assert sessions(found["tiny:a"]) == {0}
    assert all(agent.closed for agent in bench.devices.agents)


def test_a_case_too_noisy_for_its_precision_is_imprecise(bench: Bench) -> None:
    plan = replace(THREE, precision=1e-9, max_time_s=12)
    bench.devices.loading_s = 20  # takes nothing from the time
    bench.devices.opening = lambda _: bench.devices.machine.sleep(5)  # nor does this
    found = bench.measure("ab", plan=plan)
    assert set(bench.statuses().values()) == {"imprecise"}
    assert found["tiny:b"].relative is not None
    for record in found.values():
        assert "--max-time" in record.reason
        assert record.latency is not None
        assert sessions(record) == {0, 1, 2}
    assert bench.devices.machine.now == pytest.approx(12 + 3 * (2 * 20 + 5), abs=1)


# going on


def test_ctrl_c_before_the_first_sample_skips(bench: Bench) -> None:
    bench.measure("ab", Watcher(interrupt, after=0), THREE)
    assert bench.statuses() == {"a": "skipped", "b": "skipped"}


def test_ctrl_c_keeps_both_kinds_of_burst_of_a_run_at_a_rate(bench: Bench) -> None:
    plan = replace(ONE, arrival_per_s=20.0, precision=1e-9, max_time_s=100)
    found = bench.measure("a", Watcher(interrupt, after=20), plan)
    record = found["tiny:a"]
    assert record.status == "imprecise"
    assert {burst.kind for burst in record.bursts} == {"paced", "beside"}
    assert record.arrival is not None
    assert record.latency is not None


def test_ctrl_c_between_sessions_keeps_what_there_is_and_a_resumed_run_adds_to_it(
    bench: Bench,
) -> None:
    cases = named("a", "b")
    bench.devices.opening = lambda number: interrupt() if number == 2 else None
    found = bench.measure(cases, plan=THREE)
    assert bench.interrupted
    assert bench.statuses() == {"a": "imprecise", "b": "imprecise"}
    for record in found.values():
        assert "interrupted" in record.reason
        assert sessions(record) == {0, 1}
        assert record.latency is not None
    assert found["tiny:b"].relative is not None
    assert all(agent.closed for agent in bench.devices.agents)
    before = {key: len(record.bursts) for key, record in found.items()}
    bench.devices.opening = lambda _: None
    found = bench.measure(cases, plan=THREE)
    assert bench.statuses() == {"a": "ok", "b": "ok"}
    for key, record in found.items():
        assert sessions(record) >= {0, 1, 2}
        assert len(record.bursts) > before[key]
        numbers = [(b.session, b.round) for b in record.bursts]
        assert len(set(numbers)) == len(numbers)


def test_what_was_good_is_not_timed_again_but_as_a_reference_or_in_more_sessions(
    bench: Bench,
) -> None:
    before = dict(bench.measure("abc", plan=ONE))
    found = dict(bench.measure("abcd", plan=ONE))
    assert bench.statuses() == dict.fromkeys("abcd", "ok")
    assert [sessions(found[f"tiny:{name}"]) for name in "abd"] == [{0, 1}, {0}, {1}]
    assert len(found["tiny:b"].bursts) == len(before["tiny:b"].bursts)
    assert found["tiny:d"].relative is not None
    assert bench.measure("abcd", plan=ONE) == found
    assert bench.devices.agents[-1].loaded == []
    found = bench.measure("abcd", plan=THREE)
    assert bench.statuses() == dict.fromkeys("abcd", "ok")
    assert all(len(sessions(record)) >= 3 for record in found.values())


def test_checkpoints_hold_all_samples_so_far_and_are_superseded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "CHECKPOINT_S", 0.2)
    kept: list[dict[str, Record]] = []
    bench.devices.opening = lambda number: number == 2 and kept.append(dict(bench.journal.records))
    found = bench.measure("ab", plan=THREE)
    (before_the_third,) = kept
    assert {record.status for record in before_the_third.values()} == {"imprecise"}
    assert {record.reason for record in before_the_third.values()} == {"still being timed"}
    assert [sessions(record) for record in before_the_third.values()] == [{0, 1}] * 2
    assert bench.lines() > 2
    assert bench.statuses() == {"a": "ok", "b": "ok"}
    assert {record.reason for record in found.values()} == {""}
    assert len(bench.watcher.records) == 2


# the state that counts


def test_a_record_has_the_gate_by_which_its_samples_count(bench: Bench) -> None:
    cases = named("a", "b")
    found = bench.measure(cases, plan=THREE)
    gate = bench.measurement.state.machine.gate
    assert gate.compute is not None
    assert {record.gate for record in found.values()} == {gate}
    assert [r.gate for r in records.read(bench.journal.path).records] == [gate, gate]
    bench.measure(cases, plan=THREE)  # resumed
    assert bench.measurement.state.machine.gate == gate


def test_a_known_machine_that_is_slow_all_the_time_gives_a_figure_of_that_state(
    bench: Bench,
) -> None:
    cases, plan = named("a", "b"), replace(THREE, max_time_s=15)
    bench.measure(cases[:1], plan=plan)
    known = bench.measurement.state.machine.after()
    bench.devices.machine.state = lambda _: 1.35
    found = dict(Bench(bench.folder, bench.devices).measure("c", plan=plan, known=known))
    record = found["tiny:c"]
    assert record.status == "ok"
    assert record.latency and record.latency.basis == "quiet"
    assert record.latency.p50_s == pytest.approx(1.35 * 0.002, rel=0.01)
    assert record.state_shift == pytest.approx(1.35, rel=0.01)
    before = dict(bench.journal.records)
    assert bench.measure(cases[:1], plan=plan, known=known) == before  # without a new reading
    assert bench.measurement.state.machine.after() == known


def test_records_are_written_anew_when_the_gate_has_moved(bench: Bench) -> None:
    """The machine is slow while the first memory group is timed, and fast from then on."""

    def quicken(number: int) -> None:
        if number == 3:
            bench.devices.machine.state = lambda _: 1.0

    cases = named("a", "b", "c")
    bench.devices.opening, bench.devices.machine.state = quicken, lambda _: 1.35
    found = in_groups(bench, cases)
    finished = [(record.case, record.status) for record in bench.watcher.records]
    assert ("b", "ok") in finished
    assert finished[-1] == ("b", "imprecise")
    assert bench.statuses() == {"a": "ok", "b": "imprecise", "c": "ok"}
    latency = found["tiny:b"].latency
    assert latency is not None and latency.basis == "undisturbed"
    assert "only 0 quiet rounds" in found["tiny:b"].reason
    assert len({record.gate for record in found.values()}) == 1
    found = in_groups(bench, cases)
    assert bench.statuses() == {"a": "ok", "b": "ok", "c": "ok"}
    for record in found.values():
        assert record.latency is not None
        assert record.latency.p50_s == pytest.approx(0.002, rel=0.01)
    assert max(sessions(found["tiny:c"])) < min(b.session for b in found["tiny:b"].bursts[-18:])


@pytest.mark.parametrize("slowness", [0.7, 0.985])
def test_a_run_interrupted_after_its_gate_has_moved_has_one_gate_too(
    bench: Bench, slowness: float
) -> None:
    """Ctrl-C comes in the second memory group, in which the machine is that slow."""

    def opening(number: int) -> None:
        bench.devices.machine.state = lambda _: slowness if number > 2 else 1.0
        if number == 5:
            raise KeyboardInterrupt

    bench.devices.opening = opening
    found = in_groups(bench, named("a", "b", "c"))
    assert bench.interrupted
    gate = bench.measurement.state.machine.gate
    assert {record.gate for record in found.values()} == {gate}
    if slowness < 0.9:  # so that what was timed first has no quiet sample
        assert set(bench.statuses().values()) == {"imprecise"}
        assert "before it was timed" not in found["tiny:b"].reason


def test_a_record_that_is_written_anew_keeps_how_its_case_was_loaded(bench: Bench) -> None:
    bench.measure("ab", plan=THREE)
    before = bench.journal.records["tiny:b"]
    bench.devices.machine.state = lambda _: 0.985
    after = bench.measure("abcd", plan=THREE)["tiny:b"]
    assert after.gate != before.gate
    assert sessions(after) == sessions(before)
    for name in ("load_s", "first_call_s", "warmup_calls", "affinity"):
        assert getattr(after, name) == getattr(before, name), name


# adjusted


@pytest.mark.parametrize(
    ("host", "changes", "adjusts"),
    [
        ({"machine": "x86_64"}, {}, True),
        ({"machine": "AMD64"}, {"margin": 0.01}, True),
        ({"machine": "aarch64"}, {}, False),
        ({"machine": "x86_64", "gpu": {"name": "G"}}, {}, False),
        ({"machine": "x86_64"}, {"arrival_per_s": 20.0}, False),
        ({"machine": "x86_64"}, {"sustained_s": 10.0}, False),
    ],
)
def test_figures_are_adjusted_on_processors_of_x86_for_calls_in_a_row(
    bench: Bench, host: dict[str, Any], changes: dict[str, Any], adjusts: bool
) -> None:
    bench.devices.host |= host
    plan = replace(ONE, max_time_s=100, precision=0.05, **changes)
    found = bench.measure("ab", plan=plan)
    read = {record.key: record for record in records.read(bench.journal.path).records}
    assert set(bench.statuses().values()) == {"ok"}
    for key, record in found.items():
        assert (record.adjustment is not None) == adjusts
        assert record.latency and (record.latency.basis == "adjusted") == adjusts
        assert (read[key].adjustment, read[key].latency) == (record.adjustment, record.latency)


def test_what_an_adjusted_run_learned_leads_the_next_and_is_told_in_its_records(
    bench: Bench,
) -> None:
    bench.devices.host["machine"] = "x86_64"
    slow = lambda now: 1.04 if int(now) % 3 else 1.0  # noqa: E731
    bench.measure("a", plan=THREE)
    known = bench.measurement.state.machine.after()
    bench.devices.machine.state = slow
    bench.devices.take(a=2, b=4)
    plan = replace(THREE, precision=0.02, min_rounds=60)
    found = Bench(bench.folder, bench.devices).measure("ab", plan=plan, known=known)
    for name, true_s in (("a", 0.002), ("b", 0.004)):
        record = found[f"tiny:{name}"]
        assert record.status == "ok"
        assert record.latency and record.latency.interval and record.adjustment
        assert record.latency.p50_s == pytest.approx(true_s, rel=0.01)
        assert record.latency.raw_p50_s > 1.03 * true_s
        assert record.latency.interval.half_width <= 0.02
        told = record.adjustment
        assert known.usual is not None
        assert told.usual_compute_ns == known.usual.compute_ns
        assert math.exp(told.shift) == pytest.approx(1.04, rel=0.01)
        assert told.widths.total == pytest.approx(record.latency.interval.half_width, rel=0.05)
    b = found["tiny:b"]
    assert b.relative_basis == "adjusted" and b.relative is not None
    assert b.relative.value == pytest.approx(2.0, rel=0.01)
