"""Files that a user's builder reads while it builds: its graph is made of these, too.

Those in the builder's own folder, in the current one and in the builder's repository count. They
are kept by folder and name, so that another copy of a project finds its own.
"""

import importlib.util
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from benchbox import host
from benchbox.export import source_digest
from benchbox.specs import Builder

Reads = Mapping[str, Mapping[str, str]]  # the sha256 of each file by its name, by folder

NO_DATA = ("/proc/", "/sys/", "/dev/")
WRITING = os.O_WRONLY | os.O_RDWR

# What each file was when it was first opened, nothing for one that was also written.
_opened: dict[str, tuple[int, ...]] | None = None


def are_unchanged(reads: Reads, builder: Builder) -> bool:
    """Whether files are still as they were read; raises OSError or KeyError where one is gone."""
    where = _folders(builder) if reads else {}
    return all(
        host.sha256(where[folder] / name) == sha256
        for folder, files in reads.items()
        for name, sha256 in files.items()
    )


@contextmanager
def recorded(builder: Builder) -> Iterator[dict[str, dict[str, str]]]:
    """The files that are read within the block, known at its end.

    One that changed since it was opened has no sha256, so that it never counts as unchanged.
    """
    global _opened
    found: dict[str, dict[str, str]] = {}
    where = {} if source_digest.is_own(builder) else _folders(builder)
    _listen()
    _opened = {}
    try:
        yield found
    finally:
        opened, _opened = _opened, None
    for name, stamp in opened.items():
        place = _place(Path(name), where) if stamp else None
        if place:
            sha256 = host.sha256(Path(name)) if _stamp(name) == stamp else ""
            found.setdefault(place[0], {})[place[1]] = sha256


def _folders(builder: Builder) -> dict[str, Path]:
    place = source_digest.place(builder)[1].absolute()
    found = {"builder": place}
    with suppress(OSError):  # it was deleted
        found["current"] = source_digest.moved(Path.cwd(), builder.checkout)
    tops = (each for each in (place, *place.parents) if (each / ".git").exists())
    if top := next(tops, None):
        found["repository"] = top
    return found


def _place(path: Path, where: Mapping[str, Path]) -> tuple[str, str] | None:
    """The folder in which a file lies, and its name there; None for one that does not count."""
    if source_digest.is_library(path) or str(path).startswith(NO_DATA):
        return None
    for kind, folder in where.items():
        for base in (folder, folder.resolve()):
            if path.is_relative_to(base):
                return kind, str(path.relative_to(base))
    return None


@cache
def _listen() -> None:
    """Hear of every file that Python opens from here on; there is no end to it."""
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _opened is None or event not in ("open", "os.rename"):
        return
    with suppress(OSError, ValueError, TypeError):  # a descriptor, or no name of a file
        renames = event == "os.rename"
        name = os.path.abspath(os.fsdecode(arguments[renames]))  # noqa: PTH100 - as it was named
        if renames or arguments[2] & WRITING:
            _opened[name] = ()
            return
        if name.endswith(".pyc"):
            name = importlib.util.source_from_cache(name)
        _opened.setdefault(name, _stamp(name))


def _stamp(name: str) -> tuple[int, ...]:
    """What changes when a file does; nothing for what is no regular file."""
    status = os.stat(name)  # noqa: PTH116 - called for every file that is opened
    is_file = stat.S_ISREG(status.st_mode)
    return (status.st_ino, status.st_size, status.st_mtime_ns) if is_file else ()
