"""Fleets of stand-in devices on loopback: real schedulers, workers and certificates."""

import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from benchbox import records
from benchbox.devices import CPU_PROVIDER, Device
from benchbox.errors import BenchboxError, CaseError, DeviceError
from benchbox.export import Graph
from benchbox.fleet import authority, chunks, engine, submit
from benchbox.fleet.authority import FleetAddress
from benchbox.records import Record
from benchbox.runner import Request
from benchbox.runner.several_devices import Ends
from benchbox.specs import Case, OnnxFile, Selection
from tests.helpers.runs import QUICK, graph_of, named, spec_of

pytestmark = pytest.mark.slow
LONG_S = 120.0  # for what happens at once, on a machine that may be busy
ROOT = Path(__file__).parents[2]


@dataclass
class Fleet:
    """A scheduler with two devices, and workers that join it."""

    address: FleetAddress
    folder: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, what: str, *names: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.fleet.stand_in", what, self.address.url]
        process = subprocess.Popen(
            [*command, str(self.address.certificates), str(self.folder), *names],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        assert process.stdout is not None
        assert any("joined" in line for line in process.stdout)
        return process

    def begun(self) -> list[list[str]]:
        path = self.folder / "begun"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    engine.require()
    folder = tmp_path_factory.mktemp("fleet")
    authority.init(folder / "certificates")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = authority.parse(f"tls://127.0.0.1:{port}", folder=folder / "certificates")
    (folder / "state").mkdir()
    fleet = Fleet(address, folder / "state")
    try:
        fleet.start("start", "pi-1", "pi-2")
        yield fleet
    finally:
        for process in fleet.processes:
            process.kill()
            process.communicate()


@pytest.fixture
def fleet(running: Fleet) -> Fleet:
    for path in running.folder.iterdir():
        path.unlink()
    return running


class Hearer:
    """Notes what it hears of a run."""

    def __init__(self, act: Callable[[], None] = lambda: None) -> None:
        self.finished_on: list[tuple[str, str]] = []
        self.put_aside: dict[str, str] = {}
        self.act = act

    def exporting(self, done: int, total: int, name: str) -> None:
        pass

    def finished(self, device: str, record: Record) -> None:
        self.finished_on.append((device, record.case))
        self.act()

    def aside(self, device: str, reason: str) -> None:
        self.put_aside[device] = reason

    def stopping(self, count: int) -> None:
        pass


@dataclass
class Lab:
    """A submitter with cases of its own."""

    fleet: Fleet
    folder: Path
    cases: list[Case]

    def run(self, hearer: Hearer, device: str = "pool:pi", *, resume: bool = False) -> Ends:
        request = Request(
            name="lab",
            specs=[spec_of(self.cases)],
            selection=Selection(),
            device=Device(device, CPU_PROVIDER, 1, "arm", url="fleet:"),
            plan=QUICK,
            results=self.folder / "results",
            resume=resume,
        )
        return submit.run(self.fleet.address, [request], self.cases, hearer)

    def recorded(self) -> Mapping[str, list[str]]:
        """The cases that each device's files have."""
        found: dict[str, list[str]] = {}
        for path in sorted((self.folder / "results").glob("*/*.jsonl")):
            run = records.read(path)
            assert [r.key for r in run.records] == [r.key for r in records.ordered(run.records)]
            found.setdefault(path.parent.name, []).extend(each.case for each in run.records)
        return found

    def timed(self) -> list[str]:
        return [case for found in self.recorded().values() for case in found]


@pytest.fixture
def lab(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Twelve cases that need not be together, whose graphs are there."""
    own = []
    for index, case in enumerate(named(*(f"c{n}" for n in range(12)))):
        path = tmp_path / f"{case.name}.onnx"
        path.write_text(f"graph {index} of {tmp_path}")
        own.append(replace(case, group=case.name, reference=case.name, source=OnnxFile(path)))

    def prepare(_: object, cases: list[Case], *__: object) -> dict[str, Graph | CaseError]:
        return {case.key: graph_of(case) for case in cases}

    monkeypatch.setattr(chunks, "prepare", prepare)
    return Lab(fleet, tmp_path, own)


def everything(lab: Lab) -> Counter[str]:
    return Counter(case.name for case in lab.cases)


def test_devices_of_a_kind_share_the_cases(lab: Lab) -> None:
    hearer = Hearer()
    ends = lab.run(hearer)
    assert {device for device, _ in hearer.finished_on} == {"pi-1", "pi-2"}
    assert Counter(case for _, case in hearer.finished_on) == everything(lab)
    found = lab.recorded()
    assert Counter(lab.timed()) == everything(lab)
    runs = [outcome.run for outcome in ends.outcomes.values()]
    assert {run.context.device: [r.case for r in run.records] for run in runs} == found
    assert runs[0].context.specs[0].name == "tiny"


def test_one_device_by_name_gets_all(lab: Lab) -> None:
    lab.run(Hearer(), "pi-2")
    assert [*lab.recorded()] == ["pi-2"]
    assert Counter(lab.recorded()["pi-2"]) == everything(lab)


def test_a_reference_of_several_parts_is_recorded_once_on_a_device(lab: Lab) -> None:
    lab.cases = [replace(case, group="", reference="c0") for case in lab.cases]
    lab.run(Hearer())
    found = lab.recorded()
    assert all(Counter(each).most_common(1)[0][1] == 1 for each in found.values())
    assert all("c0" in each for each in found.values())
    assert {*found["pi-1"], *found["pi-2"]} == {*everything(lab)}


def test_a_device_that_fails_is_put_aside_and_its_cases_go_elsewhere(lab: Lab) -> None:
    (lab.fleet.folder / "pi-1").touch()
    hearer = Hearer()
    ends = lab.run(hearer)
    assert hearer.put_aside == {"pi-1": "device 'pi-1': it is on fire"}
    assert Counter(lab.recorded()["pi-2"]) == everything(lab)
    assert not ends.failures
    (lab.fleet.folder / "pi-2").touch()
    with pytest.raises(DeviceError, match="no device is left"):
        lab.run(Hearer())


def test_what_is_left_is_timed_by_resume(lab: Lab) -> None:
    hearer = Hearer(lambda: (lab.fleet.folder / "pi-1").touch())
    (lab.fleet.folder / "pi-2").touch()
    ends = lab.run(hearer)
    assert isinstance(ends.failures[0], DeviceError)
    timed = {case for _, case in hearer.finished_on}
    assert 0 < len(timed) < len(lab.cases)
    for name in ("pi-1", "pi-2"):
        (lab.fleet.folder / name).unlink()
    again = Hearer()
    lab.run(again, resume=True)
    assert {case for _, case in again.finished_on} == everything(lab).keys() - timed
    assert Counter(lab.timed()) == everything(lab)
    shown = lab.run(Hearer(), resume=True).outcomes.values()
    assert Counter(r.case for each in shown for r in each.run.records) == everything(lab)


def test_ctrl_c_takes_back_what_has_not_begun_and_keeps_the_rest(lab: Lab) -> None:
    def interrupt() -> None:
        if len(hearer.finished_on) == 1:
            raise KeyboardInterrupt

    hearer = Hearer(interrupt)
    ends = lab.run(hearer)
    assert ends.interrupted
    begun = [key for line in lab.fleet.begun() for key in line[1:]]
    kept = lab.timed()
    assert Counter(f"tiny:{case}" for case in kept) == Counter(begun)
    assert len(kept) < len(lab.cases)


def test_what_a_killed_worker_had_is_timed_by_others(lab: Lab) -> None:
    doomed = lab.fleet.start("worker", "pi-3")
    hold = lab.fleet.folder / "hold"
    hold.touch()

    def kill() -> None:
        until = time.monotonic() + LONG_S
        while not any(line[0] == "pi-3" for line in lab.fleet.begun()):
            assert time.monotonic() < until
            time.sleep(0.05)
        doomed.kill()
        hold.unlink()

    killer = threading.Thread(target=kill)
    killer.start()
    hearer = Hearer()
    lab.run(hearer)
    killer.join()
    assert hearer.put_aside == {}
    assert "pi-3" not in lab.recorded()
    assert Counter(lab.timed()) == everything(lab)


def test_a_graph_is_sent_to_a_host_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.run(Hearer())
    monkeypatch.setattr(submit.store, "parts", lambda *_: pytest.fail("sent again"))
    lab.run(Hearer())


def test_whoever_has_no_certificate_of_the_fleet_is_left_outside(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit, "CONNECT_S", 2.0)
    authority.init(tmp_path / "other")
    with (
        pytest.raises(BenchboxError, match="no scheduler answers"),
        submit.connected(FleetAddress(fleet.address.url, tmp_path / "other")),
    ):
        pass
