"""The stand-in for a board does what tests of boards rest on, and leaves nothing behind."""

import shutil
import subprocess
import sys
import unittest
from pathlib import Path

import pytest

from tests.board import fixtures, network_board, setup
from tests.transports.conftest import wait_for

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("boards")]


def links() -> set[int]:
    """The numbers of the network's interfaces here, of which none is used again."""
    return {int(path.read_text()) for path in Path("/sys/class/net").glob("*/ifindex")}


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


def test_what_cannot_be_fetched_skips_the_test_and_leaves_no_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCHBOX_TEST_CACHE", str(tmp_path))
    monkeypatch.setattr(setup, "which", lambda _: shutil.which("false"))
    with pytest.raises(unittest.SkipTest, match="cannot be made"):
        setup.parts(emulated=False)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_where_boards_are_required_a_test_without_one_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(fixtures.REQUIRED, "required")
    with pytest.raises(pytest.fail.Exception, match="required, and no root"):
        fixtures._do_without("no root")
    monkeypatch.delenv(fixtures.REQUIRED)
    with pytest.raises(pytest.skip.Exception, match="no root"):
        fixtures._do_without("no root")


def test_nothing_is_left_after_a_board() -> None:
    before, mounts = links(), Path("/proc/self/mounts").read_text()
    with network_board() as there:
        namespace, made = namespace_of(there.pid), links() - before
        assert there.ssh("setsid sleep 67 > /dev/null 2>&1 < /dev/null &").returncode == 0
        assert processes_in(namespace) and made
        assert Path("/proc/self/mounts").read_text() == mounts
    assert processes_in(namespace) == []
    assert not made & links()
    assert not there.folder.exists()
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
