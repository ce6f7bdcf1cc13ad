"""Labs of stand-in devices: submitters with cases of their own, and fleets for them."""

import multiprocessing
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchbox import records
from benchbox.devices import CPU_PROVIDER, Device
from benchbox.errors import BenchboxError
from benchbox.export import Graph
from benchbox.fleet import authority, chunks, engine, members, store, submit, task
from benchbox.fleet.authority import FleetAddress
from benchbox.fleet.members import Member
from benchbox.fleet.task import Files, Task
from benchbox.records import Record
from benchbox.runner import Request
from benchbox.runner.several_devices import Ends
from benchbox.specs import Case, Selection
from tests.board.running import free_port
from tests.fleet import stand_in
from tests.helpers.runs import QUICK, graph_of, spec_of

LONG_S = 120.0  # for what happens at once, on a machine that may be busy
ROOT = Path(__file__).parents[2]
CONTROL = "c0"


def waited(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + LONG_S
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


@dataclass
class Fleet:
    """A scheduler, and workers that join it; `folder` tells their devices what to do."""

    address: FleetAddress
    folder: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(
        self,
        what: str,
        *names: str,
        host: str = "127.0.0.1",
        cache: Path | None = None,
        within: Sequence[str] = (),
    ) -> subprocess.Popen[str]:
        """Start a process, `within` what runs it, for which the scheduler is at a host."""
        url = self.address.url.replace("127.0.0.1", host)
        command = [*within, sys.executable, "-m", "tests.fleet.stand_in", what, url]
        process = subprocess.Popen(
            [*command, str(self.address.certificates), str(self.folder), *names],
            cwd=ROOT,
            env={**os.environ, "BENCHBOX_CACHE_DIR": str(cache or self.folder.parent / "cache")},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        assert process.stdout is not None
        until = "scheduler is at" if what == "scheduler" else "joined"
        assert any(until in line for line in process.stdout)
        return process


@contextmanager
def a_fleet(folder: Path) -> Iterator[Fleet]:
    engine.require()
    authority.init(folder / "certificates")
    address = authority.parse(f"tls://127.0.0.1:{free_port()}", folder=folder / "certificates")
    (folder / "state").mkdir()
    fleet = Fleet(address, folder / "state")
    try:
        yield fleet
    finally:
        for process in fleet.processes:
            process.kill()
            process.communicate()


class Inside:
    """A connection to devices of this process, which time what they are sent as a worker does."""

    topic, made = "inside", 1
    wrong: Mapping[str, str] = {}

    def __init__(self, *names: str) -> None:
        self.offered = {each.device.name: each for each in stand_in.offers(*names)}
        self._threads = {name: ThreadPoolExecutor(1) for name in names}
        self.heard: Callable[[str, str], None] = lambda *_: None
        self.ended = set[str]()

    def members(self) -> list[Member] | None:
        return members.parse([{**each.now(), "worker": "w"} for each in self.offered.values()])[0]

    def send(self, files: Mapping[str, Files], _: str) -> None:
        for load in store.loads(files):
            store.receive(*load)

    def submit(self, asked: Task, there: Member, _: int) -> Future[str]:
        from benchbox.fleet import worker

        return self._threads[there.name].submit(worker.perform, task.dump(asked))

    def end(self, keys: Sequence[str], _: object) -> None:
        self.ended.update(keys)

    def is_wanted(self, key: str) -> bool:
        return key not in self.ended

    def log_event(self, _: str, message: Any) -> None:
        self.heard(*message)

    def close(self) -> None:
        pass


class Hearer:
    """Notes what it hears of a run."""

    def __init__(
        self, act: Callable[[], None] = lambda: None, stop: Callable[[], None] = lambda: None
    ) -> None:
        self.finished_on: list[tuple[str, str]] = []
        self.put_aside: dict[str, str] = {}
        self.rested: list[set[str]] = []
        self.act, self.stop = act, stop

    def exporting(self, done: int, total: int, name: str) -> None:
        pass

    def finished(self, device: str, record: Record) -> None:
        self.finished_on.append((device, record.case))
        self.act()

    def aside(self, device: str, reason: str) -> None:
        self.put_aside[device] = reason

    def resting(self, reasons: Mapping[str, str]) -> None:
        self.rested.append({*reasons})

    def usual(self, device: str) -> None:
        pass

    def left(self, device: str) -> None:
        pass

    def back(self, device: str) -> None:
        pass

    def waiting(self, reason: str) -> None:
        pass

    def failed(self, error: BenchboxError) -> None:
        pass

    def stopping(self, _: int) -> None:
        self.stop()


@dataclass
class Lab:
    """A submitter with cases of its own, and the devices that `state` tells what to do."""

    address: FleetAddress
    state: Path
    folder: Path
    cases: list[Case]

    def run(
        self,
        hearer: Hearer,
        device: str = "pool:pi",
        *,
        resume: bool = False,
        priority: int = 0,
        threads: int = 1,
        stream: Iterator[Case] | None = None,
    ) -> Ends:
        request = Request(
            name="lab",
            specs=[spec_of(self.cases)],
            selection=Selection(),
            device=Device(device, CPU_PROVIDER, threads, "arm", url="fleet:"),
            plan=QUICK,
            results=self.folder / "results",
            resume=resume,
        )
        known = () if stream else self.cases
        return submit.run(self.address, [request], known, hearer, priority, stream)

    def start(self) -> multiprocessing.process.BaseProcess:
        """Start a process that runs all of it."""
        process = multiprocessing.get_context("spawn").Process(target=_submit, args=(self,))
        process.start()
        return process

    def recorded(
        self, folder: Path | None = None, *, is_finished: bool = True
    ) -> Mapping[str, list[str]]:
        """The cases that each device's files have, finished or not, all or those of a folder."""
        found: dict[str, list[str]] = {}
        for path in sorted((folder or self.folder).rglob("*.jsonl")):
            if not path.read_bytes():  # it is being made
                continue
            run = records.read(path)
            assert [r.key for r in run.records] == [r.key for r in records.ordered(run.records)]
            own = [each.case for each in run.records if each.is_unfinished is not is_finished]
            if own:
                found.setdefault(path.parent.name, []).extend(own)
        return found

    def timed(self, folder: Path | None = None) -> Counter[str]:
        """The cases of all files; that by which boards are set beside each other counts once."""
        return once([case for found in self.recorded(folder).values() for case in found])

    def begun(self, *devices: str) -> list[list[str]]:
        """Device and cases of each task that has begun, of all devices or some."""
        path = self.state / "begun"
        found = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [line for line in found if not devices or line[0] in devices]

    def everything(self) -> Counter[str]:
        return Counter(case.name for case in self.cases)


def prepare(_: object, cases: Sequence[Case], *__: object) -> dict[str, Graph]:
    """The graphs of cases, which are there."""
    return {case.key: graph_of(case) for case in cases}


def _submit(lab: Lab) -> None:
    engine.require()
    with patch.object(chunks, "prepare", prepare):
        lab.run(Hearer())


def once(cases: Sequence[str]) -> Counter[str]:
    return Counter(case for case in cases if case != CONTROL) + Counter({CONTROL} & {*cases})
