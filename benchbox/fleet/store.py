"""Store of a host's graphs: each is sent once, in parts, and checked before it has its name."""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchbox import host
from benchbox.errors import StorageError
from benchbox.export import cache
from benchbox.export.graph import MODEL
from benchbox.fleet.task import SHA256, Files, is_inside

PART_BYTES = 8 << 20
KEPT_S = 30 * 86_400.0  # without a use

Part = tuple[str, str, str, bytes]  # sha256, token of whoever sends it, name of the file, data
Whole = tuple[str, str, list[str]]  # sha256, token, names of the files beside


def path(sha256: str) -> Path:
    """The path of a file by the digest of it and of those beside it."""
    return folder() / _checked(sha256) / MODEL


def lacking(digests: Sequence[str]) -> list[str]:
    """Those that are not here; the others are used now."""
    missing = []
    for sha256 in digests:
        try:
            os.utime(path(sha256).parent)
        except OSError:
            missing.append(sha256)
    return missing


def receive(parts: Sequence[Part], whole: Sequence[Whole] = ()) -> None:
    """Append parts to files, and give those that are whole then their names.

    Raises StorageError where they cannot be written, and for one that is not what was announced.
    """
    try:
        for sha256, token, name, data in parts:
            place = _new(sha256, token) / (name if is_inside(name) else MODEL)
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("ab") as file:
                file.write(data)
        for each in whole:
            _finish(*each)
    except OSError as error:
        for sha256, token, *_ in parts:
            shutil.rmtree(_new(sha256, token), ignore_errors=True)
        raise StorageError(f"its cache cannot be written: {error.strerror}") from None


def _finish(sha256: str, token: str, beside: Sequence[str]) -> None:
    fresh = _new(sha256, token)
    if not all(map(is_inside, beside)) or cache.digest(fresh / MODEL, beside) != sha256:
        shutil.rmtree(fresh, ignore_errors=True)
        raise StorageError("a graph arrived damaged")
    with contextlib.suppress(OSError):  # another was faster
        fresh.rename(path(sha256).parent)
    shutil.rmtree(fresh, ignore_errors=True)


def keep(first: Path, sha256: str, beside: Sequence[str]) -> None:
    """Keep a file of this host, and those beside it, for others to fetch."""
    if not lacking([sha256]):
        return
    for load in loads({sha256: Files(first, beside)}):
        receive(*load)


def part(sha256: str, name: str, at: int) -> bytes:
    """A part of a file that is kept, empty at its end; raises StorageError without it."""
    place = path(sha256).parent / (name if is_inside(name) else MODEL)
    try:
        with place.open("rb") as file:
            file.seek(at)
            return file.read(PART_BYTES)
    except OSError as error:
        raise StorageError(f"its cache cannot be read: {error.strerror}") from None


def loads(files: Mapping[str, Files]) -> Iterator[tuple[list[Part], list[Whole]]]:
    """Yield what `receive` takes, so that files by sha256 are sent in few messages of some MB."""
    parts, whole, size = list[Part](), list[Whole](), 0
    for sha256, each in files.items():
        token = secrets.token_hex(32)
        for name, data in _read(each):
            parts.append((sha256, token, name, data))
            size += len(data)
            if size >= PART_BYTES:
                yield parts, whole
                parts, whole, size = [], [], 0
        whole.append((sha256, token, list(each.beside)))
    if whole:
        yield parts, whole


def _read(files: Files) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of every part of a file and of those beside it."""
    places = ((MODEL, files.path), *((each, files.path.parent / each) for each in files.beside))
    for name, place in places:
        with place.open("rb") as file:
            while data := file.read(PART_BYTES):
                yield name, data


def sweep() -> None:
    """Remove what nobody used for a month, and what was never finished."""
    with contextlib.suppress(OSError):
        for entry in folder().iterdir():
            if time.time() - entry.stat().st_mtime > KEPT_S:
                shutil.rmtree(entry, ignore_errors=True)


def folder() -> Path:
    """The folder of what this host keeps for a fleet."""
    return host.cache_folder() / "fleet"


def _new(sha256: str, token: str) -> Path:
    return folder() / f"{_checked(sha256)}.{_checked(token)[:16]}"


def _checked(sha256: str) -> str:
    if not SHA256.fullmatch(sha256):
        raise StorageError("no sha256")
    return sha256
