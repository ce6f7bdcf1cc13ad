"""What of a graph must be on a device: its file and those beside it, their hashes, their bytes."""

import functools
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from benchbox import host
from benchbox.specs import onnxfile

CHUNK = 1 << 18


def chunks(file: BinaryIO, size: int, start: int = 0) -> Iterator[bytes]:
    """Yield the bytes from `start` to `size`, whatever becomes of the file: they are waited for."""
    file.seek(start)
    size -= start
    while size:
        chunk = file.read(min(size, CHUNK)) or bytes(min(size, CHUNK))
        size -= len(chunk)
        yield chunk


def digest(path: Path) -> str:
    """Return the sha256 of a file."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=4096)  # each session asks again
def _sha256(path: Path, _size: int, _changed_ns: int) -> str:
    return host.sha256(path)


def beside(path: Path) -> list[str]:
    """Return the files that must lie beside a graph; onnx is imported only if there may be some."""
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return []
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content.find(b"location") < 0:  # the key that names an external file
                return []
    return onnxfile.external_files(path)
