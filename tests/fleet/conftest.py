"""A fleet of two stand-in devices that runs while the tests of one file do, and a lab with it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchbox.fleet import chunks, submit
from benchbox.specs import Case, OnnxFile
from tests.fleet.lab import Fleet, Lab, a_fleet, prepare
from tests.helpers.runs import named


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with a_fleet(tmp_path_factory.mktemp("fleet")) as fleet:
        fleet.start("start", "pi-1", "pi-2")
        yield fleet


@pytest.fixture
def fleet(running: Fleet) -> Fleet:
    for path in running.folder.iterdir():
        path.unlink()
    return running


@pytest.fixture
def twelve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Case]:
    """Cases that need not be together, whose graphs are there."""
    monkeypatch.setattr(chunks, "prepare", prepare)
    found = []
    for index, case in enumerate(named(*(f"c{n}" for n in range(12)))):
        path = tmp_path / f"{case.name}.onnx"
        path.write_text(f"graph {index} of {tmp_path}")
        found.append(replace(case, group=case.name, reference=case.name, source=OnnxFile(path)))
    return found


@pytest.fixture
def lab(fleet: Fleet, twelve: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A submitter on the fleet that runs, which looks at that often."""
    monkeypatch.setattr(submit, "LOOK_S", 0.5)
    return Lab(fleet.address, fleet.folder, tmp_path, twelve)
