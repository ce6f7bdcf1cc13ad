"""Memory limit of what reads, exports and counts graphs, and the sentence of what met it."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchbox.errors import UsageError

GIB = 1 << 30
# Of control groups, version 2 and 1: the limit, and the field of memory.stat for what is in use.
CONTAINERS = (
    (Path("/sys/fs/cgroup"), "memory.max", "anon"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "total_rss"),
)
# Allocators that end the process, or raise an error of their own: C++'s, ONNX Runtime's, torch's.
_TEXT = re.compile(
    r"bad_?alloc|alloc failed|allocate memory|failed to allocate|out of memory", re.IGNORECASE
)


def limit() -> int:
    """The most bytes for a process that reads, exports or counts graphs: $BENCHBOX_MEMORY_LIMIT.

    By default half of what is available, but 1 GiB at least, which torch needs. Raises UsageError.
    """
    chosen = os.environ.get("BENCHBOX_MEMORY_LIMIT", "")
    if not chosen:
        return max(available() // 2, 1 << 30)
    found = re.fullmatch(r"(\d{1,9}) *([MG])(i?B)?", chosen, re.ASCII | re.IGNORECASE)
    if found is None or int(found[1]) == 0:
        raise UsageError(f"BENCHBOX_MEMORY_LIMIT={chosen[:40]}: write it as 8G or 800M")
    return min(1 << 62, int(found[1]) << (30 if found[2] in "Gg" else 20))


def available() -> int:
    """The bytes that are free here, of this machine's or of this container's."""
    try:
        left = [int(psutil.virtual_memory().available)]
    except OSError:  # no /proc
        left = [os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for folder, most, used in CONTAINERS:
        with contextlib.suppress(OSError, ValueError, StopIteration):
            limit = int((folder / most).read_text())
            lines = (folder / "memory.stat").read_text().splitlines()
            left.append(limit - next(int(x.split()[1]) for x in lines if x.split()[0] == used))
    return max(0, min(left))


def set_limit() -> None:
    """Limit this process, and those it starts, to `limit`, where the system can."""
    with limited(keep=True):
        pass


@contextlib.contextmanager
def limited(*, keep: bool = False) -> Iterator[None]:
    """Limit this process to `limit` within the block, or from then on; Linux alone can."""
    if sys.platform != "linux":
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    most = min([limit(), *(each for each in before if each != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_DATA, (most, most if keep else before[1]))
    try:
        yield
    finally:
        if not keep:
            resource.setrlimit(resource.RLIMIT_DATA, before)


def sentence(text: str) -> str:
    """What the limit is and how it is set, after a text of what happened."""
    return (
        f"{text}; it may use {limit() / GIB:.1f} GiB of memory, by default half of what is free, "
        f"and {available() / GIB:.1f} GiB are: BENCHBOX_MEMORY_LIMIT, as 8G, sets another limit"
    )


def explained(text: str) -> str:
    """The text, with the limit where it tells of memory, or of an end that want of it may cause."""
    killed = any(name in text for name in ("SIGKILL", "SIGABRT"))
    return sentence(text) if killed or _TEXT.search(text) else text


def ran_out(error: BaseException) -> bool:
    """Whether an error, or one that it came from, is one of memory."""
    return any(isinstance(e, MemoryError) or _TEXT.search(str(e)) for e in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
