"""Warm agents: forked off a process that has imported their runtime, which takes them longest.

As a program it is that process: it forks an agent for each message on a socket, which brings its
descriptors, and replies with its process id.
"""

import atexit
import ctypes
import importlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NoReturn

from benchbox.transports.channel import ProcessChannel
from benchbox.transports.local import ROOT, SINGLE_THREADED
from benchbox.transports.local import open_local as open_cold

AGENT, TORCH_AGENT = "benchbox.agent", "benchbox.export.torch_agent"
PR_SET_CHILD_SUBREAPER = 36
AT_START = ("PYTHONPATH", "LD_LIBRARY_PATH", "FAKE_ORT_HOME")  # read as a program starts or imports


class Process:
    """A child of this process, as `subprocess.Popen` is one."""

    def __init__(self, pid: int, stdin: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin = os.fdopen(stdin, "wb", 0)
        self.stdout, self.stderr = (os.fdopen(each, "rb", 0) for each in (stdout, stderr))
        self._turn = threading.Lock()

    def poll(self) -> int | None:
        with self._turn:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
            return self.returncode

    def wait(self, timeout: float = float("inf")) -> int:
        until = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired("an agent", timeout)
            time.sleep(0.005)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(15)

    def kill(self) -> None:
        self.send_signal(9)


class WarmChannel(ProcessChannel):
    """A channel to a process that has been forked."""

    def __init__(self, process: Process) -> None:
        self._buffer, self._stderr = bytearray(), b""
        self._process = process  # type: ignore[assignment]  # it is as good as a Popen
        self._stdin, self._outputs = process.stdin, [process.stdout, process.stderr]
        for pipe in (self._stdin, *self._outputs):
            os.set_blocking(pipe.fileno(), False)


class Forker:
    """The process that a program's agents are forked off, in the environment of its start."""

    def __init__(self, program: str) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._turn = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, f"{theirs.fileno()}:{program}"],
                env={**_environment(), **SINGLE_THREADED},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        atexit.register(self._end)

    def _end(self) -> None:
        self._socket.close()
        self._process.wait()

    def fork(self) -> Process:
        """Fork an agent, which becomes a child of this process as its own parent ends."""
        (stdin, to), (out, stdout), (err, stderr) = (os.pipe() for _ in range(3))
        told = {"environment": _environment() | SINGLE_THREADED, "folder": str(Path.cwd())}
        with self._turn:
            _adopt(1)
            socket.send_fds(self._socket, [json.dumps(told).encode()], [stdin, stdout, stderr])
            pid = int(self._socket.recv(32))
            _adopt(0)
        for each in (stdin, stdout, stderr):
            os.close(each)
        return Process(pid, to, out, err)


def open_local(program: str = AGENT) -> ProcessChannel:
    """Start an agent on this machine, as `transports.local.open_local` does."""
    if sys.platform != "linux":
        return open_cold(program)
    return WarmChannel(_forker(program, *map(os.environ.get, AT_START)).fork())


@cache
def _forker(program: str, *_: str | None) -> Forker:
    return Forker(program)


def _environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def _adopt(whether: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, whether, 0, 0, 0)


def main() -> None:
    number, _, program = sys.argv[1].partition(":")
    agent = importlib.import_module(f"{program}.__main__")
    if program == TORCH_AGENT:
        import torch  # noqa: F401
    else:
        from benchbox.agent.ort import ceilings, check_outputs, profile, session  # noqa: F401

        ceilings.EACH_S = profile.BURST_S = 0.02  # nobody looks at the figures
    asked = socket.socket(fileno=int(number))
    while True:
        message, descriptors, *_ = socket.recv_fds(asked, 1 << 20, 3)
        if not message:
            return
        found, tells = os.pipe()
        parent = os.fork()
        if not parent:
            if pid := os.fork():
                os.write(tells, str(pid).encode())
                os._exit(0)
            _serve(agent.main, descriptors, **json.loads(message))
        os.waitpid(parent, 0)
        asked.send(os.read(found, 32))
        for each in (*descriptors, found, tells):
            os.close(each)


def _serve(
    agent: Callable[[], None], descriptors: list[int], environment: dict[str, str], folder: str
) -> NoReturn:
    """Be an agent on these descriptors."""
    code = 1
    try:
        os.setsid()
        for target, each in enumerate(descriptors):
            os.dup2(each, target)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        with suppress(OSError):  # it is gone
            os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv[1:] = []
        agent()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
