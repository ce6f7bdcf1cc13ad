"""This machine: processors and load, the user's folders, bounded reads, atomic writes."""

import contextlib
import errno
import hashlib
import json
import os
import stat
import tempfile
import time
from io import BufferedReader
from pathlib import Path

from benchbox.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind
    fcntl = None  # type: ignore[assignment]

OBSERVED_S = 0.2
LFS = b"version https://git-lfs"
LFS_ADVICE = "it is a pointer of Git LFS to the file, not the file; run git lfs pull"
CACHED_MB = 16  # of a file of the cache; one of states has a tenth of one


def usable_cpus() -> list[int]:
    """The processors that this process may use, ascending."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    import psutil  # here, as most commands ask for nothing of it

    return list(range(psutil.cpu_count() or 1))


def busy_cpus() -> float:
    """How many processors others keep busy, observed for OBSERVED_S seconds of our own sleep."""
    start, before_s = time.monotonic(), _busy_s()
    time.sleep(OBSERVED_S)
    return max(0.0, _busy_s() - before_s) / (time.monotonic() - start)


def _busy_s() -> float:
    """The seconds that all processors together have been busy since the system started.

    psutil's own shares count a period shorter than a second as a whole one. 0 without a /proc.
    """
    import psutil

    try:
        times = psutil.cpu_times()
    except OSError:
        return 0.0
    return float(times.user + times.system + getattr(times, "nice", 0.0))


def onnxruntime_version() -> str:
    """The version of the ONNX Runtime that is installed here, empty where none is."""
    from importlib import metadata  # here, as it loads all that reads e-mail

    for name in ("onnxruntime", "onnxruntime-gpu"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return ""


def sha256(path: Path) -> str:
    """The sha256 of a file's bytes; raises OSError, which says why, where it is no regular file."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def why_no_file(path: Path) -> str:
    """Why a path is no regular file; empty where it is one."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "there is no such file"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    except ValueError:  # a null byte
        return "it is no name of a file"
    if stat.S_ISREG(mode):
        return ""
    return "it is a folder" if stat.S_ISDIR(mode) else "it is no regular file"


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file only names the one that Git LFS has yet to fetch."""
    try:
        with opened(path) as file:
            return file.read(len(LFS)) == LFS
    except OSError:
        return False


def read_file(path: Path, most_mb: int | None = None) -> bytes:
    """The bytes of a regular file; raises OSError, which says why, for any other and a larger one.

    A pipe or a device would be waited for, or read for ever.
    """
    with opened(path, most_mb) as file:
        data = file.read(-1 if most_mb is None else (most_mb << 20) + 1)
    if (
        most_mb is not None and len(data) > most_mb << 20
    ):  # it grew, or its size is not known before
        raise OSError(errno.EFBIG, f"it is larger than {most_mb} MB", str(path))
    return data


def read_json(path: Path) -> object:
    """What a file of the cache holds; None where there is none, or one that makes no sense."""
    try:
        return json.loads(read_file(path, CACHED_MB))
    except (OSError, ValueError, RecursionError):  # the last of brackets without end
        return None


def opened(path: Path, most_mb: int | None = None) -> BufferedReader:
    """A regular file, open to be read; raises OSError, which says why, for any other."""
    try:
        _require_regular(path, path.stat(), most_mb)
        # Not to wait, where it has become a pipe meanwhile.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except ValueError:  # a null byte
        raise OSError(errno.EINVAL, "it is no name of a file", str(path)) from None
    file = open(descriptor, "rb")  # noqa: PTH123, SIM115 - a descriptor has no path; the caller's
    try:
        _require_regular(path, os.fstat(descriptor), most_mb)
    except OSError:
        file.close()
        raise
    return file


def _require_regular(path: Path, status: os.stat_result, most_mb: int | None) -> None:
    if not stat.S_ISREG(status.st_mode):
        what = "it is a folder" if stat.S_ISDIR(status.st_mode) else "it is no regular file"
        raise OSError(errno.EINVAL, what, str(path))
    if most_mb is not None and status.st_size > most_mb << 20:
        raise OSError(errno.EFBIG, f"it is larger than {most_mb} MB", str(path))


def lock(descriptor: int) -> bool:
    """Lock an open file until it is closed; false where another process has."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks
    return True


def cache_folder() -> Path:
    """The folder of what is kept between runs: $BENCHBOX_CACHE_DIR, or the user's cache folder."""
    folder = _user_folder("cache").absolute()
    if os.environ.get("BENCHBOX_CACHE_DIR"):
        return folder
    with contextlib.suppress(OSError):  # a full or read-only disk
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    return _temporary_folder()


def config_folder() -> Path:
    """The folder of the user's own settings: $BENCHBOX_CONFIG_DIR, or the usual one."""
    return _user_folder("config")


def results_folder() -> Path:
    """The folder of records where none is named: $BENCHBOX_RESULTS, or `results`."""
    return Path(os.environ.get("BENCHBOX_RESULTS") or "results")


def _user_folder(kind: str) -> Path:
    variable = f"BENCHBOX_{kind.upper()}_DIR"
    if chosen := os.environ.get(variable):
        try:
            return Path(chosen).expanduser()
        except RuntimeError:  # nobody has that name, or this user no home
            raise UsageError(f"{variable} {chosen}: there is no such home folder") from None
    import platformdirs

    with contextlib.suppress(RuntimeError):  # no home, which other versions write as ~
        folder: Path = getattr(platformdirs, f"user_{kind}_path")("benchbox", appauthor=False)
        if folder.is_absolute():
            return folder
    return _temporary_folder()


def _temporary_folder() -> Path:
    """A folder for a user who has no home, or none that can be written to."""
    folder = Path(tempfile.gettempdir(), f"benchbox-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o22:  # a link has 0o777
        raise UsageError(f"{folder}: not this user's own; set HOME or BENCHBOX_CACHE_DIR")
    return folder


def write(path: Path, content: str | bytes, mode: int = 0o600) -> None:
    """Replace a file by one with this content; who reads or crashes finds the old or the new one.

    Its mode stays, and a link stays a link; a new file has `mode`, less the umask. A file in a
    folder that is not the user's to change is written to as it is. Raises OSError, and leaves
    nothing behind, for what is no regular file, and when the disk is full or cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    target = path.resolve()
    exists = path.exists()
    if exists:
        _require_regular(path, path.stat(), None)  # a pipe waits for who reads it
        if not os.access(target.parent, os.W_OK):
            path.write_bytes(data)
            return
    target.parent.mkdir(parents=True, exist_ok=True)
    if exists and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    fresh = target.parent / f".benchbox-{os.urandom(8).hex()}"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor has no path
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if exists:
            fresh.chmod(target.stat().st_mode & 0o777)
        fresh.replace(target)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
