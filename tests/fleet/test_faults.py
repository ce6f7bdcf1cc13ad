"""Faults of a fleet of real processes: after each, all is timed once, and none of it is lost."""

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from benchbox.fleet.authority import ANY
from benchbox.fleet.connection import Connection
from tests.board.fixtures import do_without
from tests.fleet.lab import LONG_S, Fleet, Hearer, Lab, a_fleet, once, waited

pytestmark = pytest.mark.slow
PID = os.getpid()
NETWORK = f"bench{PID}"  # of a machine of its own, and what leads there
HERE, THERE = (f"198.18.{PID >> 6 & 255}.{(PID & 63) << 2 | end}" for end in (1, 2))
DOOMED = "pi-3"


@dataclass
class Scene:
    """A run that three devices are at; the doomed one is held at its first task.

    The `first` submitter is a process, another goes on from it.
    """

    lab: Lab
    hearer: Hearer
    fleet: Fleet
    doomed: subprocess.Popen[str]
    first: BaseProcess | None

    def wait_for_others(self, left: int = 0) -> None:
        """Wait until the others have timed all but some cases."""
        waited(lambda: len(self.hearer.finished_on) >= len(self.lab.cases) - left)


def killed(scene: Scene) -> None:
    scene.doomed.kill()
    scene.wait_for_others()


def leaving(scene: Scene) -> None:
    scene.doomed.send_signal(signal.SIGINT)
    scene.doomed.wait(LONG_S)
    scene.wait_for_others()


def stopped(scene: Scene) -> None:
    os.kill(scene.doomed.pid, signal.SIGSTOP)
    scene.wait_for_others()
    os.kill(scene.doomed.pid, signal.SIGCONT)


def cut_off(scene: Scene) -> None:
    ip(f"link set {NETWORK} down")
    scene.wait_for_others()
    ip(f"link set {NETWORK} up")


def slow(scene: Scene) -> None:
    (line,) = scene.lab.begun(DOOMED)
    scene.wait_for_others(len(once(line[1:])))


def without_scheduler(scene: Scene) -> None:
    scheduler = scene.fleet.processes[0]
    scheduler.kill()
    scheduler.wait()
    scene.fleet.start("scheduler", host=ANY)


def without_submitter(scene: Scene) -> None:
    assert scene.first is not None
    waited(lambda: bool(scene.lab.timed()))
    scene.first.kill()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with a_fleet(tmp_path_factory.mktemp("fleet")) as fleet:
        fleet.start("scheduler", host=ANY)
        fleet.start("worker", "pi-1", "pi-2")
        yield fleet


def names(lab: Lab) -> set[str]:
    """The devices of the fleet as it is now."""
    with closing(Connection(lab.address)) as watched:
        return {each.name for each in watched.members() or ()}


@pytest.mark.parametrize(
    "fault", [killed, leaving, stopped, cut_off, slow, without_scheduler, without_submitter]
)
def test_a_fault_loses_nothing_and_nothing_is_timed_twice(
    fault: Callable[[Scene], None], fleet: Fleet, lab: Lab
) -> None:
    hold, hearer = lab.state / f"hold-{DOOMED}", Hearer()
    hold.touch()

    def suffer() -> None:
        waited(lambda: DOOMED in lab.recorded(is_finished=False))
        fault(Scene(lab, hearer, fleet, doomed, first))
        hold.unlink()

    with machine() if fault is cut_off else nullcontext({}) as place:
        doomed = fleet.start("worker", DOOMED, **place)
        first = lab.start() if fault is without_submitter else None
        thread = threading.Thread(target=suffer)
        thread.start()
        if first is not None:
            first.join()
        before = lab.timed()
        ends = lab.run(hearer, resume=first is not None)
        thread.join()
        assert (ends.failures, hearer.put_aside) == ({}, {})
        heard = once([case for _, case in hearer.finished_on])
        assert lab.timed() == before + heard == lab.everything()
        (_, *keys), *_ = lab.begun(DOOMED)
        kept = {*lab.recorded(is_finished=False).get(DOOMED, ()), *lab.recorded().get(DOOMED, ())}
        assert kept >= {key.removeprefix("tiny:") for key in keys}
        back = {"pi-1", "pi-2", *(() if fault in (killed, leaving) else (DOOMED,))}
        waited(lambda: names(lab) >= back)
        doomed.kill()
        again = Hearer()
        lab.run(again, resume=True)
        assert again.finished_on == []
        waited(lambda: DOOMED not in names(lab))


@pytest.mark.parametrize("has_other", [True, False])
def test_a_full_disk_here_loses_no_record(
    has_other: bool, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, other = lab.folder / "results", lab.folder / "other"
    other.mkdir()
    with small_disk(results, free=1) as make_room:
        monkeypatch.setattr(tempfile, "tempdir", str(other if has_other else results))
        hearer = Hearer()
        ends = lab.run(hearer)
        heard = once([case for _, case in hearer.finished_on])
        assert lab.timed() == heard
        assert lab.timed(results) < lab.everything()
        lost = [each.lost for each in ends.outcomes.values() if each.lost]
        says = lost if has_other else [str(each) for each in ends.failures.values()]
        assert all("No space left on device" in each for each in says)
        assert says
        assert (heard == lab.everything()) is has_other
        make_room()
        lab.run(Hearer(), resume=True)
        assert lab.timed(results) == lab.everything()


def test_a_host_whose_disk_is_full_is_put_aside(fleet: Fleet, lab: Lab) -> None:
    with small_disk(lab.folder / "cache", free=0):
        doomed = fleet.start("worker", DOOMED, cache=lab.folder / "cache")
        hearer = Hearer()
        lab.run(hearer)
        doomed.kill()
    assert hearer.put_aside == {DOOMED: "its cache cannot be written: No space left on device"}
    assert lab.timed() == lab.everything()
    waited(lambda: DOOMED not in names(lab))


@contextmanager
def machine() -> Iterator[dict[str, Any]]:
    """A machine of its own behind a link; what starts a process there."""
    ip(f"netns add {NETWORK}")
    try:
        ip(f"link add {NETWORK} type veth peer name eth0 netns {NETWORK}")
        ip(f"addr add {HERE}/30 dev {NETWORK}")
        ip(f"link set {NETWORK} up")
        ip(f"-n {NETWORK} addr add {THERE}/30 dev eth0")
        ip(f"-n {NETWORK} link set eth0 up")
        ip(f"-n {NETWORK} link set lo up")
        yield {"host": HERE, "within": ["ip", "netns", "exec", NETWORK]}
    finally:
        ip(f"netns del {NETWORK}")


@contextmanager
def small_disk(folder: Path, *, free: int) -> Iterator[Callable[[], None]]:
    """A folder on a disk of its own with some pages `free`; what makes room there."""
    folder.mkdir()
    as_root("mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder))
    try:
        (folder / "filler").write_bytes(bytes((64 - free) * 4096))
        yield (folder / "filler").unlink
    finally:
        as_root("umount", str(folder))


def ip(command: str) -> None:
    as_root("ip", *command.split())


def as_root(*argv: str) -> None:
    try:
        subprocess.run(argv, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        do_without(f"networks and disks of tests need root on Linux: {error}")
