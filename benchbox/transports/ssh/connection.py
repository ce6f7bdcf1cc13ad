"""OpenSSH connections: one to each address, kept open for all that a run does there."""

import atexit
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections import defaultdict
from pathlib import Path

from benchbox.devices.address import Address
from benchbox.errors import DeviceError
from benchbox.transports.link import RemoteChannel
from benchbox.transports.ssh import errors

CONNECT_S = 15
ALIVE_S, MISSES = 2, 4  # a link on which nothing arrives for ten seconds is lost
KEPT_S = 60  # that a connection waits for the next process of a run
CONTROL_S = 5.0
NO_REASON = "it gave no reason"
LOST = 255  # ssh's own exit code
MOST_OF_PATH = 70  # of a socket's path, which systems limit to 104 bytes; ssh adds 17 at first
# Nobody is asked for anything: a question in the middle of a run is a hang. A known key is asked
# for whatever the user's configuration says, and a terminal would rewrite messages.
OPTIONS = (
    *("BatchMode=yes", "StrictHostKeyChecking=yes", "LogLevel=INFO"),
    *("RemoteCommand=none", "PermitLocalCommand=no"),
    *("ForwardAgent=no", "ForwardX11=no", "ClearAllForwardings=yes"),
)
KEEPING = (
    *("ControlMaster=auto", f"ControlPersist={KEPT_S}"),
    *(f"ServerAliveInterval={ALIVE_S}", f"ServerAliveCountMax={MISSES}"),
)
# A process shares the connection that is there, or fails: it never makes one of its own.
SHARING = ("ControlMaster=no", "ProxyCommand=false")

_opening: defaultdict[Address, threading.Lock] = defaultdict(threading.Lock)


class SshLink:
    """The connection to an address, and the processes that were started over it."""

    def __init__(self, where: Address, name: str, *, again: bool = False) -> None:
        """Connect; raises DeviceError. `again`, in the middle of a run, it names no host."""
        self._where = where
        self._channels: list[RemoteChannel] = []
        try:
            with _opening[where]:
                if not _is_open(where):
                    _open(where)
        except errors.SshRefused as refused:
            raise errors.explain(refused.stderr, where, name, again=again) from None
        except FileNotFoundError:
            raise DeviceError(f"device {name!r}: {errors.NO_PROGRAM}") from None

    def start(self, command: str) -> RemoteChannel:
        """Start a shell command there."""
        argv = [*_argv(self._where, *SHARING), *errors.target(self._where), command]
        self._channels.append(RemoteChannel(argv, _status))
        return self._channels[-1]

    def close(self) -> None:
        """End the processes; the connection waits a while for others."""
        for channel in self._channels:
            channel.close()
        self._channels.clear()


def _status(code: int, _stderr: str) -> int | None:
    return code if 0 <= code < LOST else None


@functools.cache
def _folder() -> Path:
    """The folder of this process's sockets, for this user alone; it goes with the process.

    Its path is short: the system's folder for such files may be deep.
    """
    system = tempfile.gettempdir()
    short = system if len(system) < MOST_OF_PATH else "/tmp"  # noqa: S108
    folder = tempfile.mkdtemp(prefix="benchbox-", dir=short)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(close_all)
    return Path(folder)


def _socket(where: Address) -> Path:
    return _folder() / hashlib.sha256(repr(where).encode()).hexdigest()[:8]


def _argv(where: Address, *settings: str, socket: str = "") -> list[str]:
    """The command line of ssh for an address; raises FileNotFoundError without the program."""
    program = shutil.which("ssh")
    if program is None:
        raise FileNotFoundError("ssh")
    argv = [program, "-T", "-S", socket or str(_socket(where))]
    for setting in (*settings, *OPTIONS):
        argv += ["-o", setting]
    return argv


def _is_open(where: Address) -> bool:
    return _socket(where).exists() and _control(where, "check")


def _control(where: Address, command: str) -> bool:
    """Send a command to the process that keeps a connection; return whether it obeys."""
    argv = [*_argv(where), "-O", command, *errors.target(where)]
    try:
        return subprocess.run(argv, capture_output=True, timeout=CONTROL_S).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _open(where: Address) -> None:
    """Open a connection, which a process of its own keeps; raises errors.SshRefused."""
    limit = f"ConnectTimeout={CONNECT_S}"
    argv = [*_argv(where, limit, *KEEPING), "-N", *errors.target(where)]
    failure = _refusal(argv)
    if failure and errors.is_hung_up(failure):
        failure = _refusal(argv)
    if failure and errors.is_by_proxy(failure):  # whose reason ssh shows only if it ends with it
        failure = _refusal([*_argv(where, limit, socket="none"), *errors.target(where), "exit"])
    if failure:
        raise errors.SshRefused(failure)


def _refusal(argv: list[str]) -> str:
    """Run ssh; return its errors where it fails, nothing where it does not."""
    with tempfile.TemporaryFile() as stderr:  # no pipe: who keeps the connection would hold it
        process = subprocess.Popen(
            argv,
            env=os.environ | {"SSH_ASKPASS_REQUIRE": "never"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,  # without a terminal to ask at
        )
        why = NO_REASON
        try:
            if process.wait(CONNECT_S + 5) == 0:
                return ""
        except subprocess.TimeoutExpired:
            why = f"Connection timed out after {CONNECT_S} s"
        finally:
            process.kill()
            process.wait()
        stderr.seek(0)
        return f"{stderr.read(errors.MOST_BYTES).decode(errors='replace')}{why}"


def close_all() -> None:
    """Close every connection that this process has opened."""
    for where in _opening:
        if _socket(where).exists():
            _control(where, "exit")
