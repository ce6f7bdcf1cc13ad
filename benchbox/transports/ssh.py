"""An agent on a board that is reached by SSH: what it needs is pushed once, then it is started."""

import asyncio
import hashlib
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from benchbox import registry, seen
from benchbox.devices import Device
from benchbox.errors import AgentError, CaseError, DeviceError
from benchbox.transports import commands, zipapp
from benchbox.transports.channel import ChannelClosed, Timeout
from benchbox.transports.files import beside, chunks, digest
from benchbox.transports.link import Link, RemoteChannel
from benchbox.transports.local import SINGLE_THREADED

REPLY_S = 60.0
STALLED_S = 30.0  # that nothing of a file is taken, before the link counts as lost
PING_S = 5.0  # often enough for the keeper, seldom enough for what is timed
GRACE_S = 2.0
INSTALL_S = 900.0

_reached: set[str] = set()


class Board:
    """A connection to a board with a keeper on it."""

    def __init__(self, device: Device) -> None:
        """Connect; raises DeviceError when that cannot be."""
        self.device = device
        self._busy = False
        self.link = Link(registry.address(device.url), device.name, again=device.url in _reached)
        try:
            self._keeper = self.link.start(commands.program(device.python))
            self._keeper.write(commands.script("keeper.py"))
            self.facts = self._ask({"op": "hello"})
            self._check_python()
            self.link.call_soon(self._start_pings)
        except (ChannelClosed, CaseError) as error:
            self.link.close()
            raise DeviceError(self._no_python(error)) from None
        except BaseException:
            self.link.close()
            raise
        _reached.add(device.url)
        seen.note(device.name)

    def _no_python(self, error: Exception) -> str:
        name, python = self.device.name, self.device.python or "python3"
        if self._keeper.exit_status in (126, 127):
            return (
                f"device {name!r}: no {python} there; install Python 3.11 or newer, "
                "or name one with: benchbox device add --python"
            )
        return f"device {name!r}: {python} does not start there: {error}"

    def _check_python(self) -> None:
        version = tuple(self.facts["python"])
        if version[:2] < commands.FLOOR:
            raise DeviceError(
                f"device {self.device.name!r}: its Python is {'.'.join(map(str, version))}, the "
                f"agent needs {'.'.join(map(str, commands.FLOOR))} or newer; install one there, "
                "then: benchbox device add --python PATH"
            )

    def _start_pings(self) -> None:
        self._pings = asyncio.get_running_loop().create_task(self._ping())

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_S)
            if not self._busy:  # a file's bytes must not be cut by a line
                self._keeper.post({"op": "ping"})

    def require_runtime(self) -> None:
        """Raise DeviceError unless the board has what the agent needs."""
        lacks = self.facts["lacks"]
        if lacks:
            raise DeviceError(
                f"device {self.device.name!r}: its Python has no {' and no '.join(lacks)}; "
                f"benchbox device check {self.device.name} --install"
            )

    def _ask(self, request: Mapping[str, object], data: Iterable[bytes] = ()) -> dict[str, Any]:
        """Return the keeper's reply; raises CaseError for what it cannot do, ChannelClosed."""
        self._busy = True
        try:
            self._keeper.send(request)
            for chunk in data:
                self._keeper.write(chunk)
                self._keeper.drain(STALLED_S)
            reply = self._keeper.receive(REPLY_S)
        except Timeout:
            raise ChannelClosed(f"it gave no answer for {REPLY_S:.0f} s") from None
        finally:
            self._busy = False
        if "error" in reply:
            raise CaseError(f"on the device: {reply['error']}")
        return reply

    def push(self, files: Mapping[str, Path]) -> dict[str, str]:
        """Have files on the board, by any name; return the name that each is kept under there.

        Raises CaseError when the board has no room, ChannelClosed when the link is lost.
        """
        digests = {name: digest(path) for name, path in files.items()}
        kept = {name: digests[name] + path.suffix for name, path in files.items()}
        there = self._ask({"op": "have", "files": list(kept.values())})["files"]
        for name, path in files.items():
            if kept[name] in there:
                continue
            request = {"op": "put", "name": kept[name], "sha256": digests[name]}
            with path.open("rb") as file:
                size = path.stat().st_size
                self._ask({**request, "size": size}, chunks(file, size))
        return kept

    def place(self, path: str) -> str:
        """Return the path on the board of a graph here, which is pushed if it is not there yet.

        Raises CaseError when that cannot be, AgentError when the link is lost.
        """
        graph = Path(path)
        files = {name: graph.parent / name for name in [graph.name, *beside(graph)]}
        try:
            kept = self.push(files)
            if len(files) == 1:
                return f"{self.facts['folder']}/files/{kept[graph.name]}"
            name = hashlib.sha256(repr(sorted(kept.items())).encode()).hexdigest()
            reply = self._ask({"op": "gather", "name": name, "files": kept})
        except ChannelClosed as closed:
            raise AgentError(f"the agent is gone: {closed}") from None
        except OSError as error:
            raise CaseError(f"{graph.name}: cannot be read: {error.strerror}") from None
        return f"{reply['folder']}/{graph.name}"

    def agent(self) -> RemoteChannel:
        """Start an agent; raises ChannelClosed when the link is lost, CaseError without room."""
        with tempfile.TemporaryDirectory() as folder:
            kept = self.push({"agent": zipapp.build(Path(folder) / "agent.pyz")})
        run = f"agent-{secrets.token_hex(8)}"
        self._keeper.send({"op": "watch", "name": run})
        here = self.facts["folder"]
        return self.link.start(
            commands.agent(
                self.facts["program"],
                f"{here}/files/{kept['agent']}",
                f"{here}/run/{run}",
                SINGLE_THREADED,
            )
        )

    def clean(self) -> int:
        """Empty the cache folder on the board; return how many bytes that were."""
        return int(self._ask({"op": "clean"})["bytes"])

    def look(self) -> dict[str, Any]:
        """Return how the board is set up and how it feels, as benchbox.transports.board says."""
        channel = self.link.start(commands.program(self.device.python))
        try:
            channel.write(commands.script("board.py"))
            return channel.receive(REPLY_S)
        except (ChannelClosed, Timeout) as error:
            raise DeviceError(
                f"device {self.device.name!r}: says nothing of itself: {error}"
            ) from None

    def close(self) -> None:
        """End the connection, and with it the keeper."""
        self.link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SshChannel:
    """The channel to an agent on a board, and the connection that it needs."""

    def __init__(self, board: Board) -> None:
        """Start an agent on a board, whose connection it closes in the end.

        Raises DeviceError when none can be started.
        """
        self._board = board
        try:
            board.require_runtime()
            self._agent = board.agent()
        except (ChannelClosed, CaseError) as error:
            board.close()
            raise DeviceError(
                f"device {board.device.name!r}: no agent starts there: {error}"
            ) from None
        except BaseException:
            board.close()
            raise
        self.place = board.place

    def send(self, message: Mapping[str, object]) -> None:
        """Send one message; raises ChannelClosed when the agent is gone."""
        self._agent.send(message)

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """Return the next message; raises Timeout, or ChannelClosed when the agent is gone."""
        return self._agent.receive(timeout_s)

    def close(self) -> None:
        """End the agent, by force where it does not end by itself, and the connection."""
        self._agent.close()
        self._agent.wait(GRACE_S)
        self._board.close()  # the keeper sees to an agent that is still there


def open_ssh(device: Device) -> SshChannel:
    """Start an agent on a board; raises DeviceError when that cannot be."""
    return SshChannel(Board(device))


def install(device: Device) -> None:
    """Make an environment with ONNX Runtime on a board; raises DeviceError when that fails."""
    link = Link(registry.address(device.url), device.name)
    try:
        channel = link.start(commands.install(device.python))
        if channel.wait(INSTALL_S) != 0:
            raise ChannelClosed(channel.epitaph())
    except ChannelClosed as closed:
        raise DeviceError(f"device {device.name!r}: nothing installed: {closed}") from None
    finally:
        link.close()
