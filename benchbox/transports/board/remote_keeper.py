"""The keeper on a board: stores pushed files by their hash, and ends agents whose link is lost.

Its text is sent to the board's Python, so it imports nothing but the standard library. It talks
JSON Lines on stdin and stdout. `put` is answered by the place `from` which on the file is wanted,
and again after its bytes; `ping` has no reply. `watch` is answered once nobody else times here, or
with `busy`.

Its folder has `files/` by sha256, `whole/` with what those looked like when they had it, `sets/` of
files that must lie beside each other, `run/` with the process ids of agents and what is not
complete yet, and `venv/`. Who has an agent holds a lock on `run/`; who wants one puts a question
there, which a holder whose own link is alive takes away.
"""

import contextlib
import errno
import fcntl
import hashlib
import importlib.util
import io
import json
import os
import platform
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HOME = Path.home()
SHARED = Path("/data/local/tmp")  # of Android, whose shell may have a home that cannot be written
IS_SHARED = not os.access(HOME, os.W_OK) and os.access(SHARED, os.W_OK)
FOLDER = SHARED / "benchbox" if IS_SHARED else HOME / ".cache/benchbox"
MOST_BYTES = 4 << 30  # of pushed files; those unused for longest go first
SPARE_BYTES = 32 << 20  # a board whose disk is full does not start again
SILENCE_S = 30.0  # after which the other end of the link is gone, whatever the system believes
GRACE_S = 2.0  # an agent ends by itself when its input does
RELEASE_S = SILENCE_S + 5.0  # by when the keeper of a link that is lost has ended its agents
POLL_S = 0.1
SETTLE_S = 3.0  # a run has another agent so soon after one that ended
ABANDONED_S = 24 * 3600.0  # what is incomplete for so long is not gone on with

NEEDED = ("numpy", "onnxruntime")
TRY_S = 45.0  # to import that from a slow card
KEPT = ("files", "whole", "sets", "run")

Message = dict[str, Any]


class GoneError(Exception):
    """The other end has closed the link, or has been silent for too long."""


class Input:
    """Lines and bytes of stdin, with an end to waiting for them."""

    def __init__(self) -> None:
        self._buffer = b""

    def _fill(self) -> None:
        if not select.select([0], [], [], SILENCE_S)[0]:
            raise GoneError
        chunk = os.read(0, 1 << 18)
        if not chunk:
            raise GoneError
        self._buffer += chunk

    def line(self) -> bytes:
        """Return the next line; raises GoneError when none comes."""
        while b"\n" not in self._buffer:
            self._fill()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def chunks(self, size: int) -> Iterator[bytes]:
        """Yield the next `size` bytes, in parts; raises GoneError when they do not come."""
        while size:
            if not self._buffer:
                self._fill()
            chunk, self._buffer = self._buffer[:size], self._buffer[size:]
            size -= len(chunk)
            yield chunk


def hello(_: Message, __: Input) -> Message:
    """Describe this Python and folder; make the folder, where there is room for it."""
    with contextlib.suppress(OSError):  # who wants to keep something is told
        FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in KEPT:
            (FOLDER / name).mkdir(mode=0o700, exist_ok=True)
    for left in (p for kind in ("new-*", "part-*", "ask-*") for p in (FOLDER / "run").glob(kind)):
        if time.time() - left.stat().st_mtime > ABANDONED_S:
            _drop(left)
    return {
        "python": list(sys.version_info[:3]),
        "machine": platform.machine(),  # of a system of 32 bits, too, whose kernel has 64
        "bits": struct.calcsize("P") * 8,
        "folder": str(FOLDER),
        "timing": _is_timing(),
        "jetson": Path("/etc/nv_tegra_release").exists() or bool(shutil.which("nvpmodel")),
        "lacks": [n for n in NEEDED if importlib.util.find_spec(n) is None],
    }


def try_program(request: Message, _: Input) -> Message:
    """Try a program in Python; the reply is its error, empty without one."""
    argv = [sys.executable, "-c", request["program"]]
    env = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}  # or it would keep an id in the user's cache
    try:
        subprocess.run(
            argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=TRY_S
        )
    except subprocess.TimeoutExpired:
        return {"broken": f"it takes more than {TRY_S:.0f} s"}
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        return {"broken": said[-1] if said else f"it ends with code {error.returncode}"}
    return {"broken": ""}


def _is_timing() -> bool:
    """Whether another benchbox is timing here."""
    with contextlib.suppress(OSError), _locked(fcntl.LOCK_SH) as is_free:
        return not is_free
    return False


@contextlib.contextmanager
def _question() -> Iterator[Path]:
    """Ask whoever times here whether its link is alive: then the file goes."""
    question = FOLDER / "run" / f"ask-{os.getpid()}"
    question.touch(0o600)
    try:
        yield question
    finally:
        question.unlink(missing_ok=True)


def _answer_questions() -> None:
    for question in (FOLDER / "run").glob("ask-*"):
        question.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(kind: int) -> Iterator[bool]:
    """Hold the lock on who times here, if it is free; say whether nobody does."""
    descriptor = _lock(kind)
    try:
        yield descriptor is not None and not _runs_on()
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock(kind: int, folder: Path | None = None) -> int | None:
    """Take a lock; return the descriptor that holds it, None where another has it."""
    descriptor = os.open(folder or FOLDER / "run", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _runs_on() -> bool:
    """Whether an agent is left whose keeper is gone, and with that the lock."""
    return any(_is_agent(_pid(file)) for file in (FOLDER / "run").glob("agent-*"))


def _hold() -> bool:
    """Hold the lock on who times here until this program ends; return whether nobody else does."""
    descriptor = _lock(fcntl.LOCK_EX)
    if descriptor is not None and _runs_on():
        os.close(descriptor)
        return False
    return descriptor is not None


def watch(request: Message, _: Input) -> Message:
    """Have the agent ended that is to be started; say `busy` where another link has one.

    The lock ends with this program. That of a link that is lost is waited for; so is, in the
    middle of a run (`again`), that of its agent before; and an agent that outlived its keeper.
    """
    if _hold():
        return {}
    until = time.monotonic() + RELEASE_S
    with _question() as question:
        while question.exists() and time.monotonic() < until:
            time.sleep(POLL_S)
            with _locked(fcntl.LOCK_EX) as is_free:
                pass
            if is_free:  # another run may only be between two of its agents
                time.sleep(0.0 if request["again"] else SETTLE_S)
                if _hold():
                    return {}
    return {"busy": True}


def have(request: Message, _: Input) -> Message:
    """Return which of the files are here, as they were sent; they count as used now."""
    return {"files": [name for name in request["files"] if _is_whole(FOLDER / "files" / name)]}


def _is_whole(path: Path, name: str = "") -> bool:
    """Whether a file has the hash in its name, or in `name` where it has another.

    Its content is read only where it has changed since that was last seen.
    """
    note = FOLDER / "whole" / (name or path.name)
    try:
        seen = path.stat()
        os.utime(path, ns=(time.time_ns(), seen.st_mtime_ns))
        if note.exists() and note.read_text() == _looks(seen):
            return True
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        is_whole = digest.hexdigest() == note.name[:64]
    except OSError:
        return False
    if is_whole and not name:
        _note(path)
    return is_whole


def _note(path: Path) -> None:
    """Remember what a file looks like that is kept under the hash it has."""
    with contextlib.suppress(OSError):  # without room it is read once more
        (FOLDER / "whole" / path.name).write_text(_looks(path.stat()))


def _looks(seen: os.stat_result) -> str:
    return f"{seen.st_size} {seen.st_mtime_ns} {seen.st_ino}"


def put(request: Message, stdin: Input) -> Message:
    """Keep a file whose bytes follow; it appears at once, and only with the hash that it has.

    What a lost link left of it is gone on with.
    """
    kept, part = FOLDER / "files" / request["name"], FOLDER / "run" / f"part-{request['name']}"
    size = request["size"]
    with _alone(part) as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 18):
            digest.update(chunk)
        start = file.tell()
        if start > size:  # it was another file then
            digest, start = hashlib.sha256(), file.seek(0)
            file.truncate()
        problem = _room(size - start)
        if not problem:
            _say({"from": start})
            for chunk in stdin.chunks(size - start):  # what has no room must be read, too
                digest.update(chunk)
                problem = problem or _written(file.fileno(), chunk)
            if not problem and digest.hexdigest() != request["sha256"]:
                problem = "a file arrived broken; run it again"
        if problem:
            part.unlink()
            return {"error": problem}
        os.fsync(file.fileno())
        part.replace(kept)
    _note(kept)
    return {}


def _alone(part: Path) -> "io.FileIO":
    """Open an incomplete file that nobody else writes to.

    The keeper of a link that is lost holds on to its file until it knows.
    """
    until = time.monotonic() + SILENCE_S + 5.0
    while True:
        file = open(os.open(part, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)  # noqa: PTH123, SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if part.exists() and os.path.samestat(part.stat(), os.fstat(file.fileno())):
                return file
        except BlockingIOError:
            if time.monotonic() > until:
                file.close()
                raise OSError(
                    errno.EBUSY, "another benchbox sends the same file", str(part)
                ) from None
            time.sleep(0.1)
        file.close()


def _written(descriptor: int, chunk: bytes) -> str:
    """Write to a file; return what went wrong."""
    try:
        while chunk:
            chunk = chunk[os.write(descriptor, chunk) :]
    except OSError as error:
        return str(error.strerror)
    return ""


def _room(size: int) -> str:
    """Make room for a file; return what is missing."""
    files = sorted((p.stat().st_atime, p.stat().st_size, p) for p in (FOLDER / "files").iterdir())
    total = size + sum(each for _, each, _ in files)
    for _, each, path in files:
        if total <= MOST_BYTES:
            break
        path.unlink()
        (FOLDER / "whole" / path.name).unlink(missing_ok=True)
        total -= each
        for folder in (FOLDER / "sets").iterdir():  # they hold on to files, and are soon made again
            _drop(folder)
    free = shutil.disk_usage(FOLDER).free
    if size + SPARE_BYTES <= free:
        return ""
    needed = -(-(size + SPARE_BYTES) // 2**20)
    return f"no space left there: {needed} MB needed, {free >> 20} MB free"


def gather(request: Message, _: Input) -> Message:
    """Make a folder of kept files under their own names, and return it."""
    folder = FOLDER / "sets" / request["name"]
    if not all(_is_whole(folder / name, kept) for name, kept in request["files"].items()):
        _drop(folder)
        fresh = Path(tempfile.mkdtemp(prefix="new-", dir=FOLDER / "run"))
        for name, kept in request["files"].items():
            target = fresh / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(FOLDER / "files" / kept, target)  # a symbolic one leads outside: refused
            except OSError:
                shutil.copyfile(FOLDER / "files" / kept, target)
        try:
            fresh.rename(folder)
        except OSError:  # another run was first
            _drop(fresh)
    return {"folder": str(folder)}


def _drop(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def clean(_: Message, __: Input) -> Message:
    """Empty the folder, unless somebody times here; return how much that was."""
    with _locked(fcntl.LOCK_EX) as is_free:
        if not is_free:
            return {"busy": True}
        installing = _lock(fcntl.LOCK_EX, FOLDER)
        if installing is None:
            return {"error": "another benchbox installs there; wait for it to end"}
        total = sum(p.lstat().st_size for p in FOLDER.rglob("*") if not p.is_dir())
        for path in FOLDER.iterdir():
            _drop(path)
        os.close(installing)
    return {"bytes": total}


HANDLERS: dict[str, Callable[[Message, Input], Message]] = {
    "hello": hello,
    "try": try_program,
    "watch": watch,
    "have": have,
    "put": put,
    "gather": gather,
    "clean": clean,
}


def serve() -> None:
    """Answer requests until the link ends, then end the agents that it leaves behind."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # adbd hangs up on what it has lost the link to
    stdin, agents = Input(), set[str]()
    try:
        while True:
            request = json.loads(stdin.line())
            if agents:
                _answer_questions()
            if request["op"] == "ping":
                continue
            reply = _answer(request, stdin)
            if request["op"] == "watch" and not reply:
                agents.add(request["name"])
            _say(reply)
    except (GoneError, OSError):
        pass
    finally:
        for name in agents:
            _end(FOLDER / "run" / name)


def _answer(request: Message, stdin: Input) -> Message:
    try:
        return HANDLERS[request["op"]](request, stdin)
    except OSError as error:
        return {"error": _unwritable() or f"{error.filename or FOLDER}: {error.strerror}"}


def _unwritable() -> str:
    """Why no file can be stored here, empty where one can."""
    try:
        (FOLDER / "run").mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(FOLDER / "run", os.W_OK):
            return ""
        why = os.strerror(errno.EACCES)
    except OSError as error:
        why = str(error.strerror)
    return f"nothing can be kept in {FOLDER}: {why}; see to that folder there"


def _say(reply: Message) -> None:
    os.write(1, json.dumps(reply).encode() + b"\n")


def _end(file: Path) -> None:
    """End the agent whose process id is in a file, unless it has ended by itself."""
    with contextlib.suppress(OSError):
        pid = _pid(file)
        until = time.monotonic() + GRACE_S
        while time.monotonic() < until and _is_agent(pid):
            time.sleep(0.05)
        if _is_agent(pid):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        file.unlink(missing_ok=True)


def _pid(file: Path) -> int:
    """Return the process id in a file, 0 where there is none."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0


def _is_agent(pid: int) -> bool:
    """Whether a process is an agent of this folder; its id may be another's by now."""
    try:
        return os.fsencode(FOLDER / "files") in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


if __name__ == "__main__":
    serve()
