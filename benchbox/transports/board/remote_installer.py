"""Installer of the packages that an agent needs; it ends with its link, and leaves no half.

Its text is sent to the board's Python, so it imports nothing but the standard library. After it
comes a line that says what to make, and pings while that is made. It answers with lines of what is
`said` meanwhile, and in the end with an `error`, with `busy`, or with an empty one.

Who installs holds a lock on the folder, which the programs that are run inherit. The environment is
made in a folder beside its place, and put there once it is complete.
"""

import contextlib
import fcntl
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SILENCE_S = 30.0  # after which the other end of the link is gone, whatever the system believes
GRACE_S = 3.0  # pip removes what it has unpacked when it is interrupted
ENDING_S = 15.0  # by when an installation whose link was closed is gone, with its files
POLL_S = 0.1
TAIL = 4000  # characters of what went wrong
MAKING = "venv-new-"
COMPLETE = "complete"  # as commands.py has it
NO_SUCH_VERSION = "No matching distribution"
OFFLINE = "connection broken by"  # pip warns of it, and then finds no version either
PIP = (
    *("-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off"),
    *("--no-cache-dir", "--only-binary=:all:"),
)

Message = dict[str, Any]


class GoneError(Exception):
    """The other end has closed the link, or has been silent for too long."""


class FailedError(Exception):
    """A step has failed; the text is what it said."""


def _say(reply: Message) -> None:
    os.write(1, json.dumps(reply).encode() + b"\n")


def _lock(folder: Path) -> int | None:
    """Take the lock of installations; return its descriptor, None where another one has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    until = time.monotonic() + ENDING_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                os.close(descriptor)
                return None
            _say({"said": "waiting for another installation"})
            _heard(POLL_S)
        else:
            return descriptor


def _heard(seconds: float) -> None:
    """Wait, with an ear on the link; raises GoneError when it is closed."""
    with selectors.DefaultSelector() as ready:
        ready.register(0, selectors.EVENT_READ)
        if ready.select(seconds) and not os.read(0, 1 << 16):
            raise GoneError


class InstallStep:
    """A program that runs, in a group of its own with all that it starts."""

    def __init__(self, argv: list[str], lock: int, scratch: Path) -> None:
        # What pip unpacks has no room in the memory that /tmp of many boards is.
        env = {**os.environ, "TMPDIR": str(scratch), "ORT_DISABLE_TELEMETRY": "1"}
        self._process = subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=(lock,),
        )
        assert self._process.stdout is not None and self._process.stderr is not None
        self._outputs = (self._process.stdout, self._process.stderr)
        self._tails = [b"", b""]

    def run(self) -> None:
        """Pass its output on until it ends; raises FailedError, or GoneError without a link."""
        try:
            self._follow()
            code = self._process.wait()
        except BaseException:
            self._end()
            raise
        if code != 0:
            out, err = (tail.decode(errors="replace") for tail in self._tails)
            said = err if "ERROR" in err else out + err
            raise FailedError(said.strip() or f"it ended with code {code}")

    def _follow(self) -> None:
        heard, rest = time.monotonic(), 2
        with selectors.DefaultSelector() as ready:
            ready.register(0, selectors.EVENT_READ)
            for index, output in enumerate(self._outputs):
                ready.register(output, selectors.EVENT_READ, index)
            while rest:
                for key, _ in ready.select(SILENCE_S):
                    chunk = os.read(key.fd, 1 << 16)
                    if key.fd == 0:
                        if not chunk:
                            raise GoneError
                        heard = time.monotonic()
                    elif chunk:
                        self._take(key.data, chunk)
                    else:
                        ready.unregister(key.fileobj)
                        rest -= 1
                if time.monotonic() - heard > SILENCE_S:
                    raise GoneError

    def _take(self, index: int, chunk: bytes) -> None:
        self._tails[index] = (self._tails[index] + chunk)[-TAIL:]
        if lines := chunk.decode(errors="replace").strip().splitlines():
            _say({"said": lines[-1].strip()})

    def _end(self) -> None:
        """End its group."""
        for number in (signal.SIGINT, signal.SIGKILL):
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_S)


def _make(request: Message, lock: int, fresh: Path) -> None:
    """Make an environment in a folder; raises FailedError with what a step has said."""
    made, scratch = fresh / "environment", fresh / "scratch"
    scratch.mkdir()
    python = str(made / "bin/python")

    def run(*argv: str) -> None:
        InstallStep([*argv], lock, scratch).run()

    _say({"said": "making an environment"})
    run(os.path.expanduser(request["python"]), "-m", "venv", str(made))  # noqa: PTH111 - or a name
    try:
        run(python, *PIP, *request["packages"])
    except FailedError as error:  # of all other errors, the same would be said again
        if NO_SUCH_VERSION not in str(error) or OFFLINE in str(error):
            raise
        run(python, *PIP, *request["otherwise"])
    run(python, "-c", "import numpy, onnxruntime")
    (made / COMPLETE).touch()


def _put(fresh: Path, place: Path) -> None:
    """Put a complete environment in its place; what was there goes."""
    if place.exists():
        place.rename(fresh / "before")
    (fresh / "environment").rename(place)


def install(request: Message) -> Message:
    """Make an environment; return what is answered."""
    folder = Path(request["folder"])
    lock = _lock(folder)
    if lock is None:
        return {"busy": True}
    for left in folder.glob(f"{MAKING}*"):  # nobody makes it any more, or the lock were not free
        shutil.rmtree(left, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix=MAKING, dir=folder))
    try:
        _make(request, lock, fresh)
        _put(fresh, folder / request["name"])
    except FailedError as error:
        return {"error": str(error)[-TAIL:]}
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return {}


def serve() -> None:
    """Do what the first line asks for, as long as somebody waits for it."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # adbd hangs up on what it has lost the link to
    line = b""
    while not line.endswith(b"\n"):  # and no byte more: what follows are pings
        line += os.read(0, 1) or sys.exit(1)
    try:
        _say(install(json.loads(line)))
    except OSError as error:
        _say({"error": f"{error.filename or 'there'}: {error.strerror}"})
    except GoneError:
        pass


if __name__ == "__main__":
    serve()
