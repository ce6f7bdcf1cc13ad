"""Files of graphs: those that lie beside each other, their hashes, and their way to a device."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from benchbox import host
from benchbox.errors import AgentError, CaseError
from benchbox.specs import onnx_file
from benchbox.transports.channel import ChannelClosed

CHUNK = 1 << 18
NPY = ".npy"  # of the values of an input

# A file's name, the bytes of it that are sent, its size: None while it is yet being made here.
Progress = Callable[[str, int, int | None], None]


def ignore(_name: str, _sent: int, _size: int | None) -> None:
    """Report no progress."""


def chunks(file: BinaryIO, size: int, start: int = 0) -> Iterator[bytes]:
    """Yield the bytes from `start` to `size`, whatever becomes of the file: they are waited for."""
    file.seek(start)
    size -= start
    while size:
        chunk = file.read(min(size, CHUNK)) or bytes(min(size, CHUNK))
        size -= len(chunk)
        yield chunk


def reported(
    size: int, start: int, sent: Iterable[bytes], report: Callable[[int, int], None]
) -> Iterator[bytes]:
    """Yield the chunks of a file from `start` on; report how many bytes are sent, and its size."""
    for chunk in sent:
        report(start, size)
        yield chunk
        start += len(chunk)
    report(size, size)


def digest(path: Path) -> str:
    """The sha256 of a file."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=4096)  # each session asks again
def _sha256(path: Path, _size: int, _changed_ns: int) -> str:
    return host.sha256(path)


def path_of(
    graph: Path,
    folder: str,
    push: Callable[[Mapping[str, Path]], Mapping[str, str]],
    gather: Callable[[Mapping[str, Path]], str],
) -> str:
    """The path on a device of a graph or values here, pushed if they are not there yet.

    `push` keeps files in a folder there and returns their names in it, `gather` gives those that
    lie beside each other a folder of their own. Raises CaseError when that cannot be, AgentError
    when the link is lost.
    """
    beside = [] if graph.suffix == NPY else onnx_file.external_files(graph)
    files = {name: graph.parent / name for name in [graph.name, *beside]}
    try:
        if len(files) == 1:
            return f"{folder}/{push(files)[graph.name]}"
        return f"{gather(files)}/{graph.name}"
    except ChannelClosed as closed:
        raise AgentError(f"the agent is gone: {closed}") from None
    except OSError as error:
        raise CaseError(f"{graph.name}: cannot be read: {error.strerror}") from None
