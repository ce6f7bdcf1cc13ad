"""One SSH connection, driven by a thread of its own, for callers that wait."""

import asyncio
import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

import asyncssh

from benchbox.devices.address import Address
from benchbox.transports.channel import STDERR_TAIL, ChannelClosed, JsonLines, Timeout, encode
from benchbox.transports.protocols import how_ended
from benchbox.transports.ssh import config, errors

KEEPALIVE_S = 1
LOST_S = 4  # that nothing arrives of what is sent, before the link counts as lost
# Answers wait behind a file that is pushed, so where the system itself sees to LOST_S (Linux), a
# link may be slow: that many unanswered in a row tell of a board that hangs.
MISSES = 60 if hasattr(socket, "TCP_USER_TIMEOUT") else LOST_S - 1
CONNECT_S = 15.0
CLOSE_S = 3.0
WAITING = 256  # chunks that nobody has received, before no more are taken
PAUSE_S = 0.05
END_S = 2.0  # how long the exit status may come after the end of the output

T = TypeVar("T")


class _Client(asyncssh.SSHClient):
    """Remembers why a connection ended."""

    def __init__(self) -> None:
        self.lost: Exception | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = exc


class Link:
    """A connection to a device. Raises DeviceError, in one line, when there can be none."""

    def __init__(self, where: Address, name: str, *, again: bool = False) -> None:
        """Connect; `again`, in the middle of a run, an error names no host: records keep it."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ssh", daemon=True)
        self._thread.start()
        self._connection: asyncssh.SSHClientConnection | None = None
        try:
            self._connection, self._client = self.wait(self._connect(where), CONNECT_S + 5)
        except BaseException as error:
            self.close()
            if isinstance(error, (OSError, asyncssh.Error, TimeoutError, ValueError)):
                raise errors.explain(error, where, name, again=again) from None
            raise

    async def _connect(self, where: Address) -> tuple[asyncssh.SSHClientConnection, _Client]:
        try:
            return await self._connect_once(where)
        except (asyncssh.ConnectionLost, ConnectionResetError):
            # A host with too many callers hangs up, and one can hang up before it is read why.
            return await self._connect_once(where)

    @staticmethod
    async def _connect_once(where: Address) -> tuple[asyncssh.SSHClientConnection, _Client]:
        resolved = config.resolve(where)
        # A key is asked for whatever the configuration says; b"" is no known host at all.
        more: dict[str, Any] = {"known_hosts": list(resolved.known_hosts) or b""}
        if resolved.identities is not None:
            more |= {"client_keys": list(resolved.identities), "ignore_encrypted": True}
        if where.user is not None:
            more["username"] = where.user
        if where.port is not None:
            more["port"] = where.port
        connection, client = await asyncssh.create_connection(
            _Client,
            where.host,
            keepalive_interval=KEEPALIVE_S,
            keepalive_count_max=MISSES,
            connect_timeout=CONNECT_S,
            login_timeout=CONNECT_S,
            agent_forwarding=False,
            # Nobody is asked for anything: a question in the middle of a run is a hang.
            preferred_auth=("gssapi-with-mic", "hostbased", "publickey"),
            **more,
        )
        assert isinstance(client, _Client)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            raw = connection.get_extra_info("socket")
            if raw is None:  # a ProxyCommand has none
                return connection, client
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LOST_S * 1000)
        return connection, client

    def wait(self, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """Return what `work` does in the connection's thread; raises OSError when it is closed."""
        if self._loop.is_closed():
            work.close()
            raise ConnectionError("closed")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def call_soon(self, call: Any, *arguments: object) -> None:  # noqa: ANN401
        """Have the connection's thread make a call; one to a closed link is lost."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *arguments)

    def every(self, seconds: float, call: Callable[[], None]) -> None:
        """Make a call again and again in the connection's thread, until it is closed."""
        self.call_soon(self._repeat, seconds, call)

    def _repeat(self, seconds: float, call: Callable[[], None]) -> None:
        async def calls() -> None:
            while True:
                await asyncio.sleep(seconds)
                call()

        self._repeated = asyncio.get_running_loop().create_task(calls())

    @property
    def lost(self) -> str:
        """Why the connection ended, empty while it has not or nobody knows."""
        return "" if self._connection is None else str(self._client.lost or "")

    def start(self, command: str) -> "RemoteChannel":
        """Start a command; raises ChannelClosed when the link is lost."""
        assert self._connection is not None
        try:
            process = self.wait(self._create(self._connection, command), CONNECT_S)
        except (OSError, asyncssh.Error, TimeoutError) as error:
            raise ChannelClosed(f"the link to the device is lost ({error})") from None
        return RemoteChannel(self, process)

    @staticmethod
    async def _create(
        connection: asyncssh.SSHClientConnection, command: str
    ) -> "asyncssh.SSHClientProcess[bytes]":
        # A terminal, which a user's configuration may ask for, echoes and rewrites messages.
        return await connection.create_process(
            command, encoding=None, request_pty=False, x11_forwarding=False
        )

    def close(self) -> None:
        """End the connection and its thread; may be called again."""
        if self._loop.is_closed():
            return
        if self._connection is not None:
            with contextlib.suppress(Exception):  # it ends either way
                self.wait(self._end(self._connection), CLOSE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_S)
        if not self._thread.is_alive():
            self._loop.run_until_complete(self._rest())
            self._loop.close()

    @staticmethod
    async def _end(connection: asyncssh.SSHClientConnection) -> None:
        connection.close()
        try:
            await asyncio.wait_for(connection.wait_closed(), CLOSE_S / 2)
        finally:
            connection.abort()

    @staticmethod
    async def _rest() -> None:
        """Let go of what still waits for something."""
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        # A ProxyCommand that was ended: who waits for its exit, in a thread, tells the loop of it.
        until = time.monotonic() + CLOSE_S
        while time.monotonic() < until and any(map(_waits_for_exit, threading.enumerate())):
            await asyncio.sleep(PAUSE_S / 5)
        await asyncio.get_running_loop().shutdown_default_executor()  # names were looked up in it


def _waits_for_exit(thread: threading.Thread) -> bool:
    """Return whether it is a thread of asyncio's that waits for a process."""
    return thread.name.startswith("asyncio-waitpid")


class RemoteChannel(JsonLines):
    """A channel to a process at the other end of a link."""

    def __init__(self, link: Link, process: "asyncssh.SSHClientProcess[bytes]") -> None:
        super().__init__()
        self._link, self._process = link, process
        self._chunks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._stderr = b""
        self._ended = False
        link.call_soon(self._pump)

    def _pump(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._outputs()), loop.create_task(self._errors())]

    async def _outputs(self) -> None:
        with contextlib.suppress(OSError, asyncssh.Error):
            while chunk := await self._process.stdout.read(1 << 16):
                self._chunks.put(chunk)
                while self._chunks.qsize() > WAITING and not self._process.is_closing():
                    await asyncio.sleep(PAUSE_S)
        with contextlib.suppress(TimeoutError, OSError, asyncssh.Error):
            await asyncio.wait_for(self._process.wait_closed(), END_S)
        self._chunks.put(None)

    async def _errors(self) -> None:
        with contextlib.suppress(OSError, asyncssh.Error):
            while chunk := await self._process.stderr.read(1 << 16):
                self._stderr = (self._stderr + chunk)[-STDERR_TAIL:]

    def send(self, message: Mapping[str, object]) -> None:
        """Send one message; raises ChannelClosed when the other side is gone."""
        self.write(encode(message))

    def write(self, data: bytes) -> None:
        """Send bytes; raises ChannelClosed when the other side is gone."""
        if self._ended or self._process.is_closing():
            raise ChannelClosed(self.epitaph())
        self._link.call_soon(self._write, data)

    def post(self, message: Mapping[str, object]) -> None:
        """Send a message from the connection's own thread, if anybody is there."""
        self._write(encode(message))

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError, asyncssh.Error):  # the next receive says what happened
            self._process.stdin.write(data)

    def drain(self, timeout_s: float) -> None:
        """Wait until what was written is on its way; raises ChannelClosed when the link is lost."""
        try:
            self._link.wait(self._process.stdin.drain(), timeout_s)
        except TimeoutError:
            raise ChannelClosed(f"it took nothing for {timeout_s:.0f} s") from None
        except (OSError, asyncssh.Error):
            raise ChannelClosed(self.epitaph()) from None

    def _read(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        try:
            chunk = None if self._ended else self._chunks.get(timeout=max(0.0, left))
        except queue.Empty:
            raise Timeout from None
        if chunk is None:
            self._ended = True
            raise ChannelClosed(self.epitaph())
        self._buffer += chunk

    def epitaph(self) -> str:
        """Say how the process ended, with the last line that it wrote to stderr."""
        signal = self._process.exit_signal
        name, code = signal and signal[0], self._process.exit_status
        return how_ended(name, code, self._link.lost, self.stderr_tail())

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the process to end; return its exit code, None where it has none."""
        with contextlib.suppress(TimeoutError, OSError, asyncssh.Error):
            self._link.wait(self._end(timeout_s))
        return self._process.exit_status

    async def _end(self, timeout_s: float) -> None:
        await asyncio.wait_for(self._process.wait_closed(), timeout_s)

    @property
    def exit_status(self) -> int | None:
        """The exit code, None where it has none."""
        return self._process.exit_status

    def stderr_tail(self) -> str:
        """Return the last that the process wrote to stderr, stripped."""
        return self._stderr.decode(errors="replace").strip()

    def close(self) -> None:
        """Close the process's stdin, which ends it."""
        self._link.call_soon(self._process.stdin.write_eof)
