"""Agents on this machine by another Python than benchbox's own."""

import sys
from pathlib import Path

import pytest

from benchbox.devices import CPU_PROVIDER, Device
from benchbox.errors import DeviceError
from benchbox.transports import open_agent


def by(python: Path | str) -> Device:
    return Device("other", CPU_PROVIDER, 1, "arm", python=str(python))


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.slow
def test_another_python_runs_the_agent_alone(tmp_path: Path) -> None:
    python = script(tmp_path / "python", f'echo "$1" > {tmp_path}/ran\nexec {sys.executable} "$@"')
    for _ in range(2):
        with open_agent(by(python)) as agent:
            assert agent.hello["versions"]["onnxruntime"]
    program = Path((tmp_path / "ran").read_text().strip())
    assert [program] == list((tmp_path / "cache" / "agent").iterdir())


def test_a_python_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"device .other.: .*/none: No such file"):
        open_agent(by(tmp_path / "none"))
    broken = script(tmp_path / "python", "echo ModuleNotFoundError: no numpy >&2; exit 1")
    with pytest.raises(DeviceError, match=r"no numpy.*; that Python needs numpy and onnxruntime"):
        open_agent(by(broken))
