"""The stand-in for a board does what tests of boards rest on, and leaves nothing behind."""

import json
import shutil
import signal
import subprocess
import sys
import time
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from benchbox.devices import CPU_PROVIDER
from benchbox.transports.board import zipapp
from benchbox.transports.channel import ProcessChannel
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


@pytest.fixture
def channel(emulated_board: Board, tmp_path: Path) -> Iterator[ProcessChannel]:
    """The agent as one file on the emulated board, over ssh."""
    shutil.copy(zipapp.build(tmp_path / "agent.pyz"), emulated_board.home / "agent.pyz")
    channel = ProcessChannel(emulated_board.ssh_argv("python3 agent.pyz"))
    yield channel
    channel.close()


def ask(channel: ProcessChannel, op: str, **request: object) -> dict[str, Any]:
    channel.send({"op": op, **request})
    return channel.receive(60)


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


def test_the_agent_serves_there_over_ssh(
    channel: ProcessChannel, emulated_board: Board, graph: Path
) -> None:
    shutil.copy(graph, emulated_board.home / "served.onnx")
    hello = ask(channel, "hello", protocol=1, threads=1, cpus=None)
    assert hello.get("error") is None
    assert hello["host"]["machine"] == "aarch64"
    assert hello["host"]["cpus"]
    assert CPU_PROVIDER in hello["providers"]
    inputs = [{"name": n, "shape": s, "dtype": "float32"} for n, s in SHAPES.items()]
    loaded = ask(
        channel,
        "load",
        graph="g",
        path="served.onnx",
        provider=CPU_PROVIDER,
        inputs=inputs,
        seed=0,
    )
    assert loaded.get("error") is None
    assert loaded["finite"]
    assert ask(channel, "bye") == {"reply": "bye"}


def test_a_killed_agent_ends_its_channel(emulated_board: Board) -> None:
    running = subprocess.Popen(emulated_board.ssh_argv("sleep 61"), stdin=subprocess.DEVNULL)
    until = time.monotonic() + 10
    while not (pids := emulated_board.pids("sleep 61")) and time.monotonic() < until:
        time.sleep(0.05)
    for pid in pids:
        emulated_board.kill(pid, signal.SIGKILL)
    assert running.wait(10) != 0
    assert pids


def test_files_are_planted_and_the_kept_root_stays_as_it_was(emulated_board: Board) -> None:
    zone = "sys/class/thermal/thermal_zone0/temp"
    plant(emulated_board.root, {zone: "81000\n"})
    assert emulated_board.ssh(f"cat /{zone}").stdout == "81000\n"
    kept = emulated_board._parts.root
    assert kept is not None
    assert (kept / zone).read_text() == "45000\n"
    plant(emulated_board.root, {zone: "45000\n"})


def test_a_disk_is_full(emulated_board: Board) -> None:
    emulated_board.fill(emulated_board.home / "cache", "64k")
    done = emulated_board.ssh("head -c 200000 /dev/zero > cache/x")
    assert done.returncode != 0
    assert "No space left" in done.stderr


def test_sftp_brings_files_there_and_back(emulated_board: Board, tmp_path: Path) -> None:
    sftp = shutil.which("sftp")
    assert sftp
    (tmp_path / "sent").write_bytes(bytes(range(256)) * 4000)
    batch = f"put {tmp_path}/sent there\nget there {tmp_path}/back\n"
    argv = [sftp, "-F", str(emulated_board.config), "-b", "-", "board"]
    subprocess.run(argv, input=batch, text=True, capture_output=True, check=True)
    assert (tmp_path / "back").read_bytes() == (tmp_path / "sent").read_bytes()


def test_a_board_lacks_what_a_test_takes_away() -> None:
    with board() as there:
        (there.root / "usr/bin/python3").unlink()
        shutil.rmtree(there.root / PACKAGES / "numpy")
        assert there.ssh("python3 -V").returncode == 127
        done = there.ssh(f"ls -d /{PACKAGES}/numpy /{PACKAGES}/onnxruntime")
        assert done.stdout == f"/{PACKAGES}/onnxruntime\n"


# this machine behind an sshd


def test_this_machine_has_its_python_and_an_empty_home(ssh_board: Board) -> None:
    done = ssh_board.ssh("pwd; ls; python3 -c 'import sys; print(sys.prefix)'")
    assert done.stdout.split() == ["/run/home", sys.prefix]
    (ssh_board.home / "planted").write_text("x")
    assert ssh_board.ssh("cat ~/planted").stdout == "x"


def test_an_unknown_host_key_is_refused(ssh_board: Board) -> None:
    known = ssh_board.known_hosts.read_text()
    ssh_board.known_hosts.write_text("")
    try:
        assert ssh_board.ssh("true").returncode == 255
    finally:
        ssh_board.known_hosts.write_text(known)


# the link


def test_a_link_goes_down_and_comes_back(linked_board: NetworkBoard) -> None:
    assert linked_board.ssh("cat", given=b"x").stdout == "x"
    linked_board.link_down()
    done = linked_board.ssh("true")
    assert done.returncode == 255
    assert "No route to host" in done.stderr
    linked_board.link_up()
    assert linked_board.ssh("true").returncode == 0


def test_a_link_is_slow(linked_board: NetworkBoard) -> None:
    linked_board.slow(400)
    start = time.monotonic()
    assert linked_board.ssh("wc -c", given=bytes(60_000)).stdout.strip() == "60000"
    assert time.monotonic() - start > 0.8  # 1.2 s at that rate, less what the bucket holds
    linked_board.slow(None)


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
    until = time.monotonic() + 10
    while processes_in(namespace) and time.monotonic() < until:
        time.sleep(0.05)
    assert processes_in(namespace) == []
    shutil.rmtree(folder)  # keys alone
