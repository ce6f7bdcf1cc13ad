"""The command as tests run it: in this process, or as a process that is signalled or killed."""

import csv
import io
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from benchbox import records
from benchbox.api import job
from benchbox.cli.app import app
from benchbox.devices import Device
from benchbox.errors import DeviceError
from benchbox.records import Run
from benchbox.runner.request import Clock, Request
from benchbox.sampling.session import Ask, Timed
from benchbox.transports import Agent
from tests.helpers.agents import open_local
from tests.helpers.machine import Calm

BENCHBOX = [sys.executable, "-m", "benchbox"]
FOREVER = ["--precision", "0.0001%", "--max-time", "10m"]
BURST_S, LOOK_S = 0.02, 1e-4  # of the clock of calm commands
MEASURED = {"ok", "imprecise"}  # which of the two is for the machine to say: it may be busy


def invoke(*arguments: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, list(arguments), prog_name="benchbox")


def benchbox(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process to its end."""
    return subprocess.run(
        [*BENCHBOX, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )


def start(*arguments: str, program: Sequence[str] = BENCHBOX) -> subprocess.Popen[str]:
    """Start the command as a process in a group of its own."""
    return subprocess.Popen(
        [*program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def rows(text: str) -> list[dict[str, str]]:
    """The rows of a CSV."""
    return list(csv.DictReader(io.StringIO(text)))


def by_case(text: str) -> dict[str, dict[str, str]]:
    """The rows of a CSV by case."""
    return {row["case"]: row for row in rows(text)}


def only_run(device: str = "cpu") -> Run:
    """The only run on a device in the folder results."""
    (path,) = Path("results", device).glob("*.jsonl")
    return records.read(path)


class CalmCommand:
    """Runs the command in this process, with agents whose calls all count: what else this machine
    does then makes no figure imprecise. Time passes by bursts, so that a busy machine gets as many
    into a run. At the `interrupt_at`-th burst somebody presses Ctrl-C; devices that are `gone`
    cannot be opened.
    """

    def __init__(self) -> None:
        self.bursts = 0
        self.looks = 0
        self.interrupt_at = 0
        self.gone: set[str] = set()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have jobs open its agents and keep its time."""
        monkeypatch.setattr(job, "open_agent", self.open)
        monkeypatch.setattr(job, "Request", self.request)

    def request(self, **options: Any) -> Request:
        """A request as jobs make it, on the clock of this command."""
        return Request(**options, clock=Clock(now=self.now))

    def now(self) -> float:
        self.looks += 1
        return self.bursts * BURST_S + self.looks * LOOK_S

    def open(self, device: Device, **_: object) -> Agent:
        bench = self
        if device.name in self.gone:
            raise DeviceError(f"{device.name} was unplugged")

        class Watched(Calm):
            def time(self, bursts: Sequence[Ask], expected_s: Sequence[float]) -> Iterator[Timed]:
                for timed in super().time(bursts, expected_s):
                    bench.bursts += 1
                    if bench.bursts == bench.interrupt_at:
                        raise KeyboardInterrupt
                    yield timed

        return Watched(open_local(), device)

    def __call__(self, *arguments: str, code: int | None = 0) -> Result:
        """Run a command, which must end with `code` unless that is None."""
        result = invoke(*arguments)
        assert code in (result.exit_code, None), result.output
        return result

    def run(self, *arguments: str, code: int | None = 0) -> Result:
        return self("run", *arguments, code=code)

    def compare(self, *arguments: str, code: int | None = 0) -> Result:
        return self("compare", *arguments, code=code)
