import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchbox import records
from benchbox.analysis.samples import round_medians
from benchbox.analysis.states import Known
from benchbox.costs import Cost
from benchbox.devices import Device
from benchbox.errors import AgentError, CaseError, DeviceError
from benchbox.export import Graph
from benchbox.records import Context, Record
from benchbox.records.journal import Journal
from benchbox.runner import measurement, memory_groups
from benchbox.runner.measurement import Measurement
from benchbox.sampling import sampler as sampling_sampler
from benchbox.sampling.plan import Plan
from benchbox.sampling.sampler import Sampler
from benchbox.sampling.session import Ask, Timed
from benchbox.specs import Case, OnnxFile
from benchbox.transports import Agent, Loaded
from benchbox.transports.client import Deadlines
from benchbox.transports.local import open_local
from tests.helpers.machine import Calm, Machine

MakeCases = Callable[..., list[Case]]
PLAN = Plan(precision=0.9, max_time_s=20, min_rounds=6, burst_s=0.002, min_calls=2)
ENDLESS = replace(PLAN, precision=1e-9, max_time_s=60)
SHORT = Deadlines(burst_s=1.0, patience=2)


class Devices:
    """Opens agents and remembers the process of each; what else this machine does is no matter."""

    def __init__(self) -> None:
        self.pids: list[int] = []
        self.broken = False

    def open(self, device: Device) -> Agent:
        if self.broken:
            raise DeviceError("device 'cpu' was unplugged")
        channel = open_local()
        self.pids.append(channel.pid)
        return Calm(channel, device, SHORT)


class Watcher:
    """Does something once, when the sampler has this many samples of every active case."""

    def __init__(self, act: Callable[[], object] = lambda: None, after: int = 20) -> None:
        self.act, self.after, self.acted = act, after, False
        self.records: list[Record] = []
        self.cooled: list[tuple[float, float, float]] = []

    def measuring(self, sampler: Sampler) -> None:
        enough = all(len(case.bursts) >= self.after for case in sampler.active)
        if enough and sampler.active and not self.acted:
            self.acted = True
            self.act()

    def loading(self, done: int, total: int) -> None:
        pass

    def cooling(self, now_c: float, goal_c: float, left_s: float) -> None:
        self.cooled.append((now_c, goal_c, left_s))

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

    def __init__(self, folder: Path, device: Device, devices: "Devices | Simulated") -> None:
        self.folder, self.device, self.devices = folder, device, devices
        self.journal = Journal(folder, context())

    def measure(
        self,
        cases: list[Case],
        watcher: Watcher | None = None,
        plan: Plan = PLAN,
        graphs: dict[str, Graph | CaseError] | None = None,
        known: Known | None = None,
    ) -> dict[str, Record]:
        self.watcher = watcher or Watcher()
        chosen = {case.key: graph_of(case) for case in cases} | (graphs or {})
        agent = self.devices.open(self.device)
        journal, open_ = self.journal, self.devices.open
        self.measurement = Measurement(
            cases, chosen, self.device, plan, journal, self.watcher, agent, open_, known
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
    monkeypatch.setattr(sampling_sampler, "CHUNK_S", 0.05)
    return Bench(tmp_path / "results", cpu, Devices())


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
        def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
            yield from super().time(bursts, expected_s)
            raise AgentError("lost between requests")

    def open_(device: Device) -> Agent:
        bench.devices.pids.append(0)
        return Sleepwalker(open_local(), device, SHORT)

    monkeypatch.setattr(bench.devices, "open", open_)
    found = bench.measure(onnx_cases("a", "b"), plan=ENDLESS)
    assert {record.reason for record in found.values()} == {"lost between requests"}
    assert len(bench.devices.pids) == measurement.IDLE_CRASHES


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
    size = memory_groups.session_bytes(graph_of(cases[0]))
    monkeypatch.setattr(memory_groups, "LIMIT_BYTES", memory_groups.BASE_BYTES + int(2.5 * size))
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
    size = memory_groups.session_bytes(graphs[cases[0].key])
    for budget in (0, size, 2 * size, 3 * size, 4 * size, 99 * size):
        groups = memory_groups.split(cases, graphs, budget)
        for group in groups:
            keys = [case.key for case in group]
            assert len(set(keys)) == len(keys)
            assert all(f"{case.spec}:{case.reference}" in keys for case in group)
            fits = len(group) * size <= budget
            assert fits or sum(not case.is_reference for case in group) <= 1
        together = [case.key for group in groups for case in group if not case.is_reference]
        assert together == ["tiny:b", "tiny:c", "other:q"]
    assert len(memory_groups.split(cases, graphs, 99 * size)) == 1
    assert memory_groups.split([], {}, 0) == []


def test_the_budget_follows_the_memory_that_is_free() -> None:
    assert memory_groups.budget(None) == memory_groups.LIMIT_BYTES - memory_groups.BASE_BYTES
    assert memory_groups.budget(1 << 60) == memory_groups.budget(None)
    assert 0 < memory_groups.budget(1 << 30) < memory_groups.budget(None)
    assert memory_groups.budget(0) == 0


def test_checkpoints_are_written_meanwhile_and_superseded(
    bench: Bench, onnx_cases: MakeCases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurement, "CHECKPOINT_S", 0.1)
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


# sessions, on a machine that is simulated


class Simulated:
    """Opens agents on a simulated machine, on which every case takes 2 ms."""

    def __init__(self) -> None:
        self.machine = Machine({f"tiny:{name}": 0.002 for name in "abcdefgh"})
        self.agents: list[SimulatedAgent] = []
        self.opening: Callable[[int], object] = lambda _: None
        self.loading_s = 0.0
        self.lost_at: dict[int, int] = {}  # agent -> the burst that it is lost in
        self.refused: dict[int, str] = {}  # agent -> the case that it cannot load

    def open(self, _: Device) -> Agent:
        self.opening(len(self.agents))
        self.agents.append(SimulatedAgent(self, len(self.agents)))
        return self.agents[-1]  # type: ignore[return-value]


class SimulatedAgent:
    def __init__(self, devices: Simulated, number: int) -> None:
        self.devices, self.number = devices, number
        self.hello = {"host": {"memory_available_bytes": None}}
        self.loaded: list[str] = []
        self.denormals: list[str] = []
        self.closed = False
        self.left = devices.lost_at.get(number, 10**9)

    def load(self, graph: str, *_: object, denormals: bool, **_how: object) -> Loaded:
        self.loaded.append(graph)
        self.devices.machine.sleep(self.devices.loading_s)
        self.denormals += [graph] * denormals
        if self.devices.refused.get(self.number) == graph:
            raise CaseError("no memory for it")
        return Loaded(0.1, 0.002, 1, 1 << 20, ("0",), 1.0, 1 << 10)

    def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
        for timed in self.devices.machine.time(bursts, expected_s):
            self.left -= 1
            if self.left < 0:
                raise AgentError("the agent is gone")
            yield timed

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> "SimulatedAgent":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


THREE = Plan(precision=0.01, max_time_s=60, min_rounds=18, burst_s=0.02, sessions=3)


@pytest.fixture
def devices() -> Simulated:
    return Simulated()


@pytest.fixture
def simulated(
    tmp_path: Path, cpu: Device, monkeypatch: pytest.MonkeyPatch, devices: Simulated
) -> Bench:
    clock = devices.machine.perf_counter
    monkeypatch.setattr(sampling_sampler, "CHUNK_S", 0.1)
    monkeypatch.setattr(measurement, "Sampler", partial(Sampler, clock=clock))
    monkeypatch.setattr(measurement, "time", SimpleNamespace(monotonic=clock))
    return Bench(tmp_path / "results", cpu, devices)


def groups_of(count: int, cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let so many cases fit the memory of an agent, and half of another."""
    size = memory_groups.session_bytes(graph_of(cases[0]))
    limit = memory_groups.BASE_BYTES + int((count + 0.5) * size)
    monkeypatch.setattr(memory_groups, "LIMIT_BYTES", limit)


def test_a_figure_comes_from_as_many_processes_as_the_plan_says(
    simulated: Bench, devices: Simulated, onnx_cases: MakeCases
) -> None:
    found = simulated.measure(onnx_cases("a", "b", "c"), plan=THREE)
    assert simulated.statuses() == {"a": "ok", "b": "ok", "c": "ok"}
    assert [agent.closed for agent in devices.agents] == [True] * 3
    assert [sorted(agent.loaded) for agent in devices.agents] == [
        ["tiny:a", "tiny:b", "tiny:c"]
    ] * 3
    for record in found.values():
        assert sessions(record) == {0, 1, 2}
        assert record.latency is not None
        assert len(record.latency.sessions_p50_s) == 3
        assert record.latency.p50_s == pytest.approx(0.002, rel=0.01)
        assert record.latency.between_sd is not None
        per = [sum(b.session == session for b in record.bursts) for session in range(3)]
        assert min(per) >= THREE.rounds_each
    assert simulated.lines() == 3


def test_each_memory_group_has_three_agents_of_its_own(
    simulated: Bench,
    devices: Simulated,
    onnx_cases: MakeCases,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases = onnx_cases("a", "b", "c")
    groups_of(2, cases, monkeypatch)
    found = simulated.measure(cases, plan=THREE)
    assert simulated.statuses() == {"a": "ok", "b": "ok", "c": "ok"}
    loaded = [sorted(agent.loaded) for agent in devices.agents]
    assert loaded == [["tiny:a", "tiny:b"]] * 3 + [["tiny:a", "tiny:c"]] * 3
    assert {key: sessions(record) for key, record in found.items()} == {
        "tiny:a": {0, 1, 2, 3, 4, 5},
        "tiny:b": {0, 1, 2},
        "tiny:c": {3, 4, 5},
    }
    assert found["tiny:c"].relative is not None


def test_denormals_are_looked_for_once(
    simulated: Bench, devices: Simulated, onnx_cases: MakeCases
) -> None:
    found = simulated.measure(onnx_cases("a", "b"), plan=THREE)
    assert [sorted(agent.denormals) for agent in devices.agents] == [["tiny:a", "tiny:b"], [], []]
    assert found["tiny:b"].denormal_ratio == 1.0


@pytest.mark.parametrize(("agent", "burst"), [(0, 3), (0, 25), (1, 0), (1, 25), (2, 12)])
def test_an_agent_lost_in_one_session_costs_one_case_and_no_sample(
    simulated: Bench, devices: Simulated, onnx_cases: MakeCases, agent: int, burst: int
) -> None:
    devices.lost_at = {agent: burst}
    found = simulated.measure(onnx_cases("a", "b", "c"), plan=THREE)
    assert sorted(simulated.statuses().values()) == ["failed", "ok", "ok"]
    assert len(devices.agents) == 4
    assert all(each.closed for each in devices.agents)
    for record in found.values():
        if record.status == "ok":
            assert sessions(record) >= {0, 1, 2, 3} - {agent}
            assert record.latency is not None
        else:
            assert record.reason == "the agent is gone"
            assert sessions(record) <= set(range(agent + 1))
            assert bool(record.bursts) == (agent > 0 or burst > 9)


def test_a_graph_that_a_later_agent_cannot_load_is_a_failed_row_with_its_samples(
    simulated: Bench, devices: Simulated, onnx_cases: MakeCases
) -> None:
    devices.refused = {1: "tiny:b"}
    found = simulated.measure(onnx_cases("a", "b", "c"), plan=THREE)
    assert simulated.statuses() == {"a": "ok", "b": "failed", "c": "ok"}
    assert found["tiny:b"].reason == "no memory for it"
    assert sessions(found["tiny:b"]) == {0}
    assert sorted(devices.agents[2].loaded) == ["tiny:a", "tiny:c"]


def test_a_device_that_goes_away_between_two_sessions_fails_what_is_left(
    simulated: Bench, devices: Simulated, onnx_cases: MakeCases
) -> None:
    def unplug(number: int) -> None:
        if number == 1:
            raise DeviceError("device 'cpu' was unplugged")

    devices.opening = unplug
    found = simulated.measure(onnx_cases("a", "b"), plan=THREE)
    assert set(simulated.statuses().values()) == {"failed"}
    assert all("unplugged" in record.reason for record in found.values())
    assert all(sessions(record) == {0} for record in found.values())


@pytest.mark.parametrize("at", [1, 2])
def test_ctrl_c_between_two_sessions_keeps_what_there_is(
    simulated: Bench, devices: Simulated, onnx_cases: MakeCases, at: int
) -> None:
    devices.opening = lambda number: interrupt() if number == at else None
    found = simulated.measure(onnx_cases("a", "b"), plan=THREE)
    assert simulated.interrupted
    assert simulated.statuses() == {"a": "imprecise", "b": "imprecise"}
    for record in found.values():
        assert "interrupted" in record.reason
        assert sessions(record) == set(range(at))
        assert record.latency is not None
    assert found["tiny:b"].relative is not None
    assert all(agent.closed for agent in devices.agents)


def test_a_run_interrupted_between_sessions_is_resumed_with_as_many_more(
    simulated: Bench, devices: Simulated, onnx_cases: MakeCases
) -> None:
    cases = onnx_cases("a", "b")
    devices.opening = lambda number: interrupt() if number == 2 else None
    simulated.measure(cases, plan=THREE)
    before = {key: len(record.bursts) for key, record in simulated.journal.records.items()}
    devices.opening = lambda _: None
    found = simulated.measure(cases, plan=THREE)
    assert simulated.statuses() == {"a": "ok", "b": "ok"}
    for key, record in found.items():
        assert sessions(record) >= {0, 1, 2}
        assert len(record.bursts) > before[key]
        numbers = [(b.session, b.round) for b in record.bursts]
        assert len(set(numbers)) == len(numbers)
    agents = len(devices.agents)
    simulated.measure(cases, plan=THREE)
    assert all(not agent.loaded for agent in devices.agents[agents:])


def test_a_case_that_one_session_was_enough_for_is_not_enough_for_three(
    simulated: Bench, onnx_cases: MakeCases
) -> None:
    cases = onnx_cases("a", "b")
    simulated.measure(cases, plan=replace(THREE, sessions=1))
    assert simulated.statuses() == {"a": "ok", "b": "ok"}
    found = simulated.measure(cases, plan=THREE)
    assert simulated.statuses() == {"a": "ok", "b": "ok"}
    assert all(len(sessions(record)) >= 3 for record in found.values())


ALL_OF_IT = replace(THREE, precision=1e-9, max_time_s=12)


def test_loading_takes_nothing_from_the_time(
    simulated: Bench, devices: Simulated, onnx_cases: MakeCases
) -> None:
    devices.loading_s = 20
    found = simulated.measure(onnx_cases("a", "b"), plan=ALL_OF_IT)
    assert {key: sessions(record) for key, record in found.items()} == {
        "tiny:a": {0, 1, 2},
        "tiny:b": {0, 1, 2},
    }
    assert devices.machine.now == pytest.approx(12 + 3 * 2 * 20, abs=1)


def test_nor_does_opening_an_agent(
    simulated: Bench, devices: Simulated, onnx_cases: MakeCases
) -> None:
    devices.opening = lambda _: devices.machine.sleep(5)
    found = simulated.measure(onnx_cases("a", "b"), plan=ALL_OF_IT)
    assert [sessions(record) for record in found.values()] == [{0, 1, 2}] * 2


def test_checkpoints_of_a_later_session_hold_the_samples_of_the_earlier_ones(
    simulated: Bench,
    devices: Simulated,
    onnx_cases: MakeCases,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measurement, "CHECKPOINT_S", -1.0)  # at once, and at each news after that
    seen: list[dict[str, Record]] = []
    devices.opening = lambda number: number == 2 and seen.append(dict(simulated.journal.records))
    simulated.measure(onnx_cases("a", "b"), plan=THREE)
    (at_the_third,) = seen
    assert {key: sessions(record) for key, record in at_the_third.items()} == {
        "tiny:a": {0, 1},
        "tiny:b": {0, 1},
    }
    assert {record.status for record in at_the_third.values()} == {"imprecise"}


# the state that counts


def test_the_record_says_in_which_state_its_samples_count(
    simulated: Bench, onnx_cases: MakeCases
) -> None:
    found = simulated.measure(onnx_cases("a", "b"), plan=THREE)
    gates = {record.gate for record in found.values()}
    assert gates == {simulated.measurement.readings.gate}
    assert [r.gate for r in records.read(simulated.journal.path).records] == [*gates, *gates]


def test_a_known_machine_that_is_slow_all_the_time_gives_no_figure(
    simulated: Bench, devices: Simulated, onnx_cases: MakeCases
) -> None:
    simulated.measure(onnx_cases("a"), plan=THREE)
    known = simulated.measurement.readings.after()
    devices.machine.state = lambda _: 1.35
    found = simulated.measure(onnx_cases("b"), plan=THREE, known=known)
    record = found["tiny:b"]
    assert record.status == "imprecise"
    assert "only 0 quiet rounds" in record.reason
    assert record.latency is None
    assert record.bursts


def test_what_was_timed_before_makes_the_gate_of_a_resumed_run(
    simulated: Bench, onnx_cases: MakeCases
) -> None:
    cases = onnx_cases("a", "b")
    simulated.measure(cases, plan=THREE)
    gate = simulated.measurement.readings.gate
    simulated.measure(cases, plan=THREE)
    assert simulated.measurement.readings.gate == gate
    assert gate.compute is not None


def test_resuming_without_a_new_reading_changes_nothing_that_is_known(
    simulated: Bench, devices: Simulated, onnx_cases: MakeCases
) -> None:
    cases = onnx_cases("a", "b")
    simulated.measure(cases, plan=THREE)
    known = simulated.measurement.readings.after()
    devices.machine.state = lambda _: 1.35
    before = simulated.measure(onnx_cases("c"), plan=THREE, known=known)
    known = simulated.measurement.readings.after()
    after = simulated.measure(cases, plan=THREE, known=known)
    assert after == before
    assert simulated.measurement.readings.after().compute.bins == pytest.approx(known.compute.bins)


def slow_at_first(devices: Simulated) -> None:
    """The machine is slow while the first memory group is timed, and fast from then on."""
    devices.opening = lambda number: number == 3 and quicken(devices.machine)
    devices.machine.state = lambda _: 1.35


def quicken(machine: Machine) -> None:
    machine.state = lambda _: 1.0


def test_records_are_written_anew_when_the_gate_has_moved(
    simulated: Bench,
    devices: Simulated,
    onnx_cases: MakeCases,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases = onnx_cases("a", "b", "c")
    groups_of(2, cases, monkeypatch)
    slow_at_first(devices)
    found = simulated.measure(cases, plan=THREE)
    told = [(record.case, record.status) for record in simulated.watcher.records]
    assert ("b", "ok") in told
    assert told[-1] == ("b", "imprecise")
    assert simulated.statuses() == {"a": "ok", "b": "imprecise", "c": "ok"}
    assert found["tiny:b"].latency is None
    assert "only 0 quiet rounds" in found["tiny:b"].reason
    for name in ("a", "c"):
        latency = found[f"tiny:{name}"].latency
        assert latency is not None
        assert latency.p50_s == pytest.approx(0.002, rel=0.01)
    assert len({record.gate for record in found.values()}) == 1


def test_what_was_good_in_a_slow_state_is_timed_again_once_the_fast_one_is_seen(
    simulated: Bench,
    devices: Simulated,
    onnx_cases: MakeCases,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases = onnx_cases("a", "b", "c")
    groups_of(2, cases, monkeypatch)
    slow_at_first(devices)
    simulated.measure(cases, plan=THREE)
    found = simulated.measure(cases, plan=THREE)
    assert simulated.statuses() == {"a": "ok", "b": "ok", "c": "ok"}
    latency = found["tiny:b"].latency
    assert latency is not None
    assert latency.p50_s == pytest.approx(0.002, rel=0.01)
    assert max(sessions(found["tiny:c"])) < min(b.session for b in found["tiny:b"].bursts[-18:])


def test_a_record_that_is_written_anew_keeps_how_its_case_was_loaded(
    simulated: Bench, devices: Simulated, onnx_cases: MakeCases
) -> None:
    cases = onnx_cases("a", "b", "c", "d")
    simulated.measure(cases[:2], plan=THREE)
    before = simulated.journal.records["tiny:b"]
    devices.machine.state = lambda _: 0.985
    found = simulated.measure(cases, plan=THREE)
    assert found["tiny:b"].gate != before.gate
    assert sessions(found["tiny:b"]) == sessions(before)
    for name in ("load_s", "first_call_s", "warmup_calls", "affinity"):
        assert getattr(found["tiny:b"], name) == getattr(before, name), name


def cut_short(bench: Bench, devices: Simulated, cases: list[Case], slowness: float) -> None:
    """Interrupt a run in its second memory group, in which the machine is that slow."""
    quick, slow = (lambda _: 1.0), (lambda _: slowness)

    def opening(number: int) -> None:
        devices.machine.state = slow if number > 2 else quick
        if number == 5:
            raise KeyboardInterrupt

    devices.opening = opening
    bench.measure(cases, plan=THREE)
    assert bench.interrupted


def test_cases_without_a_quiet_sample_are_imprecise_when_a_run_is_interrupted(
    simulated: Bench,
    devices: Simulated,
    onnx_cases: MakeCases,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases = onnx_cases("a", "b", "c")
    groups_of(2, cases, monkeypatch)
    cut_short(simulated, devices, cases, 0.7)
    assert simulated.statuses() == {"a": "imprecise", "b": "imprecise", "c": "imprecise"}
    assert "before it was timed" not in simulated.journal.records["tiny:b"].reason


def test_an_interrupted_run_has_one_gate_too(
    simulated: Bench,
    devices: Simulated,
    onnx_cases: MakeCases,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases = onnx_cases("a", "b", "c")
    groups_of(2, cases, monkeypatch)
    cut_short(simulated, devices, cases, 0.985)
    gate = simulated.measurement.readings.gate
    assert {record.gate for record in simulated.journal.records.values()} == {gate}
