"""The stand-in for a board leaves nothing behind."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.board import network_board
from tests.transports.conftest import wait_for

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("boards")]


def processes_in(namespace: str) -> list[int]:
    """The processes of a namespace of process ids."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if str((path / "ns/pid").readlink()) == namespace:
                found.append(int(path.name))
        except OSError:  # it has ended meanwhile
            continue
    return found


def namespace_of(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/pid_for_children").readlink())


def test_nothing_is_left_after_a_board() -> None:
    mounts = Path("/proc/self/mounts").read_text()
    with network_board() as there:
        namespace, link = namespace_of(there.pid), Path("/sys/class/net", there.link)
        assert there.ssh("setsid sleep 67 > /dev/null 2>&1 < /dev/null &").returncode == 0
        assert processes_in(namespace) and link.exists()
        assert Path("/proc/self/mounts").read_text() == mounts
    assert processes_in(namespace) == []
    assert not link.exists() and not there.folder.exists()
    there.stop()  # a second time, which does nothing


def test_nothing_runs_on_when_the_tests_are_killed() -> None:
    script = (
        "import os, time\nfrom tests.board import host_board\n"
        "with host_board() as b:\n"
        "    print(b.pid, b.folder, flush=True)\n    time.sleep(60)\n"
    )
    tests = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert tests.stdout is not None
    pid, folder = tests.stdout.readline().split()
    namespace = namespace_of(int(pid))
    assert processes_in(namespace)
    tests.kill()
    tests.wait()
    tests.stdout.close()
    assert wait_for(lambda: not processes_in(namespace))
    shutil.rmtree(folder)  # keys alone
