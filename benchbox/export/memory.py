"""Memory limit of the processes that export and count, and the sentence of those that met it."""

import re
from collections.abc import Iterator

from benchbox import host

GIB = 1 << 30
# Allocators that end the process, or raise an error of their own: C++'s, ONNX Runtime's, torch's.
_TEXT = re.compile(r"bad_?alloc|allocate memory|failed to allocate|out of memory", re.IGNORECASE)


def sentence(text: str) -> str:
    """What the limit is and how it is raised, after a text of what happened."""
    limit = host.memory_limit() / GIB
    return (
        f"{text}; it may use {limit:.1f} GiB of memory, by default half of what is free: "
        f"BENCHBOX_MEMORY_LIMIT={2 * limit:.0f}G allows more"
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
