"""Boards that change in mid run: what is recorded, tagged and noted."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchbox import records
from benchbox.agent.host import disturbances, health
from benchbox.analysis.samples import Burst
from benchbox.costs import Cost
from benchbox.devices import Device
from benchbox.export import Graph
from benchbox.records import Context, Record, Run
from benchbox.records.cooldown import Cooldown
from benchbox.records.journal import Journal
from benchbox.report import conditions
from benchbox.runner import Request
from benchbox.runner.assembly import assemble
from benchbox.runner.request import Clock, Prepared
from benchbox.sampling import sampler as sampling_sampler
from benchbox.sampling.plan import Plan
from benchbox.sampling.sampler import Sampler
from benchbox.specs import Case, OnnxFile, Selection
from benchbox.transports import Agent
from tests.board.files import plant
from tests.helpers.machine import (
    CPU,
    FIRMWARE,
    ZONE,
    Inside,
    program,
    raspberry,
    small_phone,
)

MakeCases = Callable[..., list[Case]]


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs, the only one that is searched."""
    monkeypatch.setattr(health, "PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "bin"


PLAN = Plan(precision=0.9, max_time_s=2, min_rounds=30, burst_s=0.002, min_calls=2)


class Watcher:
    """Changes the board's files once there are samples."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act, self.acted_at = act, 0
        self.cooled: list[tuple[float, float, float]] = []

    def loading(self, done: int, total: int) -> None:
        pass

    def cooling(self, now_c: float, goal_c: float, left_s: float) -> None:
        self.cooled.append((now_c, goal_c, left_s))

    def measuring(self, sampler: Sampler) -> None:
        (case,) = sampler.cases.values()
        if case.bursts and not self.acted_at:
            self.acted_at = len(case.bursts)
            self.act()

    def finished(self, record: Record) -> None:
        pass


class Lab:
    """Measures one case on the board that the files below `root` are."""

    def __init__(self, root: Path, cpu: Device, case: Case) -> None:
        self.root, self.device, self.case = root, cpu, case
        self.agents: list[Agent] = []
        self.clock = Clock()

    def open(self, device: Device) -> Agent:
        self.agents.append(Agent(Inside(self.root), device))  # type: ignore[arg-type]
        return self.agents[-1]

    def run(self, act: Callable[[], object], plan: Plan = PLAN, previous: Run | None = None) -> Run:
        agent = self.open(self.device)
        hello = agent.hello
        context = Context(
            *("tiny", records.now(), "0", "cpu", "cpu", 1, "arm", 0, {}, []),
            host=hello["host"],
            cpus=hello["cpus"],
        )
        self.watcher = Watcher(act)
        self.journal = Journal(self.root / "results", context, previous)
        assert isinstance(self.case.source, OnnxFile)
        cost = Cost(1000, 0, 1, 1 << 20, 1 << 20, {"MatMul": 1}, ())
        graph = Graph(self.case.source.path, "0" * 64, cost, 1, 18, "none", None, {})
        folder = self.root / "results"
        request = Request(
            *("tiny", [], Selection(), self.device, plan, folder), open=self.open, clock=self.clock
        )
        ready = Prepared([self.case], {self.case.key: graph})
        assemble(request, ready, agent, self.journal, self.watcher).run()  # type: ignore[arg-type]
        self.journal.close()
        return records.read(self.journal.path)

    def plant(self, name: str, text: str) -> Callable[[], None]:
        return lambda: plant(self.root, {name: text})


@pytest.fixture
def lab(tmp_path: Path, cpu: Device, onnx_cases: MakeCases, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(sampling_sampler, "CHUNK_S", 0.02)
    monkeypatch.setattr(disturbances, "DEAREST_NS", 1e12)
    (case,) = onnx_cases("a")
    return Lab(tmp_path, cpu, case)


def parts(lab: Lab, run: Run) -> tuple[list[Burst], list[Burst]]:
    """The bursts before and after the board changed."""
    (record,) = run.records
    bursts = list(record.bursts)
    assert 0 < lab.watcher.acted_at < len(bursts)
    return bursts[: lab.watcher.acted_at], bursts[lab.watcher.acted_at :]


def test_a_board_whose_firmware_throttles_in_mid_run_is_found_out(lab: Lab) -> None:
    plant(lab.root, raspberry("0"))
    run = lab.run(lab.plant(FIRMWARE, "50005\n"))
    before, after = parts(lab, run)
    assert run.context.host["setting"]["throttled"] == "none"
    assert all(not {"undervoltage", "firmware"} & set(burst.tags) for burst in before)
    assert all({"undervoltage", "firmware"} <= set(burst.tags) for burst in after)
    assert all("changed" not in burst.tags for burst in (*before, *after))
    assert {burst.seen["throttled_bits"] for burst in after} == {0x50005}
    assert all(burst.setting == {} for burst in before)
    assert {burst.setting["throttled"][:17] for burst in after} == {"under-voltage now"}
    assert lab.journal.path.read_text().count('"setting"') == 1 + len(after), "what changed alone"
    assert conditions.notes(run.context, run.records) == [
        "while it was timed its throttling changed from none to under-voltage now, throttled now, "
        "under-voltage since it was started, throttled since it was started"
    ]


def test_a_board_that_only_a_program_tells_of_is_found_out_too(
    lab: Lab, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "EVERY_S", 0.0)
    program(path, "vcgencmd", "throttled=0x0\n")
    plant(lab.root, raspberry(bits=None))
    run = lab.run(lambda: (path / "vcgencmd.txt").write_text("throttled=0x20002\n"))
    before, after = parts(lab, run)
    assert all("capped" not in burst.tags for burst in before)
    assert all("capped" in burst.tags for burst in after)
    assert all("throttled_bits" not in burst.seen for burst in after)


def test_a_governor_that_changes_in_mid_run_is_in_the_record_and_under_the_table(
    lab: Lab,
) -> None:
    plant(lab.root, small_phone())
    names = [f"{CPU}/cpu{cpu}/cpufreq/scaling_governor" for cpu in (0, 1)]
    run = lab.run(lambda: plant(lab.root, dict.fromkeys(names, "powersave\n")))
    before, after = parts(lab, run)
    assert all((burst.setting, "changed" in burst.tags) == ({}, False) for burst in before)
    changed = {"governor": "powersave"}
    assert all((burst.setting, "changed" in burst.tags) == (changed, True) for burst in after)
    assert conditions.notes(run.context, run.records) == [
        "while it was timed its governor changed from schedutil to powersave"
    ]


def test_what_changes_between_two_processes_is_found_out_as_well(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one greets a board that is set otherwise than when the run began."""
    plant(lab.root, small_phone())
    opened = lab.open

    def change_and_open(device: Device) -> Agent:
        if lab.agents:
            names = [f"{CPU}/cpu{cpu}/cpufreq/scaling_max_freq" for cpu in (0, 1)]
            plant(lab.root, dict.fromkeys(names, "600000\n"))
        return opened(device)

    monkeypatch.setattr(lab, "open", change_and_open)
    run = lab.run(lambda: None, replace(PLAN, sessions=2))
    (record,) = run.records
    by_session = {burst.session: burst.setting for burst in record.bursts}
    assert by_session == {0: {}, 1: {"limit": "600 MHz"}}


def test_a_resumed_run_is_held_against_how_the_board_was_set_at_first(lab: Lab) -> None:
    plant(lab.root, small_phone())
    first = lab.run(lambda: None, replace(PLAN, precision=1e-9, max_time_s=0.3))
    before = len(first.records[0].bursts)
    names = [f"{CPU}/cpu{cpu}/cpufreq/scaling_governor" for cpu in (0, 1)]
    plant(lab.root, dict.fromkeys(names, "powersave\n"))
    resumed = lab.run(lambda: None, replace(PLAN, min_rounds=10**6, max_time_s=3.0), first)
    assert resumed.context.host["setting"]["governor"] == "schedutil"
    bursts = resumed.records[0].bursts
    assert len(bursts) > before > 0
    assert all(burst.setting == {} for burst in bursts[:before])
    assert all(burst.setting == {"governor": "powersave"} for burst in bursts[before:])


def test_a_device_says_how_it_feels_when_asked(lab: Lab) -> None:
    plant(lab.root, raspberry("0", celsius=47.0))
    with lab.open(lab.device) as agent:
        assert agent.health().temperature_c == 47.0
        plant(lab.root, raspberry("8", celsius=83.0))
        now = agent.health()
    assert now.temperature_c == 83.0
    assert now.setting["throttled"] == "near its heat limit now"


def test_a_run_waits_for_a_board_to_cool_down_and_records_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each session heats it by 20 degrees, each second of waiting takes away 5; 12 s are allowed.

    From the third on it gets too hot for that.
    """
    now_s = [0.0]
    celsius = [50.0]

    def warm(by: float) -> None:
        celsius[0] += by
        plant(lab.root, {f"{ZONE}/temp": f"{celsius[0] * 1000:.0f}\n"})

    def sleep(seconds: float) -> None:
        now_s[0] += seconds
        warm(-5.0 * seconds)

    lab.clock = Clock(lambda: now_s[0], sleep)
    plant(lab.root, raspberry("0"))
    opened = lab.open

    def heat_and_open(device: Device) -> Agent:
        if lab.agents:
            warm(20.0 * len(lab.agents) ** 2)
        return opened(device)

    monkeypatch.setattr(lab, "open", heat_and_open)
    run = lab.run(lambda: None, replace(PLAN, sessions=3, cooldown_s=12.0))
    (record,) = run.records
    assert record.cooldowns == (
        Cooldown(0, 0.0, 50.0, 50.0, 50.0),
        Cooldown(1, 4.0, 50.0, 70.0, 50.0),
        Cooldown(2, 12.0, 50.0, 130.0, 70.0),
    )
    assert lab.watcher.cooled[0] == (70.0, 51.0, 12.0)
    assert len(lab.watcher.cooled) == 4 + 12
    assert conditions.notes(run.context, run.records) == [
        "it had not cooled down before 1 of 2 processes: 70 °C after 12 s, 50 °C before the "
        "first; give it longer with --cooldown"
    ]


def test_a_board_without_sensors_is_not_waited_for_and_a_note_says_so(lab: Lab) -> None:
    plant(lab.root, small_phone())
    run = lab.run(lambda: None, replace(PLAN, sessions=2, cooldown_s=60.0))
    (record,) = run.records
    assert [(each.session, each.first_c, each.end_c) for each in record.cooldowns] == [
        (0, None, None),
        (1, None, None),
    ]
    assert conditions.notes(run.context, run.records) == [
        "it was given no time to cool down: the device shows no temperature"
    ]


def test_without_a_cooldown_nothing_is_asked_or_kept(lab: Lab) -> None:
    plant(lab.root, raspberry("0"))
    run = lab.run(lambda: None, replace(PLAN, sessions=2))
    assert run.records[0].cooldowns == ()
    assert "cooldowns" not in lab.journal.path.read_text()
