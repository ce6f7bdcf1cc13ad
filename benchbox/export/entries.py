"""Entries of the cache: folders that are filled, and then become whole at once or not at all."""

import contextlib
import errno
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchbox import host
from benchbox.errors import StorageError

FULL = (errno.EFBIG, errno.ENOSPC, errno.EDQUOT, errno.EROFS)
ABANDONED_S = 3600.0  # an unfinished entry this old belongs to a process that is gone
UNUSED_S = 30 * 86400.0


def graphs() -> Path:
    """The folder of the cached graphs."""
    return host.cache_folder() / "graphs"


def copies() -> Path:
    """The folder of the .onnx files that graphs are timed from."""
    return host.cache_folder() / "files"


def places(key: str, parent: Path) -> list[Path]:
    """The entry of a key, and this user's own, for one that is broken and cannot be replaced."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    return [parent / key, parent / f"{key}-{user}"]


@contextlib.contextmanager
def new(parent: Path, key: str, is_same: Callable[[Path, Path], bool]) -> Iterator[Path]:
    """A folder to fill that becomes the entry of `key` when the block ends without an error.

    The move is atomic: a process that dies leaves no half entry, and of two that make the same
    entry, which `is_same` tells of the fresh one and the other, one wins and the other's work is
    dropped. Raises StorageError when the cache cannot be written.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix="new-", dir=parent))
    except OSError as error:
        raise _unwritable(parent, error) from None
    try:
        yield fresh
        _sync(fresh)
        _publish(fresh, places(key, parent), is_same)
    except OSError as error:
        if error.errno in FULL:
            raise _unwritable(parent, error) from None
        raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for what is needed while an entry is made, on the cache's disk."""
    with tempfile.TemporaryDirectory(prefix="new-", dir=graphs()) as name:
        yield Path(name)


def _unwritable(parent: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{parent}: the cache cannot be written ({error.strerror}); "
        "set BENCHBOX_CACHE_DIR to a folder that can"
    )


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _publish(
    fresh: Path, candidates: Sequence[Path], is_same: Callable[[Path, Path], bool]
) -> None:
    """Make the fresh folder an entry, unless another process was first."""
    for entry in candidates:
        if is_same(fresh, entry) or _replaced(entry, fresh):
            return
    raise StorageError(
        f"{candidates[0]}: it is broken and cannot be replaced; remove it, or set "
        "BENCHBOX_CACHE_DIR to another folder"
    )


def _replaced(entry: Path, fresh: Path) -> bool:
    try:
        fresh.rename(entry)
    except OSError:  # what is there is broken, no folder, another's, or came this moment
        stale = fresh.with_name(f"{fresh.name}-old")
        with contextlib.suppress(OSError):
            entry.rename(stale)
        try:
            fresh.rename(entry)
        except OSError:
            return False
        finally:
            remove(stale)
    return True


def remove(path: Path) -> None:
    """Remove whatever lies there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sweep() -> None:
    """Remove what processes that were killed left unfinished, and copies long out of use."""
    for parent, name, most_s in (
        (graphs(), "new-*", ABANDONED_S),
        (copies(), "new-*", ABANDONED_S),
        (copies(), "*", UNUSED_S),
    ):
        for path in parent.glob(name):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > most_s:
                    remove(path)
