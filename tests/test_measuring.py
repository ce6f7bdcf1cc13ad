import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchbox import grouping, measuring, records, sampling
from benchbox.costs import Cost
from benchbox.devices import Device
from benchbox.errors import AgentError, CaseError, DeviceError
from benchbox.export import Graph
from benchbox.journal import Journal
from benchbox.measuring import Measurement
from benchbox.records import Context, Record
from benchbox.samples import round_medians
from benchbox.sampling import Plan, Sampler
from benchbox.specs import Case, OnnxFile
from benchbox.transports import Agent
from benchbox.transports.agent import Deadlines, Timed
from benchbox.transports.local import open_local

MakeCases = Callable[..., list[Case]]
PLAN = Plan(precision=0.9, max_time_s=20, min_rounds=6, burst_s=0.002, min_calls=2)
ENDLESS = replace(PLAN, precision=1e-9, max_time_s=60)
SHORT = Deadlines(burst_s=1.0, patience=2)


class Devices:
    """Opens agents and remembers the process of each."""

    def __init__(self) -> None:
        self.pids: list[int] = []
        self.broken = False

    def open(self, device: Device) -> Agent:
        if self.broken:
            raise DeviceError("device 'cpu' was unplugged")
        channel = open_local()
        self.pids.append(channel.pid)
        return Agent(channel, device, SHORT)


class Watcher:
    """Does something once, when the sampler has this many samples of every active case."""

    def __init__(self, act: Callable[[], object] = lambda: None, after: int = 20) -> None:
        self.act, self.after, self.acted = act, after, False
        self.records: list[Record] = []

    def measuring(self, sampler: Sampler) -> None:
        enough = all(len(case.bursts) >= self.after for case in sampler.active)
        if enough and sampler.active and not self.acted:
            self.acted = True
            self.act()

    def finished(self, record: Record) -> None:
        self.records.append(record)


def context() -> Context:
    return Context("tiny", records.now(), "0", "cpu", "cpu", 1, "arm", 0, {}, [])


def graph_of(case: Case) -> Graph:
    assert isinstance(case.source, OnnxFile)
    cost = Cost(1000, 0, 1, 1 << 20, 1 << 20, {"MatMul": 1}, ())
    return Graph(case.source.path, "0" * 64, cost, 1, 18, "none", None, {})


class Bench:
    """Measures cases with real agents into a folder."""

    def __init__(self, folder: Path, device: Device) -> None:
        self.folder, self.device, self.devices = folder, device, Devices()
        self.journal = Journal(folder, context())

    def measure(
        self,
        cases: list[Case],
        watcher: Watcher | None = None,
        plan: Plan = PLAN,
        graphs: dict[str, Graph | CaseError] | None = None,
    ) -> dict[str, Record]:
        self.watcher = watcher or Watcher()
        chosen = {case.key: graph_of(case) for case in cases} | (graphs or {})
        agent = self.devices.open(self.device)
        journal, open_ = self.journal, self.devices.open
        self.measurement = Measurement(
            cases, chosen, self.device, plan, journal, self.watcher, agent, open_
        )
        self.interrupted = self.measurement.run()
        return self.journal.records

    def statuses(self) -> dict[str, str]:
        """Return what a reader of the file sees."""
        return {record.case: record.status for record in records.read(self.journal.path).records}

    def lines(self) -> int:
        return self.journal.path.read_text().count("\n") - 1


@pytest.fixture
def bench(tmp_path: Path, cpu: Device, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(sampling, "CHUNK_S", 0.05)
    return Bench(tmp_path / "results", cpu)


def sessions(record: Record) -> set[int]:
    return {burst.session for burst in record.bursts}


def test_every_case_gets_a_figure_and_a_ratio(bench: Bench, onnx_cases: MakeCases) -> None:
    found = bench.measure(onnx_cases("a", "b", "c"))
    assert bench.statuses() == {"a": "ok", "b": "ok", "c": "ok"}
    assert not bench.interrupted
    for record in found.values():
        assert record.latency is not None
        assert record.latency.rounds >= 6
        assert record.load_s is not None
        assert record.first_call_s is not None
        assert record.peak_rss_bytes is not None
        assert record.warmup_calls is not None
        assert record.warmup_calls > 0
        assert sessions(record) == {0}
        assert (record.relative is None) == (record.case == "a")
    assert [record.case for record in bench.watcher.records].count("a") == 1
    assert bench.lines() == 3
    assert len(bench.devices.pids) == 1


def test_a_case_that_was_not_exported_is_a_failed_row(bench: Bench, onnx_cases: MakeCases) -> None:
    cases = onnx_cases("a", "b")
    found = bench.measure(cases, graphs={cases[1].key: CaseError("torch refused")})
    assert bench.statuses() == {"a": "ok", "b": "failed"}
    assert found["tiny:b"].reason == "torch refused"
    assert found["tiny:b"].graph is None


def test_a_graph_that_does_not_load_is_a_failed_row(bench: Bench, onnx_cases: MakeCases) -> None:
    cases = onnx_cases("a", "b", "c")
    assert isinstance(cases[1].source, OnnxFile)
    cases[1].source.path.write_text("no graph")
    found = bench.measure(cases)
    assert bench.statuses() == {"a": "ok", "b": "failed", "c": "ok"}
    assert "b.onnx" in found["tiny:b"].reason
    assert str(cases[1].source.path.parent) not in found["tiny:b"].reason
    assert len(bench.devices.pids) == 1


def test_a_reference_that_fails_leaves_the_others_without_a_ratio(
    bench: Bench, onnx_cases: MakeCases
) -> None:
    cases = onnx_cases("a", "b")
    assert isinstance(cases[0].source, OnnxFile)
    cases[0].source.path.write_text("no graph")
    found = bench.measure(cases)
    assert bench.statuses() == {"a": "failed", "b": "ok"}
    assert found["tiny:b"].relative is None


@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGKILL, "ended by SIGKILL"), (signal.SIGSTOP, "no answer for")]
)
def test_an_agent_that_dies_or_hangs_costs_one_case(
    bench: Bench, onnx_cases: MakeCases, number: signal.Signals, reason: str
) -> None:
    watcher = Watcher(lambda: os.kill(bench.devices.pids[0], number))
    plan = replace(PLAN, min_rounds=60)
    found = bench.measure(onnx_cases("a", "b", "c"), watcher, plan)
    assert sorted(bench.statuses().values()) == ["failed", "ok", "ok"]
    (failed,) = (record for record in found.values() if record.status == "failed")
    assert reason in failed.reason
    assert failed.latency is None
    assert failed.bursts
    assert len(bench.devices.pids) == 2
    for record in found.values():
        assert sessions(record) == ({0, 1} if record.status == "ok" else {0})


def test_a_device_that_goes_away_for_good_fails_what_is_left(
    bench: Bench, onnx_cases: MakeCases
) -> None:
    def unplug() -> None:
        bench.devices.broken = True
        os.kill(bench.devices.pids[0], signal.SIGKILL)

    found = bench.measure(onnx_cases("a", "b", "c"), Watcher(unplug), ENDLESS)
    assert set(bench.statuses().values()) == {"failed"}
    reasons = [record.reason for record in found.values()]
    assert sum("SIGKILL" in reason for reason in reasons) == 1
    assert sum("unplugged" in reason for reason in reasons) == 2
    assert all(record.bursts for record in found.values())


def test_agents_that_die_without_a_case_to_blame_are_given_up(
    bench: Bench, onnx_cases: MakeCases, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sleepwalker(Agent):
        def time(
            self, bursts: Sequence[tuple[str, int]], expected_s: Sequence[float]
        ) -> Iterator[Timed]:
            yield from super().time(bursts, expected_s)
            raise AgentError("lost between requests")

    def open_(device: Device) -> Agent:
        bench.devices.pids.append(0)
        return Sleepwalker(open_local(), device, SHORT)

    monkeypatch.setattr(bench.devices, "open", open_)
    found = bench.measure(onnx_cases("a", "b"), plan=ENDLESS)
    assert {record.reason for record in found.values()} == {"lost between requests"}
    assert len(bench.devices.pids) == measuring.IDLE_CRASHES


def test_a_case_too_noisy_for_its_precision_is_imprecise_and_says_so(
    bench: Bench, onnx_cases: MakeCases
) -> None:
    plan = replace(ENDLESS, max_time_s=0.5)
    found = bench.measure(onnx_cases("a", "b"), plan=plan)
    assert set(bench.statuses().values()) == {"imprecise"}
    assert all("--max-time" in record.reason for record in found.values())
    assert found["tiny:b"].relative is not None
    assert all(record.latency is not None for record in found.values())


def interrupt() -> None:
    raise KeyboardInterrupt


def test_ctrl_c_keeps_what_there_is(bench: Bench, onnx_cases: MakeCases) -> None:
    found = bench.measure(onnx_cases("a", "b"), Watcher(interrupt), ENDLESS)
    assert bench.interrupted
    assert bench.statuses() == {"a": "imprecise", "b": "imprecise"}
    assert all("interrupted" in record.reason and record.bursts for record in found.values())
    with pytest.raises(ProcessLookupError):
        os.kill(bench.devices.pids[0], 0)


def test_ctrl_c_before_the_first_sample_skips(bench: Bench, onnx_cases: MakeCases) -> None:
    bench.measure(onnx_cases("a", "b"), Watcher(interrupt, after=0), ENDLESS)
    assert bench.statuses() == {"a": "skipped", "b": "skipped"}


def test_what_was_good_is_not_timed_again_but_as_a_reference(
    bench: Bench, onnx_cases: MakeCases
) -> None:
    cases = onnx_cases("a", "b", "c", "d")
    bench.measure(cases[:3])
    before = {key: len(record.bursts) for key, record in bench.journal.records.items()}
    found = bench.measure(cases)
    assert bench.statuses() == dict.fromkeys("abcd", "ok")
    assert sessions(found["tiny:b"]) == {0}
    assert sessions(found["tiny:a"]) == {0, 1}
    assert sessions(found["tiny:d"]) == {1}
    assert len(found["tiny:b"].bursts) == before["tiny:b"]
    assert found["tiny:d"].relative is not None
    assert bench.measure(cases) == found
    assert {key: sessions(record) for key, record in found.items()}["tiny:a"] == {0, 1}


def test_an_imprecise_case_goes_on_from_the_samples_it_has(
    bench: Bench, onnx_cases: MakeCases
) -> None:
    cases = onnx_cases("a", "b")
    bench.measure(cases, Watcher(interrupt), ENDLESS)
    before = len(bench.journal.records["tiny:b"].bursts)
    found = bench.measure(cases)
    assert bench.statuses() == {"a": "ok", "b": "ok"}
    assert len(found["tiny:b"].bursts) > before
    assert sessions(found["tiny:b"]) == {0, 1}


def test_cases_beyond_the_memory_are_timed_in_groups_with_their_reference(
    bench: Bench, onnx_cases: MakeCases, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = onnx_cases("a", "b", "c", "d")
    size = grouping.session_bytes(graph_of(cases[0]))
    monkeypatch.setattr(grouping, "LIMIT_BYTES", grouping.BASE_BYTES + int(2.5 * size))
    found = bench.measure(cases)
    assert set(bench.statuses().values()) == {"ok"}
    assert len(bench.devices.pids) == 3
    assert sessions(found["tiny:a"]) == {0, 1, 2}
    for index, name in enumerate("bcd"):
        assert sessions(found[f"tiny:{name}"]) == {index}
        assert found[f"tiny:{name}"].relative is not None
    shared = round_medians(found["tiny:a"].bursts).keys() & round_medians(found["tiny:d"].bursts)
    assert len(shared) >= 6


def test_groups_hold_each_case_once_and_its_reference_always(onnx_cases: MakeCases) -> None:
    cases = [*onnx_cases("a", "b", "c"), *onnx_cases("p", "q", spec="other")]
    graphs = {case.key: graph_of(case) for case in cases}
    size = grouping.session_bytes(graphs[cases[0].key])
    for budget in (0, size, 2 * size, 3 * size, 4 * size, 99 * size):
        groups = grouping.split(cases, graphs, budget)
        for group in groups:
            keys = [case.key for case in group]
            assert len(set(keys)) == len(keys)
            assert all(f"{case.spec}:{case.reference}" in keys for case in group)
            fits = len(group) * size <= budget
            assert fits or sum(not case.is_reference for case in group) <= 1
        together = [case.key for group in groups for case in group if not case.is_reference]
        assert together == ["tiny:b", "tiny:c", "other:q"]
    assert len(grouping.split(cases, graphs, 99 * size)) == 1
    assert grouping.split([], {}, 0) == []


def test_the_budget_follows_the_memory_that_is_free() -> None:
    assert grouping.budget(None) == grouping.LIMIT_BYTES - grouping.BASE_BYTES
    assert grouping.budget(1 << 60) == grouping.budget(None)
    assert 0 < grouping.budget(1 << 30) < grouping.budget(None)
    assert grouping.budget(0) == 0


def test_checkpoints_are_written_meanwhile_and_superseded(
    bench: Bench, onnx_cases: MakeCases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "CHECKPOINT_S", 0.1)
    seen: list[dict[str, str]] = []
    watcher = Watcher(lambda: seen.append(bench.statuses()), after=100)
    plan = replace(PLAN, min_rounds=150)
    bench.measure(onnx_cases("a", "b"), watcher, plan)
    assert seen == [{"a": "imprecise", "b": "imprecise"}]
    assert bench.lines() > 2
    assert bench.statuses() == {"a": "ok", "b": "ok"}
    assert {record.reason for record in watcher.records} == {""}


def test_the_agent_is_closed_whatever_happens(bench: Bench, onnx_cases: MakeCases) -> None:
    def break_() -> None:
        raise AssertionError("a bug")

    with pytest.raises(AssertionError, match="a bug"):
        bench.measure(onnx_cases("a"), Watcher(break_), ENDLESS)
    with pytest.raises(ProcessLookupError):
        os.kill(bench.devices.pids[0], 0)
