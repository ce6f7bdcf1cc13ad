import asyncio
import contextlib
import fcntl
import hashlib
import io
import json
import os
import platform
import shlex
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from rich.console import Console

from benchbox.cli import device_actions
from benchbox.devices import CPU_PROVIDER, Device, last_seen
from benchbox.errors import AgentError, CaseError, DeviceError
from benchbox.specs import TensorSpec
from benchbox.transports import open_agent, open_board
from benchbox.transports.board import board as board_board
from benchbox.transports.board import commands, zipapp
from benchbox.transports.board.board import BoardChannel
from benchbox.transports.channel import ChannelClosed, Timeout
from benchbox.transports.ssh import link
from tests.helpers import sent

pytestmark = pytest.mark.slow
WriteOnnx = Callable[..., Path]
X = (TensorSpec("x", (32, 32)),)


class Accepting(asyncssh.SSHServer):
    """Keeps its connections, so that a test can cut them."""

    def __init__(self, connections: list[asyncssh.SSHServerConnection]) -> None:
        self.connections = connections

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connections.append(conn)


class Server:
    """An SSH server on loopback; behind it a shell of this machine, at home in a folder."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "board"
        self.home.mkdir()
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        (folder / "authorized").write_bytes(self.key.export_public_key())
        self.authorized = str(folder / "authorized")
        self.connections: list[asyncssh.SSHServerConnection] = []
        self.commands: list[str] = []
        self.terminals: set[str | None] = set()
        self.received = 0
        self.env = {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
        }
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.acceptor = self.call(self.listen())
        self.port = self.acceptor.get_port()

    def call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    async def listen(self) -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: Accepting(self.connections),
            server_host_keys=[self.host_key],
            authorized_client_keys=self.authorized,
            process_factory=self.serve,
            encoding=None,
        )

    async def serve(self, process: Any) -> None:
        self.commands.append(process.command)
        self.terminals.add(process.term_type)
        child = await asyncio.create_subprocess_exec(
            "sh",
            "-c",
            process.command,
            env=self.env,
            cwd=self.home,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert child.stdin and child.stdout and child.stderr
        feeding = self.loop.create_task(self.feed(process, child.stdin))
        outputs = [
            self.loop.create_task(self.copy(child.stdout, process.stdout)),
            self.loop.create_task(self.copy(child.stderr, process.stderr)),
        ]
        await asyncio.gather(*outputs)
        code = await child.wait()
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        if code < 0:
            process.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
        else:
            process.exit(code)

    async def feed(self, process: Any, stdin: asyncio.StreamWriter) -> None:
        try:
            while data := await process.stdin.read(1 << 16):
                self.received += len(data)
                stdin.write(data)
                await stdin.drain()
        except (OSError, asyncssh.Error):
            pass
        finally:
            stdin.close()

    @staticmethod
    async def copy(source: asyncio.StreamReader, target: Any) -> None:
        while data := await source.read(1 << 16):
            try:
                target.write(data)
            except (OSError, asyncssh.Error):
                return

    def cut(self) -> None:
        """End every connection without a word."""
        for connection in self.connections:
            self.loop.call_soon_threadsafe(connection.abort)

    def stop(self) -> None:
        async def end() -> None:
            self.acceptor.close()
            for connection in self.connections:
                connection.abort()
            await self.acceptor.wait_closed()
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            done, _ = await asyncio.wait(rest, timeout=5) if rest else (set(), set())
            await asyncio.gather(*done, return_exceptions=True)

        self.call(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server, and the ssh folder of a user whom it accepts."""
    running = Server(tmp_path)
    folder = tmp_path / "user" / ".ssh"
    folder.mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(board_board, "_reached", set())
    running.key.write_private_key(str(folder / "id_ed25519"))
    public = running.host_key.export_public_key().decode()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{running.port} {public}")
    yield running
    running.stop()


@pytest.fixture
def device(server: Server) -> Device:
    """This Python behind the server."""
    url = f"ssh://me@127.0.0.1:{server.port}"
    return Device("board", CPU_PROVIDER, 1, "arm", (), url, PYTHON)


PYTHON = os.path.abspath(__import__("sys").executable)  # noqa: PTH100 - not through the link


def agents(server: Server) -> list[int]:
    """The agents that run behind a server."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if os.fsencode(server.home / ".cache/benchbox/files") in line:
            found.append(int(path.parent.name))
    return found


def running(server: Server, text: str) -> list[int]:
    """The programs with a text in their command line that were started at home behind a server."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if text in line and (path / "cwd").resolve() == server.home:
                found.append(int(path.name))
    return found


def wait_for(what: Callable[[], bool], seconds: float = 8.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(0.05)
    return False


def test_a_graph_is_timed_behind_ssh_and_nothing_is_sent_twice(
    server: Server, device: Device, write_onnx: WriteOnnx
) -> None:
    path = write_onnx()
    with open_agent(device) as agent:
        assert agent.hello["versions"]["onnxruntime"]
        agent.load("g", str(path), X, 0)
        (timed,) = agent.time([("g", 5)], [0.1])
        assert len(timed.latencies_ns) == 5
        agent.load("h", str(path), X, 0)
    first = server.received
    with open_agent(device) as agent:
        agent.load("g", str(path), X, 0)
    assert server.received - first < first / 2
    assert len(list((server.home / ".cache/benchbox/files").iterdir())) == 2
    assert wait_for(lambda: not agents(server))
    last = last_seen.last(device.url)
    assert last.at and platform.machine() in last.what


def test_the_files_beside_a_graph_come_along(
    server: Server, device: Device, tmp_path: Path, write_onnx: WriteOnnx
) -> None:
    import numpy as np
    import onnx

    model = onnx.load(
        write_onnx("wide", "wide (float[32,32] x) => (float[32,32] y) { y = MatMul(x, w) }")
    )
    weights = onnx.numpy_helper.from_array(np.eye(32, dtype=np.float32), "w")
    model.graph.initializer.append(weights)
    path = tmp_path / "apart.onnx"
    onnx.save(model, path, save_as_external_data=True, location="apart.data", size_threshold=0)
    with open_agent(device) as agent:
        assert agent.load("g", str(path), X, 0).first_call_s > 0
        assert agent.load("again", str(path), X, 0).first_call_s > 0
    assert len(list((server.home / ".cache/benchbox/sets").iterdir())) == 1


# a device that cannot be used: one line each


def refused(device: Device) -> str:
    with pytest.raises(DeviceError) as caught:
        open_agent(device)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def at(device: Device, url: str) -> Device:
    return Device("board", CPU_PROVIDER, 1, "arm", (), url, device.python)


def test_an_unknown_host_key_says_how_to_add_it(server: Server, device: Device) -> None:
    (Path.home() / ".ssh/known_hosts").write_text("")
    assert refused(device) == (
        "device 'board': the host key of 127.0.0.1 is not known; connect once by hand and compare "
        f"it: ssh -p {server.port} me@127.0.0.1"
    )


def test_a_host_key_that_changed_says_so(server: Server, device: Device) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    (Path.home() / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{server.port} {other}")
    assert (
        f"another host key than ~/.ssh/known_hosts has; if you set it up anew: ssh-keygen -R "
        f"'[127.0.0.1]:{server.port}'" in refused(device)
    )


def test_a_key_that_is_not_accepted_says_so(server: Server, device: Device) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519")
    other.write_private_key(str(Path.home() / ".ssh/id_ed25519"))
    said = refused(device)
    assert f"accepts none of your keys; ssh-copy-id -p {server.port} me@127.0.0.1" in said


def test_a_closed_port_is_refused_at_once(device: Device) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        said = refused(at(device, f"ssh://me@127.0.0.1:{port}"))
    assert said == (
        f"device 'board': 127.0.0.1 refuses connections at port {port}; is its sshd running there?"
    )


@pytest.mark.usefixtures("server")
def test_a_name_that_nobody_has_says_so(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "no host is called nowhere.invalid" in refused(at(device, "ssh://nowhere.invalid"))


def test_a_host_that_says_nothing_is_given_up(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "CONNECT_S", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        said = refused(at(device, f"ssh://me@127.0.0.1:{silent.getsockname()[1]}"))
    assert said.startswith("device 'board': ")


def python_of(server: Server, device: Device, text: str) -> Device:
    """A device whose Python is a script."""
    path = server.home / "python here"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return Device(device.name, CPU_PROVIDER, 1, "arm", (), device.url, "~/python here")


def test_a_board_without_python_says_so(device: Device) -> None:
    absent = Device("board", CPU_PROVIDER, 1, "arm", (), device.url, "/no/python")
    assert refused(absent).endswith(
        "no /no/python there; install Python 3.11 or newer, or name one with: "
        f"benchbox device add NAME {device.url} --python PATH"
    )


def test_an_old_python_is_called_too_old(server: Server, device: Device) -> None:
    pretend = "import sys; sys.version_info = (3, 9, 2); exec(sys.argv[1])"
    old = python_of(server, device, f'exec {PYTHON} -c "{pretend}" "$2"')
    assert "its Python is 3.9.2, the agent needs 3.11 or newer" in refused(old)


def test_a_python_without_the_runtime_says_how_to_get_it(server: Server, device: Device) -> None:
    bare = python_of(server, device, f'exec {PYTHON} -S "$@"')
    said = refused(bare)
    assert "has no numpy and no onnxruntime; benchbox device check board --install" in said


def test_a_system_of_32_bits_on_a_kernel_of_64_is_told_what_helps(
    server: Server, device: Device
) -> None:
    pretend = "import ctypes, struct, sys; struct.calcsize = lambda _: 4; exec(sys.argv[1])"
    narrow = python_of(server, device, f'exec {PYTHON} -S -c "{pretend}" "$2"')
    said = "its Python is 32-bit, and ONNX Runtime has 64-bit wheels only; use a 64-bit system"
    assert said in refused(narrow)
    with open_board(narrow) as board:
        with pytest.raises(DeviceError, match=f"nothing installed: {said}"):
            board.install()
        assert board.look()["bits"] == 32


def test_a_runtime_that_is_broken_is_told_of_and_replaced(server: Server, device: Device) -> None:
    (server.home / "broken/numpy").mkdir(parents=True)
    (server.home / "broken/numpy/__init__.py").write_text("raise ImportError('libopenblas.so.0')")
    script = VENV.format(rest=f'[ "$2" = pip ] || exec {PYTHON} "$@"')
    path = 'case "$0" in *venv*) unset PYTHONPATH ;; *) export PYTHONPATH="$HOME/broken" ;; esac\n'
    broken = python_of(server, device, path + script)
    said = refused(broken)
    assert "no agent starts there: ImportError: " in said
    assert said.endswith("; benchbox device check board --install")
    stderr = Console(file=io.StringIO(), width=100)
    for each in ("installing what", "nothing to install: "):
        device_actions._prepare(broken, stderr, install=True, clean=False)
        assert each in stderr.file.getvalue()
    with open_agent(broken) as agent:
        assert agent.hello["versions"]


def test_a_device_named_arm_must_be_one(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchbox.devices.device.ARM_MACHINES", ("riscv64",))
    said = refused(Device("arm", CPU_PROVIDER, 1, "arm", (), device.url, device.python))
    assert said.startswith("device 'arm': ") and "not an ARM one" in said


def test_more_threads_than_the_device_has_are_refused(device: Device) -> None:
    many = Device("board", CPU_PROVIDER, 4096, "arm", (), device.url, device.python)
    assert "4096 threads asked for" in refused(many)


# what goes wrong later


def test_a_link_that_is_cut_ends_the_agent_here_and_there(server: Server, device: Device) -> None:
    agent = open_agent(device)
    assert len(agents(server)) == 1
    server.cut()
    with pytest.raises(AgentError, match="the link to the device is lost"):
        agent.look(0, 0.1)
    agent.close()
    assert wait_for(lambda: not agents(server))


def test_an_agent_may_be_closed_twice(device: Device) -> None:
    agent = open_agent(device)
    agent.close()
    agent.close()
    with pytest.raises(AgentError, match="the agent is gone"):
        agent.look(0, 0.1)


def test_an_agent_that_is_stuck_does_not_outlive_its_link(server: Server, device: Device) -> None:
    agent = open_agent(device)
    (pid,) = agents(server)
    os.kill(pid, signal.SIGSTOP)  # it sees no end of its input
    agent.close()
    assert wait_for(lambda: not agents(server))


def test_a_killed_agent_is_told_from_a_lost_link(server: Server, device: Device) -> None:
    with open_agent(device) as agent:
        os.kill(agents(server)[0], signal.SIGKILL)
        with pytest.raises(AgentError, match="ended by SIGKILL, as a system out of memory does"):
            agent.look(0, 0.1)


@pytest.mark.usefixtures("server")
def test_an_agent_that_hangs_meets_its_deadline(device: Device) -> None:
    channel = BoardChannel(open_board(device))
    with pytest.raises(Timeout):
        channel.receive(0.2)
    channel.close()


def test_an_error_in_the_middle_of_a_run_names_no_host(server: Server, device: Device) -> None:
    open_agent(device).close()
    server.authorized = ""
    (Path.home() / ".ssh/known_hosts").write_text("")
    said = refused(device)
    assert said == (
        "device 'board': lost, and it cannot be reached again (its host key is another one)"
    )


def test_a_board_without_room_is_the_cases_error(
    device: Device, write_onnx: WriteOnnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent.change(monkeypatch, "remote_keeper.py", "SPARE_BYTES = 32 << 20", "SPARE_BYTES = 1 << 60")
    with open_board(device) as board:
        with pytest.raises(CaseError, match=r"on the device: no space left there: \d+ MB needed"):
            board.place(str(write_onnx()))
        assert board.push({}) == {}  # the way there is still open


def test_a_file_that_arrives_broken_is_not_kept(server: Server, device: Device) -> None:
    with open_board(device) as board:
        request = {"op": "put", "name": "x.onnx", "sha256": "0" * 64, "size": 3}
        with pytest.raises(CaseError, match="arrived broken"):
            board._ask(request, lambda _: [b"abc"])
    assert not list((server.home / ".cache/benchbox/files").iterdir())
    assert not list((server.home / ".cache/benchbox/run").iterdir())


@pytest.mark.parametrize("spoil", [b"garbage", b""])
def test_a_file_that_changed_on_the_board_is_sent_anew(
    device: Device, write_onnx: WriteOnnx, tmp_path: Path, spoil: bytes
) -> None:
    """Of the same size, too: what is timed is what has the hash that is recorded."""
    graph, data = write_onnx(), tmp_path / "beside.bin"
    data.write_bytes(b"weights")
    sent = graph.read_bytes()
    with open_board(device) as board:
        there = Path(board.place(str(graph)))
        folder = Path(board.gather({"g": graph, "beside.bin": data}))
        there.write_bytes(spoil or sent[:-1] + b"x")
        (folder / "beside.bin").write_bytes(b"nothing")
    with open_board(device) as board:
        assert Path(board.place(str(graph))).read_bytes() == sent
        again = Path(board.gather({"g": graph, "beside.bin": data}))
    assert ((again / "g").read_bytes(), (again / "beside.bin").read_bytes()) == (sent, b"weights")


def test_a_file_that_is_known_to_be_whole_is_not_read_again(
    server: Server, device: Device, write_onnx: WriteOnnx
) -> None:
    graph = write_onnx()
    with open_board(device) as board:
        there = Path(board.place(str(graph)))
        looks = there.stat()
        there.write_bytes(bytes(looks.st_size))  # which nobody does and sets the time back
        os.utime(there, ns=(looks.st_atime_ns, looks.st_mtime_ns))
        assert there.read_bytes() == Path(board.place(str(graph))).read_bytes()
        (server.home / ".cache/benchbox/whole" / there.name).unlink()
        assert Path(board.place(str(graph))).read_bytes() == graph.read_bytes()


def half_sent(server: Server, name: str, content: bytes) -> Path:
    """Leave behind what a link that was lost leaves."""
    part = server.home / ".cache/benchbox/run" / f"part-{name}"
    part.write_bytes(content)
    return part


def test_what_a_lost_link_left_half_sent_is_gone_on_with(server: Server, device: Device) -> None:
    content = os.urandom(1 << 20)
    sha = hashlib.sha256(content).hexdigest()
    starts = []

    def rest(start: int) -> list[bytes]:
        starts.append(start)
        return [content[start:]]

    with open_board(device) as board:
        half_sent(server, f"{sha}.onnx", content[:700_000])
        request = {"op": "put", "name": f"{sha}.onnx", "sha256": sha, "size": len(content)}
        board._ask(request, rest)
    assert starts == [700_000]
    assert (server.home / f".cache/benchbox/files/{sha}.onnx").read_bytes() == content
    assert not list((server.home / ".cache/benchbox/run").iterdir())


@pytest.mark.parametrize("left", [b"another", bytes(10_000)])
def test_what_is_left_of_another_file_does_not_stay(
    server: Server, device: Device, write_onnx: WriteOnnx, left: bytes
) -> None:
    graph = write_onnx()
    sha = hashlib.sha256(graph.read_bytes()).hexdigest()
    with open_board(device) as board:
        half_sent(server, f"{sha}.onnx", left)
        with contextlib.suppress(CaseError):  # of the same length or shorter: told by its hash
            board.push({"x": graph})
        kept = board.push({"x": graph})["x"]
    there = server.home / ".cache/benchbox/files" / kept
    assert there.read_bytes() == graph.read_bytes()


def test_a_file_that_another_link_is_sending_is_waited_for(
    server: Server, device: Device, write_onnx: WriteOnnx
) -> None:
    graph = write_onnx()
    sha = hashlib.sha256(graph.read_bytes()).hexdigest()
    with open_board(device) as board:
        part = half_sent(server, f"{sha}.onnx", b"")
        with part.open("rb") as held, ThreadPoolExecutor() as pool:
            fcntl.flock(held, fcntl.LOCK_EX)
            pushed = pool.submit(board.push, {"x": graph})
            time.sleep(0.5)
            assert not pushed.done()
            fcntl.flock(held, fcntl.LOCK_UN)
            assert pushed.result(30) == {"x": f"{sha}.onnx"}


def test_what_was_unused_for_longest_makes_room(
    server: Server, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent.change(monkeypatch, "remote_keeper.py", "= 4 << 30", "= 2500")
    files = [tmp_path / f"{letter}.onnx" for letter in "abc"]
    with open_board(device) as board:
        kept = []
        for file in files:
            file.write_bytes(file.name.encode() * 150)
            kept.append(board.push({"x": file})["x"])
            time.sleep(0.02)
    there = {path.name for path in (server.home / ".cache/benchbox/files").iterdir()}
    assert there == set(kept[1:])


def test_clean_empties_the_folder(server: Server, device: Device, write_onnx: WriteOnnx) -> None:
    with open_board(device) as board:
        board.place(str(write_onnx()))
        assert board.clean() > 0
    assert list((server.home / ".cache/benchbox").iterdir()) == []


def test_a_board_that_another_link_has_an_agent_on_is_refused(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_board, "PING_S", 0.2)
    with open_agent(device) as agent:
        board_board._reached.clear()
        with pytest.raises(DeviceError) as caught:
            open_agent(device)
        assert str(caught.value) == (
            "device 'board': another benchbox is timing on it; wait for it to end"
        )
        with open_board(device) as board:
            assert board.is_busy
            with pytest.raises(DeviceError, match="not emptied: another benchbox is timing on it"):
                board.clean()
        assert agent.look(0, 0.1)
    open_agent(device).close()
    with open_board(device) as board:
        assert not board.is_busy


def test_an_agent_that_outlives_its_keeper_keeps_others_away(
    server: Server, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system out of memory may end the keeper alone; what is timed goes on."""
    sent.change(monkeypatch, "remote_keeper.py", "RELEASE_S = SILENCE_S + 5.0", "RELEASE_S = 0.5")
    with open_agent(device) as agent:
        (keeper,) = running(server, "json.loads(open(0")
        os.kill(keeper, signal.SIGKILL)
        board_board._reached.clear()
        assert "another benchbox is timing on it; wait for it to end" in refused(device)
        assert agent.look(0, 0.1)
    assert wait_for(lambda: not agents(server))
    open_agent(device).close()


def test_an_agent_whose_link_is_lost_is_waited_for(
    server: Server, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its keeper knows nothing of that for a while, and its agent is there for as long."""
    sent.change(monkeypatch, "remote_keeper.py", "SILENCE_S = 30.0", "SILENCE_S = 2.0")
    monkeypatch.setattr(board_board, "PING_S", 1000.0)  # as a link that is lost has it
    lost = open_agent(device)
    (before,) = agents(server)
    board_board._reached.clear()
    with open_agent(device) as agent:
        assert agents(server) != [before] and len(agents(server)) == 1
        assert agent.look(0, 0.1)
    lost.close()


def test_the_keeper_leaves_when_nobody_talks_to_it(
    server: Server, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent.change(monkeypatch, "remote_keeper.py", "SILENCE_S = 30.0", "SILENCE_S = 0.5")
    agent = open_agent(device)
    (pid,) = agents(server)
    os.kill(pid, signal.SIGSTOP)
    assert wait_for(lambda: not agents(server))
    agent.close()


def test_pings_keep_it(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_board, "PING_S", 0.1)
    sent.change(monkeypatch, "remote_keeper.py", "SILENCE_S = 30.0", "SILENCE_S = 0.6")
    with open_board(device) as board:
        time.sleep(1.2)
        assert board.push({}) == {}


def test_the_folder_is_for_its_owner_alone(server: Server, device: Device) -> None:
    with open_board(device):
        pass
    assert (server.home / ".cache/benchbox").stat().st_mode & 0o777 == 0o700


def test_a_board_says_what_it_is(device: Device) -> None:
    with open_board(device) as board:
        facts = board.look()
    assert facts["versions"].keys() == {"Python", "onnxruntime", "numpy"}
    assert [cpu for group in facts["clusters"] for cpu in group["cpus"]]


@pytest.mark.parametrize(
    "python", ["$(touch hit)", "`touch hit`", "a'; touch hit; '", "~/x; touch hit"]
)
def test_the_path_of_python_is_never_run_as_a_command(
    server: Server, device: Device, python: str
) -> None:
    refused(Device("board", CPU_PROVIDER, 1, "arm", (), device.url, python))
    assert not (server.home / "hit").exists()


def test_every_word_is_quoted() -> None:
    line = commands.agent("/p y", "/a'b", "/run/$x", {"A": "b c"})
    shell, dash_c, text = shlex.split(line.removeprefix("exec "))
    assert (shell, dash_c) == ("sh", "-c")
    assert "python='/p y'" in text and "'/run/$x'" in text and "A='b c'" in text


@pytest.mark.parametrize("python", ["", "~/a!b/it's", "!!"])
def test_csh_takes_nothing_in_a_command_for_an_old_one_or_for_its_end(python: str) -> None:
    """It knows no newline within quotes, and an event after `!` in any but by a backslash."""
    for line in (commands.program(python), commands.agent(python, "/a!", "/run/!", {})):
        assert "\n" not in line
        assert line.count("!") == line.count("'\\!'") > 0
        text = shlex.split(line)[-1]
        assert subprocess.run(["/bin/sh", "-n", "-c", text], check=False).returncode == 0
        assert shlex.quote(python.removeprefix("~/") or "python3") in text


def test_the_agent_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    one, two = zipapp.build(tmp_path / "1"), zipapp.build(tmp_path / "2")
    assert one.read_bytes() == two.read_bytes()


def test_a_channel_that_is_closed_says_how_it_ended(device: Device) -> None:
    with open_board(device) as board:
        channel = board.link.start(commands.shell("echo first >&2; echo why >&2; exit 7"))
        with pytest.raises(ChannelClosed, match=r"it ended with code 7 \(why\)"):
            channel.receive(10)
        with pytest.raises(ChannelClosed, match="code 7"):
            channel.send({})


def test_a_shell_that_talks_is_told_from_an_agent(device: Device) -> None:
    with open_board(device) as board:
        channel = board.link.start(commands.shell("echo Welcome to your board"))
        with pytest.raises(ChannelClosed, match="something else than JSON lines: b'Welcome"):
            channel.receive(10)


def test_long_lines_come_whole(device: Device) -> None:
    with open_board(device) as board:
        text = json.dumps("x" * 3_000_000)
        code = f"{shlex.quote(PYTHON)} -c 'import json; print(json.dumps(dict(a=\"x\" * 3000000)))'"
        assert json.dumps(board.link.start(commands.shell(code)).receive(20)["a"]) == text


def test_no_thread_is_left(device: Device) -> None:
    def ours() -> list[str]:
        names = [thread.name for thread in threading.enumerate()]
        return [name for name in names if not name.startswith("asyncio-waitpid")]  # the server's

    before = ours()
    for _ in range(2):
        with open_board(device):
            pass
    assert ours() == before


VENV = """if [ "$2" = venv ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; else {rest}; fi"""
# What Debian's Python says where its package python3-venv is missing.
NO_ENSUREPIP = """\
The virtual environment was not created successfully because ensurepip is not
available.  On Debian/Ubuntu systems, you need to install the python3-venv
package using the following command.

    apt install python3.11-venv

Failing command: /home/me/.cache/benchbox/venv/bin/python
"""


def install(device: Device) -> None:
    with open_board(device) as board:
        board.install()


def environments(server: Server) -> list[Path]:
    return list((server.home / ".cache/benchbox").glob("venv*"))


def test_install_makes_an_environment_of_its_own(server: Server, device: Device) -> None:
    python = python_of(
        server,
        device,
        VENV.format(
            rest=f'[ "$1" = -m ] || exec {PYTHON} "$@"; echo "$@" >> "$HOME/asked"; '
            'case "$*" in *==*) echo ERROR: No matching distribution found; exit 1; esac'
        ),
    )
    install(python)
    asked = [line.split() for line in (server.home / "asked").read_text().splitlines()]
    (server.home / "asked").unlink()
    assert [line[:3] for line in asked] == [["-m", "pip", "install"]] * 2
    same, any_other = (line[-2:] for line in asked)
    assert same == ["numpy", f"onnxruntime=={metadata.version('onnxruntime')}"]
    assert any_other == ["numpy", "onnxruntime"]  # where the board can have no such version
    install(python)  # in place of the one before
    (made,) = environments(server)
    (server.home / "python here").write_text("#!/bin/sh\nexit 1\n")
    with open_board(python) as board:  # it is used in place of what it was made from
        assert board.look()["versions"]["onnxruntime"]
    (made / commands.COMPLETE).unlink()
    with pytest.raises(DeviceError, match="does not start there"):
        open_board(python)


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("echo ERROR: No matching distribution found; exit 1", "ERROR: No matching distribution"),
        (f'[ "$1" = -m ] || exec {PYTHON} -S "$@"', "No module named 'numpy'"),
        ("exit 7", "it ended with code 7"),
    ],
)
def test_an_environment_that_is_half_made_is_removed(
    server: Server, device: Device, rest: str, said: str
) -> None:
    """Its pip fails, or what that has installed cannot be imported."""
    base = python_of(server, device, VENV.format(rest=rest)).python
    base = base.removeprefix("~/")
    there = server.home / base
    # The one that makes it starts the keeper; the one made is all that fails.
    there.write_text(
        '#!/bin/sh\ncase "$0" in *venv*) ;; *) '
        f'[ "$2" = venv ] || exec {PYTHON} "$@" ;; esac\n' + there.read_text()
    )
    broken = Device("board", CPU_PROVIDER, 1, "arm", (), device.url, f"~/{base}")
    with pytest.raises(DeviceError) as caught:
        install(broken)
    assert "nothing installed: " in str(caught.value) and said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert environments(server) == []
    with open_agent(broken) as agent:
        assert agent.hello["versions"]


def test_a_python_without_ensurepip_is_told_what_to_install_and_stays_usable(
    server: Server, device: Device
) -> None:
    """Debian's says so on stdout, and has made a part of the environment by then."""
    bare = python_of(
        server,
        device,
        f'if [ "$2" = venv ]; then mkdir -p "$3/bin"; ln -s {PYTHON} "$3/bin/python"; '
        f"cat <<'EOF'\n{NO_ENSUREPIP}EOF\nexit 1; fi; exec {PYTHON} \"$@\"",
    )
    with pytest.raises(DeviceError) as caught:
        install(bare)
    assert str(caught.value) == (
        "device 'board': nothing installed: its Python has no ensurepip; there: sudo apt install "
        "python3.11-venv, then run this again"
    )
    assert environments(server) == []
    with open_agent(bare) as agent:
        assert agent.hello["versions"]


def test_what_pip_says_twice_is_told_once_and_no_version_is_blamed_for_it(
    server: Server, device: Device
) -> None:
    full = python_of(
        server,
        device,
        VENV.format(
            rest=f'[ "$1" = -m ] || exec {PYTHON} "$@"; echo "$@" >> "$HOME/asked"; '
            'for n in 1 2; do echo "ERROR: Could not install" >&2; done; exit 1'
        ),
    )
    with pytest.raises(DeviceError) as caught:
        install(full)
    assert str(caught.value) == ("device 'board': nothing installed: ERROR: Could not install")
    assert len((server.home / "asked").read_text().splitlines()) == 1
    said = commands.why_not_installed("OSError(28, 'No space left on device')\n  at line 7")
    assert said.startswith("no space left there: ")


@pytest.fixture
def slow_pip(server: Server, device: Device) -> Device:
    """A device whose pip says something, and takes a minute as long as there is a file `slow`."""
    (server.home / "slow").touch()
    return python_of(
        server,
        device,
        VENV.format(
            rest=f'[ "$1" = -m ] || exec {PYTHON} "$@"; echo "Collecting numpy"; '
            'if [ -f "$HOME/slow" ]; then sleep 60; fi'
        ),
    )


def begin(pool: ThreadPoolExecutor, board: Any) -> "Future[None]":
    """Begin an installation, and return once its pip runs."""
    told: list[str] = []
    future = pool.submit(board.install, lambda _, said: told.append(said))
    assert wait_for(lambda: "Collecting numpy" in told), told
    return future


@pytest.mark.parametrize("ending", ["closed", "cut"])
def test_an_installation_ends_with_its_link_and_the_next_one_begins_at_once(
    server: Server, slow_pip: Device, ending: str
) -> None:
    with ThreadPoolExecutor() as pool:
        with open_board(slow_pip) as board:
            future = begin(pool, board)
            assert running(server, "-m pip ")
            if ending == "cut":
                server.cut()
        with pytest.raises(DeviceError, match="nothing installed: "):
            future.result(10)
        (server.home / "slow").unlink()
        install(slow_pip)
    assert not running(server, "-m pip ")
    (made,) = environments(server)
    assert (made / commands.COMPLETE).exists()


def test_a_second_installation_leaves_the_first_one_alone(
    server: Server, slow_pip: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent.change(monkeypatch, "remote_installer.py", "ENDING_S = 15.0", "ENDING_S = 0.2")
    with ThreadPoolExecutor() as pool, open_board(slow_pip) as first:
        begin(pool, first)
        with pytest.raises(DeviceError, match="nothing installed: another benchbox installs there"):
            install(slow_pip)
        with pytest.raises(DeviceError, match="not emptied: on the device: another benchbox inst"):
            first.clean()
        assert running(server, "-m pip ")
        assert len(environments(server)) == 1


def test_an_installation_that_nobody_asks_after_ends(
    server: Server, slow_pip: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that is lost may look open to the board for hours."""
    sent.change(monkeypatch, "remote_installer.py", "SILENCE_S = 30.0", "SILENCE_S = 1.0")
    with ThreadPoolExecutor() as pool, open_board(slow_pip) as board:
        future = begin(pool, board)
        with pytest.raises(DeviceError, match="nothing installed: "):
            future.result(15)
    assert wait_for(lambda: not running(server, "-m pip "))
    assert wait_for(lambda: environments(server) == [])
