"""The stand-in for a board does what tests of boards rest on, and leaves nothing behind."""

import json
import shutil
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.board import (
    Board,
    NetworkBoard,
    board,
    fixtures,
    host_board,
    network_board,
    setup,
    why_not,
)
from tests.board.files import plant
from tests.board.setup import PACKAGES
from tests.transports.conftest import wait_for

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("boards")]

CONVOLUTIONS = """\
<ir_version: 9, opset_import: ["" : 18]>
g (float[1,3,16,16] x, float[8,3,3,3] w, float[8,1,3,3] d) => (float[1,8,16,16] y)
{
  a = Conv <pads = [1, 1, 1, 1]> (x, w)
  b = Relu (a)
  c = Conv <pads = [1, 1, 1, 1], group = 8> (b, d)
  y = Sigmoid (c)
}
"""
SHAPES = {"x": (1, 3, 16, 16), "w": (8, 3, 3, 3), "d": (8, 1, 3, 3)}
# Runs on both machines: the graph is argument 1, and the first lines define SHAPES.
RUN = (
    f"SHAPES = {SHAPES}\n"
    + """
import json, sys
import numpy as np
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
given = {n: np.sin(np.arange(np.prod(s)), dtype="f4").reshape(s) for n, s in SHAPES.items()}
(y,) = session.run(None, given)
print(json.dumps([onnxruntime.__version__, y.ravel().tolist()]))
"""
)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "g.onnx"
    onnx.save(onnx.parser.parse_model(CONVOLUTIONS), path)
    return path


def links() -> set[int]:
    """Return the numbers of the network's interfaces here, of which none is used again."""
    return {int(path.read_text()) for path in Path("/sys/class/net").glob("*/ifindex")}


def processes_in(namespace: str) -> list[int]:
    """Return the processes of a namespace of process ids."""
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


# the emulated board


def test_the_board_is_an_aarch64_machine_with_a_user_of_its_own(emulated_board: Board) -> None:
    done = emulated_board.ssh("uname -m; id -un; pwd; echo $HOME")
    assert done.stdout.split() == ["aarch64", "board", "/home/board", "/home/board"]
    assert emulated_board.ssh("touch /usr/x").returncode != 0
    assert emulated_board.ssh("exit 7").returncode == 7


def test_the_board_computes_what_this_machine_does(emulated_board: Board, graph: Path) -> None:
    shutil.copy(graph, emulated_board.home / "g.onnx")
    there = emulated_board.ssh("python3 - g.onnx", given=RUN.encode())
    assert there.returncode == 0, there.stderr
    here = subprocess.run(
        [sys.executable, "-", str(graph)], input=RUN, capture_output=True, text=True, check=True
    )
    (version, ours), (same, theirs) = json.loads(here.stdout), json.loads(there.stdout)
    assert version == same
    np.testing.assert_allclose(theirs, ours, atol=1e-4)


def test_files_are_planted_and_the_kept_root_stays_as_it_was(emulated_board: Board) -> None:
    zone = "sys/class/thermal/thermal_zone0/temp"
    plant(emulated_board.root, {zone: "81000\n"})
    assert emulated_board.ssh(f"cat /{zone}").stdout == "81000\n"
    kept = emulated_board._parts.root
    assert kept is not None
    assert (kept / zone).read_text() == "45000\n"
    plant(emulated_board.root, {zone: "45000\n"})


def test_a_board_lacks_what_a_test_takes_away() -> None:
    with board() as there:
        (there.root / "usr/bin/python3").unlink()
        shutil.rmtree(there.root / PACKAGES / "numpy")
        assert there.ssh("python3 -V").returncode == 127
        done = there.ssh(f"ls -d /{PACKAGES}/numpy /{PACKAGES}/onnxruntime")
        assert done.stdout == f"/{PACKAGES}/onnxruntime\n"


# where there is none


def test_a_board_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert why_not.__wrapped__() == "the stand-in for a board needs root"


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


# what is left


@pytest.mark.parametrize("make", [host_board, network_board])
def test_nothing_is_left_after_a_board(make: Any) -> None:
    before, mounts = links(), Path("/proc/self/mounts").read_text()
    with make() as there:
        namespace, made = namespace_of(there.pid), links() - before
        assert there.ssh("setsid sleep 67 > /dev/null 2>&1 < /dev/null &").returncode == 0
        assert processes_in(namespace)
        assert Path("/proc/self/mounts").read_text() == mounts
    assert processes_in(namespace) == []
    assert bool(made) == isinstance(there, NetworkBoard)
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
