"""Emulated processors: they check graphs, and what they take is never a latency."""

import csv
import io
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbox import records, runner
from benchbox.agent.host import machine
from benchbox.devices import Device
from benchbox.errors import DeviceError, UsageError
from benchbox.report import files
from benchbox.report.frame import COLUMNS, to_frame
from benchbox.runner import Outcome, Request, profile
from benchbox.sampling import sampler as sampling_sampler
from benchbox.sampling.plan import Plan
from benchbox.specs import Case, Selection
from benchbox.transports import Agent, client
from tests.helpers.agents import open_local
from tests.helpers.machine import Calm, open_calm
from tests.helpers.on_boards import EMULATED
from tests.helpers.runs import run, spec_of

FIGURES = [name for name in COLUMNS if name.startswith("latency_")]
FIGURES += ["images_per_s", "batches_per_s", "relative_latency", "samples", "quiet_share"]
MakeCases = Callable[..., list[Case]]
PLAN = Plan(precision=0.9, max_time_s=20, min_rounds=6, burst_s=0.002, min_calls=2)
pytestmark = pytest.mark.slow


class Emulated(Calm):
    """An agent of this machine that says it is emulated, and counts what it is asked."""

    def __init__(self, channel: Any, device: Device, loads: list[str], bursts: list[Any]) -> None:
        super().__init__(channel, device)
        self.hello["host"]["emulated"] = "qemu-user"
        self.pid, self.loads, self.bursts = channel.pid, loads, bursts

    def load(self, graph: str, *arguments: Any, **named: Any) -> Any:
        self.loads.append(graph)
        if graph.endswith(":deadly"):
            os.kill(self.pid, signal.SIGKILL)
        return super().load(graph, *arguments, **named)

    def time(self, bursts: Any, expected_s: Any) -> Any:
        self.bursts += bursts
        return super().time(bursts, expected_s)


class Place:
    """Runs cases on the emulated device."""

    def __init__(self, folder: Path, device: Device) -> None:
        self.folder, self.device = folder, device
        self.loads: list[str] = []
        self.bursts: list[Any] = []

    def open(self, device: Device) -> Agent:
        return Emulated(open_local(), device, self.loads, self.bursts)

    def run(self, cases: list[Case], plan: Plan = PLAN, **more: Any) -> Outcome:
        given = ("tiny", [spec_of(cases)], Selection(), self.device, plan, self.folder)
        return run(Request(*given, open=self.open, **more))


@pytest.fixture
def place(
    tmp_path: Path, cpu: Device, monkeypatch: pytest.MonkeyPatch, shared_cache: Path
) -> Place:
    assert shared_cache
    monkeypatch.setattr(sampling_sampler, "CHUNK_S", 0.05)
    return Place(tmp_path / "results", cpu)


def outcomes(outcome: Outcome) -> list[tuple[str, str, str]]:
    found = records.read(outcome.run.path).records
    return [(record.case, record.status, record.reason) for record in found]


def no_figure(outcome: Outcome) -> bool:
    rows = csv.DictReader(io.StringIO(files.to_csv(to_frame([outcome.run]))))
    return all(row[name] == "" for row in rows for name in FIGURES)


@pytest.mark.parametrize("plan", [{"sessions": 3}, {"sessions": 1, "sustained_s": 60.0}])
def test_an_emulated_device_calls_every_graph_and_times_none(
    place: Place, onnx_cases: MakeCases, plan: dict[str, Any]
) -> None:
    outcome = place.run(onnx_cases("a", "deadly", "b"), replace(PLAN, **plan))
    first, deadly, last = outcomes(outcome)
    assert (first, last) == (("a", "skipped", EMULATED), ("b", "skipped", EMULATED))
    assert deadly[1] == "failed"
    assert outcome.run.context.host["emulated"] == "qemu-user"
    assert (place.loads, place.bursts) == (["tiny:a", "tiny:deadly", "tiny:b"], [])
    assert all(record.first_call_s is None for record in outcome.run.records)
    assert no_figure(outcome)


def test_what_is_timed_there_on_demand_is_kept_and_never_shown(
    place: Place, onnx_cases: MakeCases
) -> None:
    cases = onnx_cases("a", "b")
    outcome = place.run(cases, allow_emulated=True)
    assert outcomes(outcome) == [(name, "skipped", EMULATED) for name in "ab"]
    for record in records.read(outcome.run.path).records:
        assert len(record.bursts) >= PLAN.min_rounds
        assert (record.latency, record.relative) == (None, None)
    assert no_figure(outcome)
    place.open = open_calm  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="emulated was 'qemu-user' and is none now"):
        place.run(cases, resume=True)


def test_nothing_is_learnt_of_its_speed(place: Place, onnx_cases: MakeCases) -> None:
    (case,) = cases = onnx_cases("a")
    graphs = runner.prepare([spec_of(cases)], cases)
    sentence = r"device 'cpu' is emulated \(qemu-user\) and has no times to profile; use the real"
    with pytest.raises(DeviceError, match=sentence):
        list(profile.outcomes([case], graphs, place.device, place.open))
    with place.open(place.device) as agent, pytest.raises(DeviceError, match="no speed to watch"):
        client.require_real(agent, "cpu", "speed to watch")
    with open_calm(place.device) as agent:
        client.require_real(agent, "cpu", "speed to watch")


def test_an_agent_says_what_emulates_it_and_a_board_stands_for_a_processor_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "emulator", lambda: "qemu-user")
    monkeypatch.setattr(machine, "proc_fields", lambda _: {})
    monkeypatch.setattr(machine, "BOARD", tmp_path / "model")
    (tmp_path / "model").write_bytes(b"NVIDIA Jetson Orin Nano\0")
    assert machine.host()["emulated"] == "qemu-user"
    assert machine.cpu_model() == "NVIDIA Jetson Orin Nano"
