"""Boards that change in mid run: what is recorded, tagged and noted."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchbox import records
from benchbox.devices import Device
from benchbox.records import Context, Run
from benchbox.records.cooldown import Cooldown
from benchbox.records.journal import Journal
from benchbox.report import conditions
from benchbox.runner import Request
from benchbox.runner.assembly import assemble
from benchbox.runner.request import Clock, Prepared
from benchbox.sampling import sampler
from benchbox.sampling.plan import Plan
from benchbox.sampling.sampler import Sampler
from benchbox.sampling.session import Ask, Timed
from benchbox.specs import Case, Selection
from benchbox.transports import Agent
from tests.board.files import plant
from tests.helpers.machine import CPU, FIRMWARE, ZONE, Inside, raspberry, small_phone
from tests.helpers.runs import Watcher, graph_of, interrupt

PLAN = Plan(precision=0.9, max_time_s=60, min_rounds=30, burst_s=0.002, min_calls=2)
GOVERNORS = dict.fromkeys(
    (f"{CPU}/cpu{cpu}/cpufreq/scaling_governor" for cpu in (0, 1)), "powersave\n"
)
LIMITS = dict.fromkeys((f"{CPU}/cpu{cpu}/cpufreq/scaling_max_freq" for cpu in (0, 1)), "600000\n")


class Steady(Agent):
    """An agent on a board whose calls take a microsecond more or less than 1 ms, and says so.

    Of what was seen it passes on what the board's files hold: this machine may be busy.
    """

    bursts = 0

    def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
        for timed in super().time(bursts, expected_s):
            self.bursts += 1
            latencies = [1_000_000 + self.bursts * 7 % 11 * 100] * len(timed.latencies_ns)
            seen = {n: v for n, v in timed.data["seen"].items() if n == "throttled_bits"}
            setting = {n: v for n, v in timed.data.items() if n == "setting"}
            yield Timed(timed.graph, {"latencies_ns": latencies, "seen": seen, **setting})


class Changing(Watcher):
    """Acts once there are bursts, and ends the run when there are as many again and ten."""

    ends_at = 10**9

    def measuring(self, sampler: Sampler) -> None:
        (case,) = sampler.cases.values()
        if len(case.bursts) >= self.ends_at:
            interrupt()
        if not self.acted:
            self.ends_at = 2 * len(case.bursts) + 10
        super().measuring(sampler)


class Lab:
    """Measures one case on the board that the files below `root` are."""

    def __init__(self, root: Path, device: Device, case: Case) -> None:
        self.root, self.device, self.case = root, device, case
        self.opened = 0
        self.opening: Callable[[int], object] = lambda _: None
        self.clock = Clock()

    def open(self, device: Device) -> Agent:
        self.opening(self.opened)
        self.opened += 1
        return Steady(Inside(self.root), device)  # type: ignore[arg-type]

    def run(
        self,
        plan: Plan = PLAN,
        watcher: Watcher | None = None,
        previous: Run | None = None,
    ) -> Run:
        agent, results = self.open(self.device), self.root / "results"
        context = Context(
            *("tiny", records.now(), "0", "cpu", "cpu", 1, "arm", 0, {}, []),
            host=agent.hello["host"],
            cpus=agent.hello["cpus"],
        )
        self.watcher = watcher or Watcher()
        journal = Journal(results, context, previous)
        request = Request(
            *("tiny", [], Selection(), self.device, plan, results), open=self.open, clock=self.clock
        )
        ready = Prepared([self.case], {self.case.key: graph_of(self.case)})
        assemble(request, ready, agent, journal, self.watcher).run()
        journal.close()
        return records.read(journal.path)


@pytest.fixture
def lab(
    tmp_path: Path,
    cpu: Device,
    onnx_cases: Callable[..., list[Case]],
    monkeypatch: pytest.MonkeyPatch,
    programs: Path,
    slow_files: None,
) -> Lab:
    assert (programs.exists(), slow_files) == (False, None)
    monkeypatch.setattr(sampler, "CHUNK_S", 0.02)
    return Lab(tmp_path, cpu, onnx_cases("a")[0])


def notes(run: Run) -> list[str]:
    return conditions.notes(run.context, run.records)


@pytest.mark.parametrize(
    ("board", "change", "name", "texts", "tags"),
    [
        (
            *(raspberry("0"), {FIRMWARE: "50005\n"}, "throttled"),
            *(("none", "under-voltage now, throttled now"), {"undervoltage", "firmware"}),
        ),
        (small_phone(), GOVERNORS, "governor", ("schedutil", "powersave"), {"changed"}),
    ],
    ids=["firmware", "governor"],
)
def test_a_change_in_mid_run_tags_the_bursts_after_it(
    lab: Lab,
    board: dict[str, str],
    change: dict[str, str],
    name: str,
    texts: tuple[str, str],
    tags: set[str],
) -> None:
    plant(lab.root, board)
    run = lab.run(watcher=Changing(lambda: plant(lab.root, change), after=1))
    before, after = texts
    assert run.context.host["setting"][name] == before
    bursts = run.records[0].bursts
    found = [{"undervoltage", "firmware", "capped", "changed"} & set(b.tags) for b in bursts]
    first = found.index(tags)
    assert first > 0
    assert found == [set()] * first + [tags] * (len(bursts) - first)
    assert all(burst.setting == {} for burst in bursts[:first])
    for burst in bursts[first:]:
        assert burst.setting.keys() == {name}
        assert burst.setting[name].startswith(after)
        assert burst.seen.get("throttled_bits") == (0x50005 if FIRMWARE in change else None)
    assert run.path.read_text().count('"setting"') == 1 + len(bursts) - first, "the change alone"
    assert f"changed from {before} to {after}" in notes(run)[0]


def test_a_change_between_two_processes_or_two_runs_is_found(lab: Lab) -> None:
    """The second one greets a board that is set otherwise than when the run began."""
    plant(lab.root, small_phone())
    lab.opening = lambda number: number and plant(lab.root, LIMITS)
    (record,) = lab.run(replace(PLAN, sessions=2)).records
    by_session = {burst.session: burst.setting for burst in record.bursts}
    assert by_session == {0: {}, 1: {"limit": "600 MHz"}}
    plant(lab.root, small_phone())
    lab.opening = lambda _: None
    first = lab.run(watcher=Watcher(interrupt, after=1))
    before = len(first.records[0].bursts)
    plant(lab.root, GOVERNORS)
    resumed = lab.run(previous=first)
    assert resumed.context.host["setting"]["governor"] == "schedutil"
    bursts = resumed.records[0].bursts
    assert len(bursts) > before > 0
    assert all(burst.setting == {} for burst in bursts[:before])
    assert all(burst.setting == {"governor": "powersave"} for burst in bursts[before:])


def test_a_run_waits_for_a_board_to_cool_down(lab: Lab) -> None:
    """Each session heats it by 20 degrees, each second of waiting takes away 5; 12 s are allowed.

    From the third on it gets too hot for that.
    """
    now_s, celsius = 0.0, 50.0

    def warm(by: float) -> None:
        nonlocal celsius
        celsius += by
        plant(lab.root, {f"{ZONE}/temp": f"{celsius * 1000:.0f}\n"})

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds
        warm(-5.0 * seconds)

    lab.clock = Clock(lambda: now_s, sleep)
    plant(lab.root, raspberry("0"))
    lab.opening = lambda number: warm(20.0 * number**2)
    run = lab.run(replace(PLAN, sessions=3, cooldown_s=12.0))
    assert run.records[0].cooldowns == (
        Cooldown(0, 0.0, 50.0, 50.0, 50.0),
        Cooldown(1, 4.0, 50.0, 70.0, 50.0),
        Cooldown(2, 12.0, 50.0, 130.0, 70.0),
    )
    assert (lab.watcher.cooled[0], len(lab.watcher.cooled)) == ((70.0, 51.0, 12.0), 4 + 12)
    assert "it had not cooled down before 1 of 2 processes: 70 °C after 12 s" in notes(run)[0]
