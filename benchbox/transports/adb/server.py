"""The adb server of this machine: started where there is none, and asked for what is attached."""

import os
import re
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import Any

PORT, PORT_NAME = 5037, "ANDROID_ADB_SERVER_PORT"  # as the adb program has them
REPLY_S = 10.0
START_S = 20.0
SETTLE_S = 4.0  # a phone that was just found is offline, then asks its user, for a moment
UNSETTLED = ("connecting", "authorizing", "offline")
NETWORKED = re.compile(r"[A-Za-z0-9._-]+:[0-9]{1,5}")
ADVICE = {
    "unauthorized": "it has not accepted this computer; unlock it, accept `Allow USB debugging?`, "
    "and run this again",
    "authorizing": "it waits for you; unlock it and accept `Allow USB debugging?`",
    "offline": "it is offline; unlock it, plug it in again, or switch USB debugging off and on",
    "no permissions": "this user may not open its USB device; add a udev rule or the group "
    "plugdev, and plug it in again",
}
INSTALL = "phones over adb need adbutils: pip install 'benchbox[adb]'"


class Refused(Exception):  # noqa: N818 - adb.connect makes an error of it, with the device's name
    """A phone cannot be used; the text says why and what to do, `kind` the same in two words."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Server:
    """An adb server that answers."""

    port: int

    def ask(self, service: str) -> str:
        """Return what a service of the server says; raises Refused with its own words."""
        with self._open() as connection:
            _request(connection, service)
            return _block(connection)

    def attached(self) -> list[tuple[str, str]]:
        """Return the serial number and the state of every phone, in the server's order."""
        lines = [line.partition("\t") for line in self.ask("host:devices").splitlines()]
        return [(serial, state.partition(" (")[0]) for serial, _, state in lines]

    def open(self, serial: str, service: str) -> socket.socket:
        """Return a connection to a service of a phone; raises Refused, OSError."""
        connection = self._open()
        try:
            _request(connection, f"host:transport:{serial}")
            _request(connection, service)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), REPLY_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def exactly(connection: socket.socket, size: int) -> bytes:
    """Return the next bytes of a connection; raises ConnectionError where it ends before."""
    found = b""
    while len(found) < size:
        chunk = connection.recv(size - len(found))
        if not chunk:
            raise ConnectionError("the adb server closed the connection")
        found += chunk
    return found


def _request(connection: socket.socket, service: str) -> None:
    """Ask for a service; its length comes first, so nothing in it is read as anything else."""
    name = service.encode()
    connection.sendall(b"%04x" % len(name) + name)
    status = exactly(connection, 4)
    if status == b"FAIL":
        said = " ".join(_block(connection).split())
        raise Refused("refused by adb", said)
    if status != b"OKAY":
        raise Refused("no adb server", f"what answers there is no adb server: {status!r}")


def _block(connection: socket.socket) -> str:
    return exactly(connection, int(exactly(connection, 4), 16)).decode(errors="replace")


def running() -> Server:
    """Return this machine's server, which is started first if need be; raises Refused."""
    server = Server(_port())  # first: adbutils stumbles over a wrong one
    adbutils = _adbutils()
    try:
        server.ask("host:version")
    except ConnectionRefusedError:
        _start(adbutils, server.port)
    except (OSError, ValueError) as error:
        raise _unanswered(server, error) from None
    try:
        server.ask("host:version")
    except (OSError, ValueError) as error:
        raise _unanswered(server, error) from None
    return server


def _unanswered(server: Server, error: Exception) -> Refused:
    why = " ".join(str(error).split())
    text = f"no adb server answers at port {server.port}: {why}; stop what listens there, or "
    return Refused("no adb server", text + f"set {PORT_NAME} to another port")


def _adbutils() -> Any:  # noqa: ANN401 - a module without types
    try:
        import adbutils
    except ImportError:
        raise Refused("no adbutils", INSTALL) from None
    return adbutils


def _port() -> int:
    given = os.environ.get(PORT_NAME) or str(PORT)
    if not given.isascii() or not given.isdigit() or not 0 < int(given) < 65536:
        raise Refused("no adb server", f"{PORT_NAME}={given!r}: write the number of a port")
    return int(given)


def _start(adbutils: Any, port: int) -> None:  # noqa: ANN401 - a module without types
    argv: list[str] = []
    try:
        argv = [adbutils.adb_path(), "-P", str(port), "start-server"]
        nothing = subprocess.DEVNULL
        done = subprocess.run(
            argv, stdin=nothing, capture_output=True, text=True, errors="replace", timeout=START_S
        )
    except (adbutils.AdbError, OSError, subprocess.TimeoutExpired) as error:
        last = f"{type(error).__name__}: {error}".splitlines()[0]
    else:
        if done.returncode == 0:
            return
        last = ((done.stderr + done.stdout).strip().splitlines() or ["no reason given"])[-1]
    raise Refused(
        "no adb server",
        f"no adb server can be started at port {port} ({' '.join(last.split())}); put your own "
        "adb into PATH, and try: adb start-server",
    )


def is_networked(serial: str) -> bool:
    """Return whether a serial number is the address of a phone on a network: host:port."""
    return NETWORKED.fullmatch(serial) is not None


def require(server: Server, serial: str) -> None:
    """Raise Refused unless a phone is attached and can be used; host:port is connected to."""
    states = _settled(server, serial)
    if is_networked(serial) and states in ([], ["offline"]):
        said = _connected(server, serial, states)
        states = _settled(server, serial)
        if not states:
            raise Refused("not reachable", f"{said}; is adb over the network switched on there?")
    if not states:
        raise Refused("not attached", _absent(server, serial))
    if len(states) > 1:
        raise Refused(
            "several", f"{len(states)} phones say that they are {serial}; unplug all but one"
        )
    if states[0] != "device":
        general = f"it is in the state {states[0]!r}; start it into Android"
        raise Refused(states[0], ADVICE.get(states[0], general))
    if "shell_v2" not in server.ask(f"host-serial:{serial}:features").split(","):
        raise Refused(
            "no shell_v2",
            "its adb has no shell_v2, which came with Android 7; with Termux and its sshd it is "
            "reached by ssh://user@phone:8022",
        )


def _settled(server: Server, serial: str) -> list[str]:
    """Return the states of all phones of a serial number, once they have settled."""
    until = time.monotonic() + SETTLE_S
    while True:
        states = [state for each, state in server.attached() if each == serial]
        if not set(states) & set(UNSETTLED) or time.monotonic() > until:
            return states
        time.sleep(0.1)


def _connected(server: Server, serial: str, states: list[str]) -> str:
    """Have the server connect to a phone; return what it says of that."""
    if states:  # it would take the old connection for a good one
        server.ask(f"host:disconnect:{serial}")
    return " ".join(server.ask(f"host:connect:{serial}").split())


def _absent(server: Server, serial: str) -> str:
    found = [f"{each} ({state})" for each, state in server.attached()]
    there = f"attached: {', '.join(found)}" if found else "none is"
    return f"no phone {serial} is attached, {there}; plug it in and switch on USB debugging"
