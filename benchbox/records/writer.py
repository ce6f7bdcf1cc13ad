"""Writer of runs: append-only JSON Lines, locked, each record on disk before the next is timed."""

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Self

from benchbox import host
from benchbox.analysis.samples import Burst
from benchbox.errors import RecordError, StorageError
from benchbox.records.model import PACKED, PROFILE, RECORD, Context, Record, Run, SpecFacts
from benchbox.records.profile import CaseProfile
from benchbox.records.reader import NO_DATE, dated, is_whole

ELSEWHERE = "choose another folder with --results"


class Writer:
    """A run's file, locked, open for appending; a record is on disk when `append` returns."""

    def __init__(self, path: Path, descriptor: int, context: Context) -> None:
        self.path = path
        self._descriptor, self._context = descriptor, context

    def append(self, *records: Record) -> None:
        """Write records; raises StorageError, and then the file ends at what was there before."""
        self._write(*(_record_line(self._context, record) for record in records))

    def append_profile(self, profile: CaseProfile) -> None:
        """Write the profile of a case, likewise."""
        self._write({"kind": PROFILE, "run": self._context.run, **_parts(profile)})

    def write_context(self) -> None:
        """Write the first line."""
        self._write(_context_line(self._context))

    def _write(self, *lines: Mapping[str, object]) -> None:
        data = "".join(map(_text, lines)).encode()
        end = os.lseek(self._descriptor, 0, os.SEEK_END)
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
            os.fsync(self._descriptor)
            if self.is_deleted:
                raise FileNotFoundError(errno.ENOENT, "the file was deleted")
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, end)
            raise StorageError(f"{self.path}: cannot be written: {error.strerror}") from None

    @property
    def is_deleted(self) -> bool:
        """Whether the file has no name any more, so that what is written to it is lost."""
        return not os.fstat(self._descriptor).st_nlink

    def close(self) -> None:
        """Close the file; its lock goes with it."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def compact(path: Path, context: Context) -> None:
    """Write a finished run's file anew without the records that later ones replaced.

    A newer benchbox may have written fields and lines that this one does not know: they stay. When
    the file cannot be written the old one does.
    """
    with contextlib.suppress(OSError, ValueError):
        first, *lines = map(json.loads, filter(bytes.strip, host.read_file(path).splitlines()))
        kept = {**first, **json.loads(_text(_context_line(context)))}
        before = {spec["name"]: spec for spec in first["specs"]}
        kept["specs"] = [
            _unknown(before.get(spec["name"], {}), SpecFacts) | spec for spec in kept["specs"]
        ]
        host.write(path, "".join(map(_text, [kept, *_last(lines)])))


def _last(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last record of each case and graph, where it has samples or is its case's newest."""
    others, last = list[dict[str, Any]](), dict[tuple[str, str, str], dict[str, Any]]()
    for line in lines:
        if line.get("kind") != RECORD:
            others.append(line)
            continue
        graph = (line["spec"], line["case"], (line.get("graph") or {}).get("sha256", ""))
        last[graph] = _with_unknown(line, last.pop(graph, {}))
    newest = {graph[:2]: line for graph, line in last.items()}
    return others + [
        line
        for graph, line in last.items()
        if line is newest[graph[:2]] or line.get("bursts") or line.get("sustained")
    ]


def _with_unknown(line: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """A record's line with the fields that are unknown here of the line that it replaces."""
    for burst, was in zip(line.get("bursts", ()), before.get("bursts", ()), strict=False):
        burst.update(_unknown(was, Burst))
    for name in line.keys() & before.keys() & {"graph", "cost"}:  # of one graph, both of them
        line[name] = {**before[name], **line[name]}
    return _unknown(before, Record) | line


def _unknown(line: Mapping[str, Any], cls: type) -> dict[str, Any]:
    known = {"kind", "run", *(field.name for field in fields(cls))}
    return {name: value for name, value in line.items() if name not in known}


def _context_line(context: Context) -> dict[str, object]:
    return {"kind": "context", "schema": context.schema, **_parts(context)}


def _record_line(context: Context, record: Record) -> dict[str, object]:
    return {"kind": RECORD, "run": context.run, **_parts(record)}


def text(run: Run) -> str:
    """The lines of a run's file, as they are written one by one."""
    records = [_record_line(run.context, record) for record in run.records]
    return "".join(map(_text, [_context_line(run.context), *records]))


def _text(line: Mapping[str, object]) -> str:
    return json.dumps(line, separators=(",", ":"), allow_nan=False, default=_parts) + "\n"


def now() -> str:
    """The time as contexts carry it: UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def create(folder: Path, context: Context) -> Writer:
    """Make <folder>/<device>/<utc>-<name>.jsonl with its context line.

    Two runs that start in one second get two files. Raises StorageError when it cannot be written.
    """
    place = folder / context.device
    stem = f"{_date(folder, context)}-{context.name}"
    try:
        place.mkdir(parents=True, exist_ok=True)
        path, descriptor = _open_new(place, stem)
    except OSError as error:
        raise StorageError(
            f"{place}: results cannot be written: {error.strerror}; {ELSEWHERE}"
        ) from None
    _lock(path, descriptor)
    writer = Writer(path, descriptor, context)
    try:
        writer.write_context()
    except StorageError:
        writer.close()
        path.unlink(missing_ok=True)
        raise
    return writer


def _date(folder: Path, context: Context) -> str:
    """The date in the name of a new file: its run's, as long as that makes it the newest.

    A clock that once ran ahead has left files with dates that are still to come.
    """
    own = context.created.translate(str.maketrans("", "", "-:"))
    newest = max(map(dated, folder.glob("*/*Z-*.jsonl*")), default=NO_DATE)
    if newest <= max(dated(Path(own)), datetime.now(UTC)):
        return own
    return f"{newest + timedelta(seconds=1):%Y%m%dT%H%M%SZ}"


def check_writable(place: Path) -> None:
    """Raise StorageError unless files can be made in a folder, or else the folder."""
    there = place
    while not there.exists() and there.parent != there:
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"benchbox")
    except OSError as error:
        raise StorageError(
            f"{place}: results cannot be written: {error.strerror}; {ELSEWHERE}"
        ) from None


def _open_new(place: Path, stem: str) -> tuple[Path, int]:
    for number in range(1, 1000):
        path = place / (f"{stem}.jsonl" if number == 1 else f"{stem}~{number}.jsonl")
        with contextlib.suppress(FileExistsError):
            return path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    raise FileExistsError(17, "a thousand runs of that name in one second")


def reopen(run: Run) -> Writer:
    """Open a run's file to append to it; a truncated last line is cut off first.

    Raises RecordError when another process has it open or has just replaced it, StorageError when
    it cannot be written.
    """
    if run.path.suffix == PACKED:
        raise RecordError(f"{run.path}: it is archived; gunzip it to go on with it")
    try:
        descriptor = os.open(run.path, os.O_RDWR)
    except OSError as error:
        raise StorageError(f"{run.path}: cannot be written: {error.strerror}") from None
    _lock(run.path, descriptor)
    if os.fstat(descriptor).st_ino != run.path.stat().st_ino:
        os.close(descriptor)
        raise RecordError(f"{run.path}: another run has just finished it; try again")
    with os.fdopen(os.dup(descriptor), "rb") as file:
        data = file.read()
    complete = data.rfind(b"\n") + 1
    if is_whole(data[complete:]):
        os.pwrite(descriptor, b"\n" if data[complete:] else b"", len(data))
    else:
        os.ftruncate(descriptor, complete)
    return Writer(run.path, descriptor, run.context)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a file's lock, so that no run goes on with it; raises RecordError where one does."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    _lock(path, descriptor)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(path: Path, descriptor: int) -> None:
    if not host.lock(descriptor):
        os.close(descriptor)
        raise RecordError(f"{path}: another run is writing to it; wait for its end")


@cache
def _defaults(kind: type) -> list[tuple[str, object]]:
    """The names of a dataclass's fields, with their defaults."""
    return [
        (each.name, each.default if each.default_factory is MISSING else each.default_factory())
        for each in fields(kind)
    ]


def _parts(value: Any) -> dict[str, Any]:  # noqa: ANN401 - what JSON has no word for
    """A mapping as a dict, and so a dataclass without fields at their default."""
    if isinstance(value, Mapping):
        return dict(value)
    usual = _defaults(type(value))  # type: ignore[arg-type]  # a class is hashable
    return {name: part for name, at in usual if (part := getattr(value, name)) != at}
