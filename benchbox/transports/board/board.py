"""An agent on a board, however that is reached: what it needs is pushed once, and it starts."""

import hashlib
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Self

from benchbox import devices, host
from benchbox.devices import Device, last_seen
from benchbox.errors import CaseError, DeviceError
from benchbox.transports import replies, reply_schema
from benchbox.transports.board import commands, zipapp
from benchbox.transports.channel import ChannelClosed, Noise, Timeout
from benchbox.transports.files import chunks, digest, placed, told
from benchbox.transports.local import SINGLE_THREADED
from benchbox.transports.protocols import (
    BUSY,
    NARROW,
    Sending,
    Telling,
    lacking,
    silent,
    untold,
)
from benchbox.transports.remote import Link, RemoteChannel

REPLY_S = 60.0
PING_S = 5.0  # often enough for the keeper, seldom enough for what is timed
INSTALL_S = 900.0
TICK_S = 1.0  # of the clock of what takes a while

LOOK = {"main": "benchbox.agent.__main__", "arguments": ["--facts"]}

_reached: set[str] = set()


def was_reached(device: Device) -> bool:
    """Return whether this is the middle of a run: records keep what goes wrong from here on."""
    return device.url in _reached


class Board:
    """A connection to a board with a keeper on it."""

    def __init__(
        self,
        device: Device,
        link: Link,
        no_python: str,
        sending: Sending = silent,
        sent_python: str = "",
    ) -> None:
        """Start the keeper over a link, which ends with the board.

        `no_python` says what to do where there is none, with {} for how one is named; `sending`
        hears of what is pushed; `sent_python` is the path of one that was sent there for want of
        another. Raises DeviceError when none starts.
        """
        self.device = device
        self._sending = sending
        self.link = link
        self._advice = no_python
        self._python = sent_python or device.python
        self.brings_python = bool(sent_python)
        self._installer: RemoteChannel | None = None
        self._turn = threading.Lock()  # a file's bytes must not be cut by a line
        try:
            self._keeper = self.link.start(commands.program(self._python))
            self._keeper.write(commands.script("remote_keeper.py"))
            self.facts = self._ask({"op": "hello"})
            self._check_python()
            self.folder = replies.path(self.facts, "folder")
            self.lacks: Sequence[str] = replies.texts(self.facts, "lacks")
        except (ChannelClosed, CaseError) as error:
            self.link.close()
            raise DeviceError(self._no_python(error)) from None
        except BaseException:
            self.link.close()
            raise
        self._closing = threading.Event()
        self._pinging = threading.Thread(target=self._ping, name="ping", daemon=True)
        self._pinging.start()
        self._was_reached = was_reached(device)
        _reached.add(device.url)
        last_seen.note(device.url)

    def _no_python(self, error: Exception) -> str:
        name, python = self.device.name, self.device.python or "python3"
        if self._keeper.exit_status in (126, 127):
            return f"device {name!r}: no {python} there; {self._advice.format(self._naming())}"
        if isinstance(error, Noise):
            return (
                f"device {name!r}: its login shell prints {error.said!r} before any program does; "
                "silence its ~/.bashrc or ~/.profile, or give the user a shell that runs commands"
            )
        advice = "" if self._keeper.exit_status is None else "; log in and try it"
        return f"device {name!r}: {python} does not start there: {error}{advice}"

    def _naming(self) -> str:
        """Return how its user names another Python; a record of a run's middle has no address."""
        return devices.naming_python(self.device, addressed=not was_reached(self.device))

    def _check_python(self) -> None:
        version = replies.numbers(self.facts, "python")
        if version[:2] < commands.FLOOR:
            raise DeviceError(
                f"device {self.device.name!r}: its Python is {'.'.join(map(str, version))}, the "
                f"agent needs {'.'.join(map(str, commands.FLOOR))} or newer; install one there, "
                f"then: {self._naming()}"
            )

    def _ping(self) -> None:
        """Let the programs there know, until the end, that this end of the link is alive."""
        while not self._closing.wait(PING_S):
            if self._turn.acquire(blocking=False):
                try:
                    self._keeper.post({"op": "ping"})
                finally:
                    self._turn.release()
            if self._installer is not None:
                self._installer.post({"op": "ping"})

    @property
    def is_busy(self) -> bool:
        """Whether another benchbox was timing there when this one came."""
        return self.facts.get("timing") is True

    def require_runtime(self) -> None:
        """Raise DeviceError unless the board has what the agent needs."""
        if self.lacks:
            # In the middle of a run a record keeps it, which tells no address.
            name = self.device.name if self._was_reached else self.device.command_name
            raise DeviceError(
                f"device {self.device.name!r}: {lacking(self.lacks, self.facts.get('bits'), name)}"
            )

    def _ask(
        self,
        request: Mapping[str, Any],
        data: Callable[[int], Iterable[bytes]] | None = None,
    ) -> dict[str, Any]:
        """Return the keeper's reply; raises CaseError for what it cannot do, ChannelClosed.

        The bytes of `data` follow the request, from the place on that the keeper asks for.
        """
        with self._turn:
            self._keeper.send(request)
            if data is not None:
                for chunk in data(replies.up_to(self._reply(), "from", request["size"])):
                    self._keeper.write(chunk)
            return self._reply()

    def _reply(self) -> dict[str, Any]:
        try:
            reply = self._keeper.receive(REPLY_S)
        except Timeout:
            raise ChannelClosed(f"it gave no answer for {REPLY_S:.0f} s") from None
        if "error" in reply:
            raise CaseError(f"on the device: {replies.line(reply['error'])}")
        return reply

    def push(self, files: Mapping[str, Path]) -> dict[str, str]:
        """Have files on the board, by any name; return the name that each is kept under there.

        What a lost link left half sent is not sent again.
        Raises CaseError when the board has no room, ChannelClosed when the link is lost.
        """
        digests = {name: digest(path) for name, path in files.items()}
        kept = {name: digests[name] + path.suffix for name, path in files.items()}
        there = replies.texts(self._ask({"op": "have", "files": list(kept.values())}), "files")
        for name, path in files.items():
            if kept[name] in there:
                continue
            request = {"op": "put", "name": kept[name], "sha256": digests[name]}
            size = path.stat().st_size
            with path.open("rb") as file:
                self._ask({**request, "size": size}, partial(self._rest, file, name, size))
        return kept

    def _rest(self, file: BinaryIO, name: str, size: int, start: int) -> Iterator[bytes]:
        return told(size, start, chunks(file, size, start), partial(self._sending, name))

    def gather(self, files: Mapping[str, Path]) -> str:
        """Return a folder there that has files under their own names, pushed if need be."""
        kept = self.push(files)
        name = hashlib.sha256(repr(sorted(kept.items())).encode()).hexdigest()
        return replies.path(self._ask({"op": "gather", "name": name, "files": kept}), "folder")

    def place(self, path: str) -> str:
        """Return the path on the board of a graph here, which is pushed if it is not there yet.

        Raises CaseError when that cannot be, AgentError when the link is lost.
        """
        return placed(Path(path), f"{self.folder}/files", self.push, self.gather)

    def agent(self) -> RemoteChannel:
        """Start an agent.

        Raises ChannelClosed when the link is lost, CaseError without room, DeviceError while
        another benchbox has one.
        """
        program = self._agent_file()
        run = f"agent-{secrets.token_hex(8)}"
        again = self._was_reached
        if self._ask({"op": "watch", "name": run, "again": again}).get("busy"):
            raise DeviceError(f"device {self.device.name!r}: {BUSY}; wait for it to end")
        pid_file = f"{self.folder}/run/{run}"
        return self.link.start(commands.agent(self._python, program, pid_file, SINGLE_THREADED))

    def _agent_file(self) -> str:
        """Return the path on the board of the agent's program, which is pushed where it is not."""
        with tempfile.TemporaryDirectory() as folder:
            kept = self.push({"agent": zipapp.build(Path(folder) / "agent.pyz")})
        return f"{self.folder}/files/{kept['agent']}"

    def clean(self) -> int:
        """Empty the cache folder on the board; return how many bytes; raises DeviceError."""
        try:
            reply = self._ask({"op": "clean"})
            if reply.get("busy"):
                raise DeviceError(f"device {self.device.name!r}: not emptied: {BUSY}")
            return replies.field(reply, "bytes", int)
        except (ChannelClosed, CaseError) as error:
            raise DeviceError(f"device {self.device.name!r}: not emptied: {error}") from None

    def install(self, telling: Telling = untold) -> None:
        """Make an environment with what the agent needs; raises DeviceError, and leaves none then.

        It is used from the next connection on, and ends with this one where it is not complete.
        """
        try:
            if self.is_busy:  # whose figures it would spoil
                raise CaseError(f"{BUSY}; wait for it to end")
            if self.facts.get("bits") == 32:
                raise CaseError(NARROW)
            self._install(telling)
        except (ChannelClosed, CaseError) as error:
            raise DeviceError(f"device {self.device.name!r}: nothing installed: {error}") from None

    def broken(self) -> str:
        """Return why what an agent needs is there and cannot be imported; raises DeviceError."""
        try:
            return replies.line(replies.field(self._ask({"op": "try"}), "broken", str))
        except (ChannelClosed, CaseError) as error:
            raise DeviceError(f"device {self.device.name!r}: {error}") from None

    def _install(self, telling: Telling) -> None:
        python = self._python
        installer = self.link.start(commands.program(python))
        installer.write(commands.script("remote_installer.py"))
        installer.send(commands.installation(python, self.folder, host.onnxruntime_version()))
        self._installer = installer  # from now on it gets pings
        started, said = time.monotonic(), ""
        while (taken := time.monotonic() - started) < INSTALL_S:
            telling(taken, said)
            try:
                reply = installer.receive(TICK_S)
            except Timeout:
                continue
            if "said" not in reply:
                return _check_installed(reply)
            said = replies.line(reply["said"])
        raise CaseError(f"it took longer than {INSTALL_S / 60:.0f} minutes; {said}")

    def look(self) -> dict[str, Any]:
        """Return how the board is set up and how it feels, as benchbox.agent.host.facts says."""
        try:
            looker = self.link.start(commands.program(self._python))
            looker.write(commands.script("remote_facts.py"))
            looker.send({"sources": zipapp.modules(), "folder": self.folder, **LOOK})
            told = looker.receive(REPLY_S)
            replies.check(reply_schema.Facts, told)
            return told
        except (ChannelClosed, CaseError, Timeout) as error:
            said = f"says nothing of itself: {error}"
            raise DeviceError(f"device {self.device.name!r}: {said}") from None

    def close(self) -> None:
        """End the keeper, and with it what runs there."""
        self._closing.set()
        self._pinging.join()
        self.link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_installed(reply: Mapping[str, Any]) -> None:
    """Raise CaseError for the last answer of remote_installer.py that tells of no success."""
    if reply.get("busy"):
        raise CaseError("another benchbox installs there; wait for it to end")
    if "error" in reply:
        raise CaseError(commands.why_not_installed(str(reply["error"])))


class BoardChannel:
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

    def place(self, path: str) -> str:
        """Return the path on the board of a graph here; raises CaseError, AgentError."""
        return self._board.place(path)

    def send(self, message: Mapping[str, object]) -> None:
        """Send one message; raises ChannelClosed when the agent is gone."""
        self._agent.send(message)

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """Return the next message; raises Timeout, or ChannelClosed when the agent is gone."""
        return self._agent.receive(timeout_s)

    def close(self) -> None:
        """End the agent, by force where it does not end by itself, and the connection."""
        self._agent.close()
        self._board.close()  # the keeper sees to an agent that is still there
