"""Health of boards: settings, temperature and firmware, and what of them is in a record."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchbox import records
from benchbox.agent.host import disturbances, facts, health
from benchbox.agent.host.disturbances import CounterReader, between
from benchbox.agent.host.health import EVERY_S, HealthReader
from benchbox.cli.device_actions import _rows
from benchbox.devices import Device
from benchbox.records import Run
from benchbox.records.cooldown import Cooldown
from benchbox.records.journal import Journal
from benchbox.report import conditions
from benchbox.runner import Request
from benchbox.runner.assembly import assemble
from benchbox.runner.request import Clock, Prepared
from benchbox.sampling import sampler
from benchbox.sampling.plan import Plan
from benchbox.sampling.session import Ask, Timed, samples
from benchbox.specs import Case, Selection
from benchbox.transports import Agent
from tests.board.files import plant
from tests.helpers.machine import (
    CPU,
    FIRMWARE,
    JETSON_CLOCKS,
    ZONE,
    Inside,
    phone,
    program,
    raspberry,
    small_phone,
)
from tests.helpers.record_files import context
from tests.helpers.runs import Watcher, graph_of, interrupt

pytestmark = pytest.mark.usefixtures("programs", "slow_files")


def board(root: Path, *cpus: int, clock: Callable[[], float] = lambda: 0.0) -> HealthReader:
    return HealthReader(cpus, root / "sys", clock)


def test_governor_and_limit_are_those_of_the_processors_used(tmp_path: Path) -> None:
    assert (board(tmp_path, 0).setting(), board(tmp_path).temperature_c()) == ({}, None)
    plant(tmp_path, phone())
    assert board(tmp_path, 7).setting() == {"governor": "schedutil", "limit": "2900 MHz"}
    plant(tmp_path, {f"{CPU}/cpu3/cpufreq/scaling_governor": "powersave\n"})
    both = {"governor": "schedutil, powersave", "limit": "2900 MHz, 1800 MHz"}
    assert board(tmp_path, 7, 3, 2).setting() == both


@pytest.mark.parametrize(
    ("bits", "said"),
    [
        ("0", "none"),
        ("0x80008", "near its heat limit now, near its heat limit since it was started"),
    ],
)
def test_a_raspberry_pi_is_throttled(tmp_path: Path, programs: Path, bits: str, said: str) -> None:
    starts = program(programs, "vcgencmd", "throttled=0x1\n")
    plant(tmp_path, raspberry(bits, celsius=61.5))
    pi = board(tmp_path, 0, 1)
    assert pi.setting() == {"governor": "ondemand", "limit": "2400 MHz", "throttled": said}
    assert pi.temperature_c() == 61.5
    assert starts.read_text() == "", "the file is cheaper"
    other_kernel = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"
    plant(tmp_path / "other", {other_kernel: f"{bits}\n"})
    assert board(tmp_path / "other").setting() == {"throttled": said}


def test_without_the_file_its_program_is_asked_but_seldom(tmp_path: Path, programs: Path) -> None:
    starts = program(programs, "vcgencmd", "throttled=0x0\n")
    plant(tmp_path, raspberry(bits=None))
    now_s = [100.0]
    pi = board(tmp_path, 0, clock=lambda: now_s[0])
    for _ in range(5):
        assert pi.setting()["throttled"] == "none"
    (programs / "vcgencmd.txt").write_text("throttled=0x50005\n")
    now_s[0] += EVERY_S - 0.1
    assert pi.setting()["throttled"] == "none"
    assert starts.read_text() == "get_throttled\n"
    now_s[0] += 0.1
    assert pi.setting()["throttled"].startswith("under-voltage now, throttled now")
    assert starts.read_text() == "get_throttled\n" * 2


@pytest.mark.usefixtures("two_cpus")
def test_a_program_does_not_run_where_is_measured(tmp_path: Path, programs: Path) -> None:
    before = os.sched_getaffinity(0)
    where = tmp_path / "where.json"
    program(programs, "vcgencmd", "")
    (programs / "vcgencmd").write_text(
        f"#!{sys.executable}\nimport json, os\n"
        f"json.dump(sorted(os.sched_getaffinity(0)), open({str(where)!r}, 'w'))\n"
        "print('throttled=0x0')\n"
    )
    assert board(tmp_path, min(before)).setting() == {"throttled": "none"}
    assert min(before) not in json.loads(where.read_text())
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    ("prints", "ends"),
    [
        ("VCHI initialization failed", "exit 255"),
        ("throttled=x", "exit 0"),
        ("", "exec /bin/sleep 60"),
    ],
)
def test_a_program_that_fails_or_hangs_at_first_is_not_asked_again(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch, prints: str, ends: str
) -> None:
    monkeypatch.setattr(health, "LONGEST_S", 0.05 if "sleep" in ends else 10.0)
    starts = program(programs, "vcgencmd", "")
    script = f"#!/bin/sh\necho $* >> {starts}\necho {prints}\n{ends}\n"
    (programs / "vcgencmd").write_text(script)
    now_s = [0.0]
    pi = board(tmp_path, clock=lambda: now_s[0])
    for _ in range(3):
        assert pi.setting() == {}
        now_s[0] += EVERY_S
    assert starts.read_text() in ("get_throttled\n", "")  # one that hangs may not have begun


@pytest.mark.parametrize(
    ("mode", "clocks", "setting"),
    [
        ("MODE_15W\n2", 729600, {"nvpmodel": "MODE_15W (2)", "jetson_clocks": "not locked"}),
        ("MODE_15W\n2", 1510400, {"nvpmodel": "MODE_15W (2)", "jetson_clocks": "locked"}),
        ("MAXN\n0", None, {"nvpmodel": "MAXN (0)"}),  # only root may know of clocks
    ],
)
def test_a_jetson_has_its_power_mode_and_whether_clocks_are_locked(
    tmp_path: Path, programs: Path, mode: str, clocks: int | None, setting: dict[str, str]
) -> None:
    program(programs, "nvpmodel", f"NV Fan Mode:quiet\nNV Power Mode: {mode}\n")
    shown = JETSON_CLOCKS.format(low=clocks) if clocks else "Please run as root\n"
    program(programs, "jetson_clocks", shown, status=int(not clocks))
    assert board(tmp_path).setting() == setting


@settings(max_examples=50)
@given(st.text(max_size=300), st.integers(0, 2**32 - 1))
def test_whatever_programs_print_is_read_or_passed_over(text: str, bits: int) -> None:
    assert health.power_mode(text) is None or "(" in str(health.power_mode(text))
    assert health.clocks(text) in (None, "locked", "not locked")
    said = health.words(bits)
    assert said.count(",") + 1 == max(1, sum(bits >> bit & 1 for bit, _ in health.BITS))


def test_bits_of_both_ends_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, raspberry("10001"))
    with CounterReader(1, [0], tmp_path / "proc", tmp_path / "sys") as own:
        before = own.read_counters()
        plant(tmp_path, {FIRMWARE: "40004\n"})
        seen = between(before, own.read_counters())
    assert seen["throttled_bits"] == 0x50005
    assert (seen["clock_khz"], seen["temperature_c"]) == (1_200_000, 50.0)
    monkeypatch.setattr(disturbances, "DEAREST_NS", -1)
    with CounterReader(1, [0], tmp_path / "proc", tmp_path / "sys") as own:
        assert "throttled_bits" not in own.read_counters()
    assert board(tmp_path, 0).setting()["throttled"].startswith("throttled now")


def test_facts_for_a_check(tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    limit = {f"{CPU}/cpu7/cpufreq/scaling_max_freq": "2000000\n"}
    plant(tmp_path, raspberry("50005", celsius=80.2) | phone() | limit)
    program(programs, "nvpmodel", "NV Power Mode: 25W\n1\n")
    program(programs, "jetson_clocks", JETSON_CLOCKS.format(low=729600))
    rows = dict(_rows(facts.read(tmp_path / "proc", tmp_path / "sys")))
    hint = "governor schedutil (performance is steadier)"
    assert {name: text for name, text in rows.items() if name.endswith("cluster")} == {
        "big cluster": f"CPU 7, Cortex-X1, 1450 of 2900 MHz, limited to 2000 MHz, {hint}",
        "middle cluster": f"CPU 4-6, Cortex-A78, 1200 of 2400 MHz, {hint}",
        "little cluster": f"CPU 0-3, Cortex-A55, 900 of 1800 MHz, {hint}",
    }
    assert (rows["power mode"], rows["clocks"]) == ("25W (1)", "not locked")
    assert rows["model"] == "Raspberry Pi 5 Model B Rev 1.0"
    assert rows["heat"].startswith("80 °C")
    assert rows["throttling"].startswith("under-voltage now, throttled now, under-voltage since")
    bare = facts.read(tmp_path / "none", tmp_path / "none")
    assert bare.keys().isdisjoint({"model", "temperature_c"})
    assert bare["clusters"] == [{"cpus": [*range(8)]}]


# in runs


PLAN = Plan(precision=0.9, max_time_s=60, min_rounds=30, burst_s=0.002, min_calls=2)
GOVERNOR = {f"{CPU}/cpu1/cpufreq/scaling_governor": "powersave\n"}


class Steady(Agent):
    """An agent on a board whose calls take a microsecond more or less than 1 ms, and says so.

    Of what was seen it passes on what the board's files hold: this machine may be busy.
    """

    bursts = 0

    def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
        for timed in super().time(bursts, expected_s):
            self.bursts += 1
            latencies = [1_000_000 + self.bursts * 7 % 11 * 100] * len(timed.latencies_ns)
            burst = timed.burst()
            seen = {n: v for n, v in burst.seen.items() if n == "throttled_bits"}
            told = {"latencies_ns": latencies, "seen": seen, "setting": burst.setting}
            yield Timed(timed.graph, samples(told))


class Lab:
    """Measures one case on the board that the files below a folder are."""

    def __init__(self, root: Path, request: Request, ready: Prepared) -> None:
        self.root, self.request, self.ready = root, replace(request, open=self.open), ready
        self.opened = 0
        self.opening: Callable[[int], object] = lambda _: None

    def open(self, device: Device) -> Agent:
        self.opening(self.opened)
        self.opened += 1
        return Steady(Inside(self.root), device)  # type: ignore[arg-type]

    def run(self, watcher: Any = None, previous: Run | None = None, **how: Any) -> Run:
        request = replace(self.request, **how)
        agent = self.open(request.device)
        facts = {name: agent.hello[name] for name in ("host", "cpus")}
        journal = Journal(request.results, context("tiny", plan={}, specs=[], **facts), previous)
        assemble(request, self.ready, agent, journal, watcher or Watcher()).run()
        journal.close()
        return records.read(journal.path)


@pytest.fixture
def lab(
    tmp_path: Path,
    cpu: Device,
    onnx_cases: Callable[..., list[Case]],
    monkeypatch: pytest.MonkeyPatch,
) -> Lab:
    monkeypatch.setattr(sampler, "CHUNK_S", 0.02)
    (case,) = onnx_cases("a")
    request = Request("tiny", [], Selection(), cpu, PLAN, tmp_path / "results")
    return Lab(tmp_path, request, Prepared([case], {case.key: graph_of(case)}))


def notes(run: Run) -> list[str]:
    return conditions.notes(run.context, run.records)


def test_a_change_in_mid_run_is_in_the_bursts_after_it(lab: Lab) -> None:
    plant(lab.root, raspberry("0"))
    run = lab.run(Watcher(lambda: plant(lab.root, {FIRMWARE: "50005\n"}), after=1))
    assert run.context.host["setting"]["throttled"] == "none"
    bursts = run.records[0].bursts
    first = [bool(burst.setting) for burst in bursts].index(True)
    assert first > 0
    for at, burst in enumerate(bursts):
        assert ({"undervoltage", "firmware"} <= set(burst.tags)) == (at >= first)
        assert burst.setting.keys() == ({"throttled"} if at >= first else set())
    assert bursts[-1].setting["throttled"].startswith("under-voltage now, throttled now")
    assert bursts[-1].seen["throttled_bits"] == 0x50005
    assert run.path.read_text().count('"setting"') == 1 + len(bursts) - first, "the change alone"
    assert "changed from none to under-voltage now, throttled now" in notes(run)[0]


def test_a_change_between_two_runs_is_found(lab: Lab) -> None:
    plant(lab.root, small_phone())
    first = lab.run(Watcher(interrupt, after=1))
    before = len(first.records[0].bursts)
    plant(lab.root, GOVERNOR)
    resumed = lab.run(previous=first)
    assert resumed.context.host["setting"]["governor"] == "schedutil"
    settings = [burst.setting for burst in resumed.records[0].bursts]
    assert len(settings) > before > 0
    assert settings == [{}] * before + [{"governor": "powersave"}] * (len(settings) - before)


def test_a_run_waits_for_a_board_to_cool_down_and_sees_what_changes_meanwhile(lab: Lab) -> None:
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

    def opening(number: int) -> None:
        warm(20.0 * number**2)
        plant(lab.root, GOVERNOR if number else {})

    lab.opening = opening
    plant(lab.root, raspberry("0"))
    watcher, plan = Watcher(), replace(PLAN, sessions=3, cooldown_s=12.0)
    run = lab.run(watcher, plan=plan, clock=Clock(lambda: now_s, sleep))
    (record,) = run.records
    assert record.cooldowns == (
        Cooldown(0, 0.0, 50.0, 50.0, 50.0),
        Cooldown(1, 4.0, 50.0, 70.0, 50.0),
        Cooldown(2, 12.0, 50.0, 130.0, 70.0),
    )
    assert (watcher.cooled[0], len(watcher.cooled)) == ((70.0, 51.0, 12.0), 4 + 12)
    assert "it had not cooled down before 1 of 2 processes: 70 °C after 12 s" in notes(run)[-1]
    changed = {burst.session: burst.setting for burst in record.bursts}
    assert changed == {0: {}, 1: {"governor": "powersave"}, 2: {"governor": "powersave"}}
