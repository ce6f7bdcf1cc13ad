"""A device with a Python, reached by ssh or adb: files are pushed once, and agents start there."""

import hashlib
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Self

from benchbox import devices
from benchbox.agent.gpu import libraries
from benchbox.devices import Device, last_seen
from benchbox.errors import CaseError, DeviceError
from benchbox.transports import replies
from benchbox.transports.board import commands, zipapp
from benchbox.transports.channel import ChannelClosed, Noise, Timeout
from benchbox.transports.files import Progress, chunks, digest, ignore, path_of, reported
from benchbox.transports.link import Link, RemoteChannel
from benchbox.transports.local import SINGLE_THREADED

REPLY_S = 60.0
PING_S = 5.0  # often enough for the keeper, seldom enough for what is timed
BUSY = "another benchbox is timing on it"
NARROW = (
    "its Python is 32-bit, and ONNX Runtime has 64-bit wheels only; use a 64-bit system there, as "
    "the 64-bit Raspberry Pi OS"
)

_reached: set[str] = set()


def was_reached(device: Device) -> bool:
    """Whether this is the middle of a run: records keep the reason of a failure from here on."""
    return device.url in _reached


def lacking(lacks: Sequence[str], bits: int | None, cure: str) -> str:
    """The packages that a device's Python of 32 or 64 `bits` lacks, and what helps."""
    if bits == 32:
        return NARROW
    return f"its Python has no {' and no '.join(lacks)}; {cure}"


class Target:
    """A reached device with a keeper on it."""

    def __init__(
        self,
        device: Device,
        link: Link,
        no_python: str,
        progress: Progress = ignore,
        sent_python: str = "",
    ) -> None:
        """Start the keeper over a link, which is closed with the target.

        `no_python` is the advice where there is none, with {} for the command that names one;
        `progress` is called with what is pushed; `sent_python` is the path of a Python that was
        sent there for want of another. Raises DeviceError when none starts.
        """
        self.device = device
        self._progress = progress
        self.link = link
        self._advice = no_python
        self.python = sent_python or device.python
        self.brings_python = bool(sent_python)
        self.installer: RemoteChannel | None = None  # which gets pings, too
        self._turn = threading.Lock()  # a file's bytes must not be cut by a line
        try:
            self._keeper = self._started()
            self._keeper.write(commands.script("remote_keeper.py"))
            self.facts = self.ask({"op": "hello"})
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

    def start(self, script: str) -> RemoteChannel:
        """Start a program of this package by the Python there."""
        program = self._started()
        program.write(commands.script(script))
        return program

    def _started(self) -> RemoteChannel:
        return self.link.start(commands.program(self.python, gpu=bool(self.device.gpu)))

    def _no_python(self, error: Exception) -> str:
        name, python = self.device.name, self.device.python or "python3"
        if self._keeper.exit_status in (126, 127):
            return f"device {name!r}: no {python} there; {self._advice.format(self._naming())}"
        unread = self._keeper.output().partition(b"\n")[0]  # of one that took nothing
        noise = error if isinstance(error, Noise) else Noise(unread) if unread else None
        if noise:
            return (
                f"device {name!r}: its login shell prints {noise.said!r} before any program does; "
                "silence its ~/.bashrc or ~/.profile, or give the user a shell that runs commands"
            )
        advice = "" if self._keeper.exit_status is None else "; log in and try it"
        return f"device {name!r}: {python} does not start there: {error}{advice}"

    def _naming(self) -> str:
        """The command that names another Python; a record of a run's middle has no address."""
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
        """Tell the programs there, until the end, that this end of the link is alive."""
        while not self._closing.wait(PING_S):
            if self._turn.acquire(blocking=False):
                try:
                    self._keeper.post({"op": "ping"})
                finally:
                    self._turn.release()
            if self.installer is not None:
                self.installer.post({"op": "ping"})

    @property
    def is_busy(self) -> bool:
        """Whether another benchbox was timing there when this one came."""
        return self.facts.get("timing") is True

    def require_runtime(self) -> None:
        """Raise DeviceError unless the device has what the agent needs."""
        if self.lacks:
            # In the middle of a run a record keeps the reason, which has no address in it.
            name = self.device.name if self._was_reached else self.device.command_name
            cure = f"benchbox device check {name} --install"
            if self.device.gpu and self.facts.get("jetson"):
                cure = f"{libraries.JETPACK}, then: {self._naming()}"
            reason = lacking(self.lacks, self.facts.get("bits"), cure)
            raise DeviceError(f"device {self.device.name!r}: {reason}")

    def ask(
        self, request: Mapping[str, Any], data: Callable[[int], Iterable[bytes]] | None = None
    ) -> dict[str, Any]:
        """Send the keeper a request and return its reply; raises CaseError, ChannelClosed.

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
        """Push files, under any names, that are not there yet; return the names they have there.

        A file that a lost link left incomplete is completed.
        Raises CaseError when the device has no room, ChannelClosed when the link is lost.
        """
        digests = {name: digest(path) for name, path in files.items()}
        kept = {name: digests[name] + path.suffix for name, path in files.items()}
        there = replies.texts(self.ask({"op": "have", "files": list(kept.values())}), "files")
        for name, path in files.items():
            if kept[name] in there:
                continue
            request = {"op": "put", "name": kept[name], "sha256": digests[name]}
            size = path.stat().st_size
            with path.open("rb") as file:
                self.ask({**request, "size": size}, partial(self._rest, file, name, size))
        return kept

    def _rest(self, file: BinaryIO, name: str, size: int, start: int) -> Iterator[bytes]:
        return reported(size, start, chunks(file, size, start), partial(self._progress, name))

    def gather(self, files: Mapping[str, Path]) -> str:
        """Push files into one folder under their own names; return the path of the folder."""
        kept = self.push(files)
        name = hashlib.sha256(repr(sorted(kept.items())).encode()).hexdigest()
        return replies.path(self.ask({"op": "gather", "name": name, "files": kept}), "folder")

    def path_of(self, graph: str) -> str:
        """The path there of a graph here, which is pushed if it is not there yet.

        Raises CaseError when it cannot be pushed, AgentError when the link is lost.
        """
        return path_of(Path(graph), f"{self.folder}/files", self.push, self.gather)

    def start_agent(self) -> RemoteChannel:
        """Start an agent.

        Raises ChannelClosed when the link is lost, CaseError without room, DeviceError while
        another benchbox has one.
        """
        program = self._agent_file()
        run = f"agent-{secrets.token_hex(8)}"
        again = self._was_reached
        if self.ask({"op": "watch", "name": run, "again": again}).get("busy"):
            raise DeviceError(f"device {self.device.name!r}: {BUSY}; wait for it to end")
        pid_file = f"{self.folder}/run/{run}"
        command = commands.agent(
            self.python, program, pid_file, SINGLE_THREADED, gpu=bool(self.device.gpu)
        )
        return self.link.start(command)

    def _agent_file(self) -> str:
        """Push the agent's program if it is not there yet; return its path there."""
        with tempfile.TemporaryDirectory() as folder:
            kept = self.push({"agent": zipapp.build(Path(folder) / "agent.pyz")})
        return f"{self.folder}/files/{kept['agent']}"

    def close(self) -> None:
        """End the keeper, and with it all that runs there."""
        self._closing.set()
        self._pinging.join()
        self.link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TargetChannel:
    """The channel to an agent on a target, which it closes in the end."""

    def __init__(self, target: Target) -> None:
        """Start an agent; raises DeviceError, and closes the target, when none can be started."""
        self._target = target
        try:
            target.require_runtime()
            self._agent = target.start_agent()
        except (ChannelClosed, CaseError) as error:
            target.close()
            raise DeviceError(
                f"device {target.device.name!r}: no agent starts there: {error}"
            ) from None
        except BaseException:
            target.close()
            raise

    def send(self, message: Mapping[str, object]) -> None:
        """Send one message; raises ChannelClosed when the agent is gone."""
        self._agent.send(message)

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """Return the next message; raises Timeout, or ChannelClosed when the agent is gone."""
        return self._agent.receive(timeout_s)

    def close(self) -> None:
        """End the agent, by force where it does not end by itself, and close the target."""
        self._agent.close()
        self._target.close()  # the keeper sees to an agent that is still there
