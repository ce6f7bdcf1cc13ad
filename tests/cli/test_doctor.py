"""The doctor command: its verdict, and the agent's look on the wire."""

import io
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from rich.console import Console

from benchbox import host
from benchbox.agent.host import machine
from benchbox.analysis.doctor import Finding, Report
from benchbox.cli import bar, doctor
from benchbox.cli.options.devices import ProcessorOptions
from benchbox.devices import Device
from benchbox.errors import CaseError, DeviceError
from benchbox.transports import open_agent
from tests.helpers.command import invoke

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_tmp")]


@pytest.mark.usefixtures("two_cpus")
def test_the_verdict_is_of_all_processors_and_findings_follow() -> None:
    one, two = machine.usable_cpus()[:2]
    result = invoke("doctor", "--seconds", "0.3", "--cpus", f"{one},{two}")
    assert (result.exit_code, result.stderr) == (0, "watching for 0.3 s\n")
    verdict, empty, *findings = result.stdout.splitlines()
    assert verdict.startswith(f"cpu, processors {one} and {two}: a ")
    assert empty == ""
    severities = [line[:4] for line in findings if not line.startswith(doctor.INDENT)]
    assert severities
    assert set(severities) <= {"good", "fair", "poor"}


def test_a_look_reaches_the_agent_and_comes_back(cpu: Device) -> None:
    with open_agent(cpu) as agent:
        own = agent.hello["cpus"][0]
        seen, facts = agent.look(own, 0.05)
        assert (seen["cpu"], seen["seconds"] > 0.04) == (own, True)
        assert [each["cpu"] for each in facts["cpus"]] == agent.hello["cpus"]
        with pytest.raises(CaseError):
            agent.look(99_999, 0.05)
        for each in sorted(machine.usable_cpus()[:2], key=lambda each: each != own):
            assert agent.look(each, 0.01)[0]["readings_ns"]
        if hasattr(os, "sched_getaffinity"):  # after a look the agent is where it was
            children = psutil.Process().children()
            (child,) = (each for each in children if "benchbox.agent" in each.cmdline())
            assert os.sched_getaffinity(child.pid) == {own}


def test_an_agent_that_is_lost_is_a_device_that_is_not_usable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lost(*_: object) -> Any:
        raise CaseError("the agent is gone")

    monkeypatch.setattr(doctor, "_observe", lost)
    with pytest.raises(DeviceError, match="device 'cpu': the agent is gone"):
        doctor.doctor("cpu", ProcessorOptions(), 0.1, frozenset())


def test_what_was_learned_of_machines_is_forgotten_and_counted(cache_dir: Path) -> None:
    for name in "ab":
        host.write(cache_dir / "states" / f"{name}.json", "{}")
    said = [invoke("doctor", "--forget").stdout.split(" on ")[0] for _ in range(2)]
    assert said == ["Forgotten: 2 files", "Forgotten: 0 files"]


def test_a_terminal_is_told_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bar, "PAUSE_S", 0.0)
    screen = Console(file=io.StringIO(), force_terminal=True, width=100)
    agent = SimpleNamespace(hello={"cpus": [1]}, look=lambda cpu, _: ({"cpu": cpu}, {}))
    looks, _ = doctor._observe(agent, 4.0, screen)  # type: ignore[arg-type]
    assert looks == [{"cpu": 1}] * 4
    assert "processor 1, look 4 of 4" in screen.file.getvalue()  # type: ignore[attr-defined]


def test_commands_are_whole_lines_on_a_narrow_terminal() -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=20, color_system=None)
    command = "echo performance | sudo tee /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    finding = Finding("fair", "The governor [b]changes[/b] the\x1b clock:", command)
    doctor._print("cpu", Report("fair", "a fair place", (finding,)), screen)
    lines = screen.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert doctor.INDENT + command in lines
    assert "[b]changes[/b]" in "".join(lines)
    assert "\x1b" not in "".join(lines)


def test_programs_are_those_of_others_by_name_with_the_busiest_first() -> None:
    assert psutil.Process().pid not in {pid for pid, _ in doctor._used()}
    before = {(1, 0.0): ("a", 5.0), (2, 0.0): ("b", 1.0), (3, 0.0): ("gone", 1.0)}
    after = {(1, 0.0): ("a", 6.0), (2, 0.0): ("b", 4.0), (4, 9.0): ("b", 1.0)}
    assert doctor._busiest(before, after, 2.0) == [("b", 2.0), ("a", 0.5)]
