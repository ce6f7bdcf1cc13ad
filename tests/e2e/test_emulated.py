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
from typer.testing import CliRunner

from benchbox import records, runner
from benchbox.agent.host import machine
from benchbox.cli.app import app
from benchbox.devices import Device
from benchbox.errors import DeviceError, UsageError
from benchbox.report import files
from benchbox.report.frame import COLUMNS, to_frame
from benchbox.runner import Outcome, Request, profile
from benchbox.sampling import sampler as sampling_sampler
from benchbox.sampling.plan import Plan
from benchbox.specs import BlockSpec, Case, Selection
from benchbox.transports import Agent, client
from benchbox.transports.local import open_local
from tests.helpers.machine import Calm
from tests.helpers.runs import run

REASON = "emulated (qemu-user): a figure taken here is no latency"
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
        spec = BlockSpec("tiny", "Tiny", "0" * 64, lambda _: cases)
        request = Request(
            "tiny", [spec], Selection(), self.device, plan, self.folder, open=self.open, **more
        )
        return run(request)


@pytest.fixture
def place(
    tmp_path: Path, cpu: Device, monkeypatch: pytest.MonkeyPatch, shared_cache: Path
) -> Place:
    assert shared_cache
    monkeypatch.setattr(sampling_sampler, "CHUNK_S", 0.05)
    return Place(tmp_path / "results", cpu)


def told(outcome: Outcome) -> list[tuple[str, str, str]]:
    found = records.read(outcome.run.path).records
    return [(record.case, record.status, record.reason) for record in found]


def no_figure(outcome: Outcome) -> bool:
    rows = csv.DictReader(io.StringIO(files.to_csv(to_frame([outcome.run]))))
    return all(row[name] == "" for row in rows for name in FIGURES)


@pytest.mark.parametrize("plan", [{"sessions": 3}, {"sessions": 1, "sustained_s": 60.0}])
def test_an_emulated_device_calls_every_graph_and_times_none(
    place: Place, onnx_cases: MakeCases, plan: dict[str, Any]
) -> None:
    outcome = place.run(onnx_cases("a", "b"), replace(PLAN, **plan))
    assert told(outcome) == [("a", "skipped", REASON), ("b", "skipped", REASON)]
    assert outcome.run.context.host["emulated"] == "qemu-user"
    assert (place.loads, place.bursts) == (["tiny:a", "tiny:b"], [])
    assert all(record.first_call_s is None for record in outcome.run.records)
    assert no_figure(outcome)


def test_what_is_timed_there_on_demand_is_kept_and_never_shown(
    place: Place, onnx_cases: MakeCases
) -> None:
    outcome = place.run(onnx_cases("a", "b"), allow_emulated=True)
    assert told(outcome) == [("a", "skipped", REASON), ("b", "skipped", REASON)]
    for record in records.read(outcome.run.path).records:
        assert len(record.bursts) >= PLAN.min_rounds
        assert (record.latency, record.relative) == (None, None)
    assert no_figure(outcome)


def test_a_graph_that_fails_there_is_a_failed_row(place: Place, onnx_cases: MakeCases) -> None:
    outcome = place.run(onnx_cases("a", "deadly", "c"))
    statuses = {case: status for case, status, _ in told(outcome)}
    assert statuses == {"a": "skipped", "deadly": "failed", "c": "skipped"}
    assert place.loads == ["tiny:a", "tiny:deadly", "tiny:c"]


def test_a_real_device_does_not_go_on_with_an_emulated_run(
    place: Place, onnx_cases: MakeCases
) -> None:
    cases = onnx_cases("a")
    place.run(cases, allow_emulated=True)
    place.open = lambda device: Calm(open_local(), device)  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="emulated was 'qemu-user' and is none now"):
        place.run(cases, resume=True)


def test_nothing_is_learnt_of_its_speed(place: Place, onnx_cases: MakeCases) -> None:
    (case,) = cases = onnx_cases("a")
    graphs = runner.prepare([BlockSpec("tiny", "Tiny", "0" * 64, lambda _: cases)], cases)
    sentence = r"device 'cpu' is emulated \(qemu-user\) and has no times to profile; use the real"
    with pytest.raises(DeviceError, match=sentence):
        list(profile.outcomes([case], graphs, place.device, place.open))
    with place.open(place.device) as agent, pytest.raises(DeviceError, match="no speed to watch"):
        client.require_real(agent, "cpu", "speed to watch")
    with Calm(open_local(), place.device) as agent:
        assert client.reason(agent) == ""
        client.require_real(agent, "cpu", "speed to watch")


def test_an_agent_says_what_emulates_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "emulator", lambda: "qemu-user")
    assert machine.host()["emulated"] == "qemu-user"
    monkeypatch.setattr(machine, "emulator", lambda: None)
    assert "emulated" not in machine.host()


def test_a_board_stands_for_a_processor_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_fields", lambda _: {})
    monkeypatch.setattr(machine, "BOARD", tmp_path / "model")
    (tmp_path / "model").write_bytes(b"NVIDIA Jetson Orin Nano\0")
    assert machine.cpu_model() == "NVIDIA Jetson Orin Nano"


def test_load_that_lasts_keeps_no_samples_to_be_allowed(in_tmp: Path, write_onnx: Any) -> None:
    assert in_tmp
    command = ["run", str(write_onnx()), "--sustained", "10s", "--allow-emulated"]
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: --allow-emulated: not with --sustained")
