"""Fleets of stand-in devices on loopback: real schedulers, workers and certificates."""

import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
import pytest

from benchbox import records
from benchbox.devices import CPU_PROVIDER, Device
from benchbox.errors import BenchboxError, CaseError, DeviceError, SpecError, StorageError
from benchbox.export import Graph
from benchbox.fleet import authority, chunks, connection, engine, exports, submit
from benchbox.fleet.authority import FleetAddress
from benchbox.fleet.connection import Connection
from benchbox.records import Record
from benchbox.runner import Request
from benchbox.runner.several_devices import Ends
from benchbox.specs import Builder, Case, OnnxFile, Selection
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
        until = "scheduler is at" if what == "scheduler" else "joined"
        assert any(until in line for line in process.stdout)
        return process

    def begun(self) -> list[list[str]]:
        path = self.folder / "begun"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


@contextmanager
def a_fleet(folder: Path) -> Iterator[Fleet]:
    engine.require()
    authority.init(folder / "certificates")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = authority.parse(f"tls://127.0.0.1:{port}", folder=folder / "certificates")
    (folder / "state").mkdir()
    fleet = Fleet(address, folder / "state")
    try:
        yield fleet
    finally:
        for process in fleet.processes:
            process.kill()
            process.communicate()


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


CONTROL = "c0"


class Hearer:
    """Notes what it hears of a run."""

    def __init__(
        self, act: Callable[[], None] = lambda: None, stop: Callable[[], None] = lambda: None
    ) -> None:
        self.finished_on: list[tuple[str, str]] = []
        self.put_aside: dict[str, str] = {}
        self.act, self.stop = act, stop

    def exporting(self, done: int, total: int, name: str) -> None:
        pass

    def finished(self, device: str, record: Record) -> None:
        self.finished_on.append((device, record.case))
        self.act()

    def aside(self, device: str, reason: str) -> None:
        self.put_aside[device] = reason

    def resting(self, device: str, reason: str) -> None:
        pass

    def waiting(self, reason: str) -> None:
        pass

    def failed(self, error: BenchboxError) -> None:
        pass

    def stopping(self, _: int) -> None:
        self.stop()


@dataclass
class Lab:
    """A submitter with cases of its own."""

    fleet: Fleet
    folder: Path
    cases: list[Case]

    def run(
        self,
        hearer: Hearer,
        device: str = "pool:pi",
        *,
        resume: bool = False,
        priority: int = 0,
        stream: Iterator[Case] | None = None,
    ) -> Ends:
        request = Request(
            name="lab",
            specs=[spec_of(self.cases)],
            selection=Selection(),
            device=Device(device, CPU_PROVIDER, 1, "arm", url="fleet:"),
            plan=QUICK,
            results=self.folder / "results",
            resume=resume,
        )
        known = () if stream else self.cases
        return submit.run(self.fleet.address, [request], known, hearer, priority, stream)

    def recorded(self) -> Mapping[str, list[str]]:
        """The cases that each device's files have."""
        found: dict[str, list[str]] = {}
        for path in sorted((self.folder / "results").glob("*/*.jsonl")):
            run = records.read(path)
            assert [r.key for r in run.records] == [r.key for r in records.ordered(run.records)]
            found.setdefault(path.parent.name, []).extend(each.case for each in run.records)
        return found

    def timed(self) -> list[str]:
        """The cases of all files; that by which boards are set beside each other counts once."""
        return once([case for found in self.recorded().values() for case in found])


def once(cases: list[str]) -> list[str]:
    rest = [case for case in cases if case != CONTROL]
    return rest if len(rest) == len(cases) else [CONTROL, *rest]


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


def waited(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + LONG_S
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


def everything(lab: Lab) -> Counter[str]:
    return Counter(case.name for case in lab.cases)


def test_devices_of_a_kind_share_the_cases(lab: Lab) -> None:
    hearer = Hearer()
    ends = lab.run(hearer)
    assert {device for device, _ in hearer.finished_on} == {"pi-1", "pi-2"}
    assert Counter(case for _, case in hearer.finished_on) == everything(lab)
    found = lab.recorded()
    assert Counter(lab.timed()) == everything(lab)
    assert CONTROL in found["pi-1"]
    assert CONTROL in found["pi-2"]
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
    cases = [r.case for each in shown for r in each.run.records]
    assert Counter(once(cases)) == everything(lab)


def test_ctrl_c_takes_back_what_has_not_begun_and_keeps_the_rest(lab: Lab) -> None:
    hold, heard, real = lab.fleet.folder / "hold", list[str](), submit.Submission._begun
    hold.touch()

    def begun(submission: submit.Submission, key: str) -> None:
        real(submission, key)
        heard.append(key)

    def interrupt() -> None:
        waited(lambda: len(heard) == 2)  # on each device, the others wait
        signal.raise_signal(signal.SIGINT)

    with patch.object(submit.Submission, "_begun", begun):
        thread = threading.Thread(target=interrupt)
        thread.start()
        hearer = Hearer(stop=hold.unlink)
        ends = lab.run(hearer)
        thread.join()
    assert ends.interrupted
    begun_keys = [key for line in lab.fleet.begun() for key in line[1:]]
    kept = lab.timed()
    assert Counter(kept) == Counter(once([key.removeprefix("tiny:") for key in begun_keys]))
    assert 0 < len(kept) < len(lab.cases)


def test_what_a_killed_worker_had_is_timed_by_others(lab: Lab) -> None:
    doomed = lab.fleet.start("worker", "pi-3")
    hold = lab.fleet.folder / "hold"
    hold.touch()

    def kill() -> None:
        waited(lambda: any(line[0] == "pi-3" for line in lab.fleet.begun()))
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


def test_a_run_goes_on_when_the_scheduler_is_back(lab: Lab, tmp_path: Path) -> None:
    with a_fleet(tmp_path) as fleet:
        lab.fleet = fleet
        scheduler = fleet.start("scheduler")
        fleet.start("worker", "pi-1")

        def restart() -> None:
            if len(hearer.finished_on) == 4:
                scheduler.kill()
                fleet.start("scheduler")

        hearer = Hearer(restart)
        ends = lab.run(hearer)
    assert not ends.failures
    assert hearer.put_aside == {}
    assert Counter(lab.timed()) == everything(lab)


def test_what_comes_in_a_stream_is_timed_as_it_comes(lab: Lab) -> None:
    pulled = list[str]()

    def stream() -> Iterator[Case]:
        for case in lab.cases:
            pulled.append(case.name)
            yield case
        waited(lambda: len(hearer.finished_on) == len(lab.cases))  # before its end is known
        raise SpecError("generator 'search.py:variants' fails: it is over")

    hearer = Hearer()
    with patch.object(chunks, "BATCHES", (4, 4)):
        ends = lab.run(hearer, stream=stream())
    assert str(ends.failures[0]).endswith("it is over")
    assert Counter(lab.timed()) == everything(lab)
    again = Hearer()
    lab.run(again, resume=True, stream=iter(lab.cases))
    assert again.finished_on == []


def test_a_full_disk_ends_a_run_with_its_reason(lab: Lab) -> None:
    real, hearer = records.Writer.append, Hearer()

    def append(writer: records.Writer, *found: Record) -> None:
        if len(hearer.finished_on) > 3:
            raise StorageError("results: cannot be written: No space left on device")
        real(writer, *found)

    with patch.object(records.Writer, "append", append):
        ends = lab.run(hearer, "pi-2")
    assert str(ends.failures[0]).endswith("No space left on device")
    assert hearer.put_aside == {}
    timed = Counter(lab.timed())
    assert timed == Counter(case for _, case in hearer.finished_on)
    lab.run(Hearer(), "pi-2", resume=True)
    assert Counter(lab.timed()) == everything(lab)


def test_a_device_that_drifts_rests_and_its_cases_go_elsewhere(lab: Lab) -> None:
    lab.run(Hearer(), "pi-1")
    drifted = lab.fleet.folder / "pi-1.ns"
    drifted.write_text("120000")
    fresh = replace(lab, folder=lab.folder / "fresh")
    hearer = Hearer()
    fresh.run(hearer)
    assert hearer.put_aside == {}
    assert [*fresh.recorded()] == ["pi-2"]
    drifted.unlink()
    with closing(Connection(lab.fleet.address)) as watched:
        waited(lambda: not any(each.rests for each in watched.members() or ()))


def test_graphs_are_exported_by_whoever_has_torch(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "is_needed", lambda: True)
    source = Builder("benchbox.networks.shufflenetv2:g2")
    lab.cases = [replace(case, source=source) for case in lab.cases]
    ends = lab.run(Hearer())
    assert not ends.failures
    assert Counter(lab.timed()) == everything(lab)


def tasks(dask_scheduler: Any) -> int:
    return sum(task.state == "processing" for task in dask_scheduler.tasks.values())


@pytest.mark.parametrize(("priority", "order"), [(0, "aabb"), (1, "abb")])
def test_two_runs_take_turns_and_one_with_priority_goes_first(
    lab: Lab, priority: int, order: str
) -> None:
    def run(name: str, cases: list[Case], priority: int) -> threading.Thread:
        own = replace(lab, folder=lab.folder / name, cases=cases)
        call = partial(own.run, Hearer(), "pi-1", priority=priority)
        thread = threading.Thread(target=call)
        thread.start()
        return thread

    hold = lab.fleet.folder / "hold"
    hold.touch()
    with closing(Connection(lab.fleet.address)) as watched:
        first = run("a", lab.cases[:6], 0)
        waited(lambda: watched.ask(tasks) == 2)
        second = run("b", lab.cases[6:], priority)
        waited(lambda: watched.ask(tasks) == 4)
    hold.unlink()
    first.join()
    second.join()
    own = {case.key for case in lab.cases[:6]}
    found = "".join("a" if line[1] in own else "b" for line in lab.fleet.begun())
    assert found.startswith(order)


def test_no_device_waits_for_another_of_its_worker(lab: Lab) -> None:
    hold = lab.fleet.folder / "hold-pi-1"
    hold.touch()
    slow = replace(lab, folder=lab.folder / "slow")
    thread = threading.Thread(target=partial(slow.run, Hearer(), "pi-1"))
    thread.start()
    with closing(Connection(lab.fleet.address)) as watched:
        waited(lambda: watched.ask(tasks) == 2)  # one is timed, one waits
    lab.run(Hearer(), "pi-2")
    assert Counter(lab.timed()) == everything(lab)
    assert slow.timed() == []
    hold.unlink()
    thread.join()


def test_a_graph_is_sent_to_a_host_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.run(Hearer())
    monkeypatch.setattr(
        connection.store, "loads", lambda files: pytest.fail("sent again") if files else ()
    )
    lab.run(Hearer())


def test_whoever_has_no_certificate_of_the_fleet_is_left_outside(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_S", 2.0)
    authority.init(tmp_path / "other")
    with pytest.raises(BenchboxError, match="no scheduler answers"):
        Connection(FleetAddress(fleet.address.url, tmp_path / "other"))
    assert fleet.address.certificates is not None
    port = int(fleet.address.url.rpartition(":")[2])
    is_heard = {
        of: greeted(port, of) for of in (fleet.address.certificates, tmp_path / "other", None)
    }
    assert [*is_heard.values()] == [True, False, False], "by the scheduler"


def greeted(port: int, certificates: Path | None) -> bool:
    """Whether a scheduler speaks to whoever believes any, with that certificate or none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificates is not None:
        context.load_cert_chain(certificates / "member.pem", certificates / "member-key.pem")
    plain = socket.create_connection(("127.0.0.1", port), LONG_S)
    with context.wrap_socket(plain) as encrypted, suppress(OSError):
        return bool(encrypted.recv(1))
    return False


def test_without_certificates_nothing_listens_beyond_loopback(tmp_path: Path) -> None:
    with a_fleet(tmp_path) as fleet:
        url = fleet.address.url.replace("tls", "tcp")
        process = Fleet(FleetAddress(url), tmp_path, fleet.processes).start("start", "pi-1")
        there = psutil.Process(process.pid).net_connections()
    listening = {each.laddr[0] for each in there if each.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
