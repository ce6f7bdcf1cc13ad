"""A device behind a link: its keeper, the files it is sent, and the agents on it."""

import contextlib
import fcntl
import hashlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchbox.devices import Device
from benchbox.errors import CaseError, DeviceError
from benchbox.specs import TensorSpec
from benchbox.transports import open_agent, open_target
from benchbox.transports.board import commands, setup, target, zipapp
from benchbox.transports.board.target import Target
from benchbox.transports.link import RemoteChannel
from tests.helpers import sent
from tests.helpers.on_boards import benchbox
from tests.transports.conftest import PYTHON, Shell, ShellLink, refused, wait_for

pytestmark = pytest.mark.slow
WriteOnnx = Callable[..., Path]
X = (TensorSpec("x", (32, 32)),)


@pytest.fixture
def board(device: Device) -> Iterator[Target]:
    with open_target(device) as opened:
        yield opened


def test_the_files_beside_a_graph_come_along(
    shell: Shell, device: Device, tmp_path: Path, write_onnx: WriteOnnx
) -> None:
    wide = "wide (float[32,32] x) => (float[32,32] y) { y = MatMul(x, w) }"
    model = onnx.load(write_onnx("wide", wide))
    weights = onnx.numpy_helper.from_array(np.eye(32, dtype=np.float32), "w")
    model.graph.initializer.append(weights)
    path = tmp_path / "apart.onnx"
    onnx.save(model, path, save_as_external_data=True, location="apart.data", size_threshold=0)
    with open_agent(device) as agent:
        assert agent.load("g", str(path), X, 0).first_call_s > 0
        assert agent.load("again", str(path), X, 0).first_call_s > 0
    assert len(list((shell.cache / "sets").iterdir())) == 1


# a device that cannot be used: one line each


OLD = "import sys; sys.version_info = (3, 9, 2); exec(sys.argv[1])"


@pytest.mark.parametrize(
    ("python", "said"),
    [
        (f'exec {PYTHON} -c "{OLD}" "$2"', "its Python is 3.9.2, the agent needs 3.10 or newer"),
        (
            f'exec {PYTHON} -S "$@"',
            "has no numpy and no onnxruntime; benchbox device check board --install",
        ),
        ("exit 1", "does not start there: it ended with code 1; log in and try it"),
        ("echo Welcome to  my board", "its login shell prints 'Welcome to my board' before any"),
    ],
)
def test_a_python_that_cannot_be_used_is_told_with_what_helps(
    shell: Shell, python: str, said: str
) -> None:
    assert said in refused(shell.with_python(python))


def test_what_a_shell_printed_that_takes_no_program_is_told(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = ShellLink.start

    def start(link: ShellLink, command: str) -> RemoteChannel:
        channel = begin(link, command)
        assert channel.wait(20) == 0
        return channel

    monkeypatch.setattr(ShellLink, "start", start)
    said = refused(shell.with_python("echo This account is not available"))
    assert "its login shell prints 'This account is not available' before any" in said


def test_a_device_that_is_not_as_asked_for_is_refused(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "4096 threads asked for" in refused(shell.device(threads=4096))
    monkeypatch.setattr("benchbox.devices.claims.ARM_MACHINES", ("riscv64",))
    said = refused(shell.device(name="arm"))
    assert said.startswith("device 'arm': ") and "not an ARM one" in said


# files


def test_a_board_without_room_is_the_cases_error(
    device: Device, write_onnx: WriteOnnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent.change(monkeypatch, "remote_keeper.py", "SPARE_BYTES = 32 << 20", "SPARE_BYTES = 1 << 60")
    with open_target(device) as board:
        with pytest.raises(CaseError, match=r"on the device: no space left there: \d+ MB needed"):
            board.path_of(str(write_onnx()))
        assert board.push({}) == {}  # the way there is still open


def test_a_home_in_which_nothing_can_be_kept_is_told_of(shell: Shell) -> None:
    shell.cache.parent.write_text("a file where the folder should be")
    said = refused(shell.device())
    where = f"{shell.cache}: Not a directory; see to that folder there"
    assert said.endswith(f"on the device: nothing can be kept in {where}")


def test_a_file_that_arrives_broken_is_not_kept(shell: Shell, board: Target) -> None:
    with pytest.raises(CaseError, match="arrived broken"):
        board.ask(put("0" * 64, 3), lambda _: [b"abc"])
    assert [*(shell.cache / "files").iterdir(), *(shell.cache / "run").iterdir()] == []


@pytest.mark.parametrize("spoil", [b"garbage", b""])
def test_a_file_that_changed_on_the_board_is_sent_anew(
    device: Device, write_onnx: WriteOnnx, tmp_path: Path, spoil: bytes
) -> None:
    """Of the same size, too: what is timed is what has the hash that is recorded."""
    graph, data = write_onnx(), tmp_path / "beside.bin"
    data.write_bytes(b"weights")
    sent = graph.read_bytes()
    with open_target(device) as board:
        there = Path(board.path_of(str(graph)))
        folder = Path(board.gather({"g": graph, "beside.bin": data}))
        there.write_bytes(spoil or sent[:-1] + b"x")
        (folder / "beside.bin").write_bytes(b"nothing")
    with open_target(device) as board:
        assert Path(board.path_of(str(graph))).read_bytes() == sent
        again = Path(board.gather({"g": graph, "beside.bin": data}))
    assert ((again / "g").read_bytes(), (again / "beside.bin").read_bytes()) == (sent, b"weights")


def test_values_of_an_input_are_sent_by_content(device: Device, tmp_path: Path) -> None:
    np.save(tmp_path / "location.npy", np.frombuffer(b"location", np.uint8))
    with open_target(device) as board:
        there = board.path_of(str(tmp_path / "location.npy"))
    assert np.load(there).tobytes() == b"location"


def put(sha256: str, size: int) -> dict[str, object]:
    return {"op": "put", "name": f"{sha256}.onnx", "sha256": sha256, "size": size}


def half_sent(shell: Shell, content: bytes, arrived: bytes) -> tuple[str, Path]:
    """Leave behind what a link that was lost leaves."""
    sha256 = hashlib.sha256(content).hexdigest()
    part = shell.cache / f"run/part-{sha256}.onnx"
    part.write_bytes(arrived)
    return sha256, part


def test_what_a_lost_link_left_half_sent_is_gone_on_with(shell: Shell, board: Target) -> None:
    content, starts = os.urandom(1 << 20), list[int]()

    def rest(start: int) -> list[bytes]:
        starts.append(start)
        return [content[start:]]

    sha256, _ = half_sent(shell, content, content[:700_000])
    board.ask(put(sha256, len(content)), rest)
    assert starts == [700_000]
    assert (shell.cache / f"files/{sha256}.onnx").read_bytes() == content
    assert not list((shell.cache / "run").iterdir())


@pytest.mark.parametrize("left", [b"another", bytes(10_000)])
def test_what_is_left_of_another_file_does_not_stay(
    shell: Shell, board: Target, write_onnx: WriteOnnx, left: bytes
) -> None:
    graph = write_onnx()
    half_sent(shell, graph.read_bytes(), left)
    with contextlib.suppress(CaseError):  # of the same length or shorter: told by its hash
        board.push({"x": graph})
    kept = board.push({"x": graph})["x"]
    assert (shell.cache / "files" / kept).read_bytes() == graph.read_bytes()


def test_a_file_that_another_link_is_sending_is_waited_for(
    shell: Shell, board: Target, write_onnx: WriteOnnx
) -> None:
    graph = write_onnx()
    sha256, part = half_sent(shell, graph.read_bytes(), b"")
    with part.open("rb") as held, ThreadPoolExecutor() as pool:
        fcntl.flock(held, fcntl.LOCK_EX)
        pushed = pool.submit(board.push, {"x": graph})
        time.sleep(0.3)
        assert not pushed.done()
        fcntl.flock(held, fcntl.LOCK_UN)
        assert pushed.result(30) == {"x": f"{sha256}.onnx"}


def test_what_was_unused_for_longest_makes_room(
    shell: Shell, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent.change(monkeypatch, "remote_keeper.py", "= 4 << 30", "= 2500")
    files = [tmp_path / f"{letter}.onnx" for letter in "abc"]
    with open_target(device) as board:
        kept = []
        for file in files:
            file.write_bytes(file.name.encode() * 150)
            kept.append(board.push({"x": file})["x"])
            time.sleep(0.02)
    there = {path.name for path in (shell.cache / "files").iterdir()}
    assert there == set(kept[1:])


def test_clean_empties_the_folder(shell: Shell, board: Target, write_onnx: WriteOnnx) -> None:
    board.path_of(str(write_onnx()))
    assert shell.cache.stat().st_mode & 0o777 == 0o700  # for its owner alone
    assert setup.clean(board) > 0
    assert list(shell.cache.iterdir()) == []


def test_a_board_that_another_link_has_an_agent_on_is_refused(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "PING_S", 0.2)
    busy = "another benchbox is timing on it"
    with open_agent(device) as agent:
        target._reached.clear()
        assert refused(device) == f"device 'board': {busy}; wait for it to end"
        benchbox("device", "add", "board", device.url, "--python", PYTHON)
        checked = benchbox("device", "check", "board").stdout
        assert checked.endswith(f"board is in use: {busy}\n")
        with open_target(device) as board, pytest.raises(DeviceError, match=f"emptied: {busy}"):
            setup.clean(board)
        assert agent.look(0, 0.1)
    with open_target(device) as board:
        assert not board.is_busy


def test_an_agent_that_outlives_its_keeper_keeps_others_away(
    shell: Shell, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system out of memory may end the keeper alone; what is timed goes on."""
    sent.change(monkeypatch, "remote_keeper.py", "RELEASE_S = SILENCE_S + 5.0", "RELEASE_S = 0.5")
    with open_agent(device) as agent:
        (keeper,) = shell.pids("json.loads(open(0")
        os.kill(keeper, signal.SIGKILL)
        target._reached.clear()
        assert "another benchbox is timing on it; wait for it to end" in refused(device)
        assert agent.look(0, 0.1)
    assert wait_for(lambda: not shell.agents())
    open_agent(device).close()


def test_an_agent_whose_link_is_lost_is_waited_for(
    shell: Shell, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its keeper knows nothing of that for a while, and its agent is there for as long."""
    sent.change(monkeypatch, "remote_keeper.py", "SILENCE_S = 30.0", "SILENCE_S = 1.0")
    monkeypatch.setattr(target, "PING_S", 1000.0)  # as a link that is lost has it
    lost = open_agent(device)
    (before,) = shell.agents()
    target._reached.clear()
    with open_agent(device) as agent:
        assert shell.agents() != [before] and len(shell.agents()) == 1
        assert agent.look(0, 0.1)
    lost.close()


def test_pings_keep_the_keeper(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    sent.change(monkeypatch, "remote_keeper.py", "SILENCE_S = 30.0", "SILENCE_S = 1.0")
    monkeypatch.setattr(target, "PING_S", 0.1)
    with open_target(device) as opened:
        time.sleep(1.5)
        assert opened.push({}) == {}


def test_the_doctor_looks_at_the_board_and_not_at_this_machine(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchbox.cli.doctor._busiest", lambda *_: [("ours-alone", 0.9)])
    benchbox("device", "add", "board", device.url, "--python", PYTHON)
    assert "ours-alone" not in benchbox("doctor", "-d", "board", "--seconds", "0.3").stdout
    assert "ours-alone" in benchbox("doctor", "--seconds", "0.3").stdout


@pytest.mark.parametrize("python", ["", "~/a!b/it's", "!!"])
def test_csh_takes_nothing_in_a_command_for_an_old_one_or_for_its_end(python: str) -> None:
    """It knows no newline within quotes, and an event after `!` in any but by a backslash."""
    for line in (commands.program(python), commands.agent(python, "/a!", "/run/!", {})):
        assert "\n" not in line
        assert line.count("!") == line.count("'\\!'") > 0
        text = shlex.split(line)[-1]
        assert subprocess.run(["/bin/sh", "-n", "-c", text], check=False).returncode == 0
        assert shlex.quote(python.removeprefix("~/") or "python3") in text
    line = commands.agent(python, "/a'b", "/run/$x", {"A": "b c"})
    text = shlex.split(line)[-1]
    assert "'/run/$x'" in text and "A='b c'" in text and shlex.quote("/a'b") in text


def test_the_agent_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    one, two = zipapp.build(tmp_path / "1"), zipapp.build(tmp_path / "2")
    assert one.read_bytes() == two.read_bytes()
