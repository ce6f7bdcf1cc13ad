"""Reader of runs: finds the newest in a folder, and validates a file line by line."""

import contextlib
import gzip
import json
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, TypeVar

from benchbox import host
from benchbox.analysis.quantities import Limits, wrong_field
from benchbox.analysis.samples import NS, figures
from benchbox.errors import BrokenRecordError, RecordError
from benchbox.lines import one_line
from benchbox.records.model import (
    PACKED,
    PROFILE,
    RECORD,
    SCHEMA,
    SUFFIXES,
    Context,
    Record,
    Run,
    ordered,
    stem,
)
from benchbox.records.profile import CaseProfile
from benchbox.records.summary import summarised

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")
NO_DATE = datetime.min.replace(tzinfo=UTC)
NO_DATE_FROM = 9000  # a year that nobody means
ROUNDING = 1e-9
ADJUSTED = 4.0  # how far from all samples the machine's usual state can be
MOST_SHOWN = 100  # characters
DENSEST = 100  # times the size of an archived run; records take five times
LONGEST_CONTEXT = 1 << 20  # bytes
SAMPLES = b',"bursts":['  # begins the last field of a record as it is written
Version = Annotated[str, Limits(pattern=r"^[\w.+-]{0,40}$")]


@dataclass(frozen=True, slots=True)
class Head:
    """The fields of a line that decide whether and as what it is read."""

    kind: Any = None
    schema: Version = ""
    run: Any = None
    benchbox: Version = "unknown"


H = TypeVar("H", bound=Head)


def latest(folder: Path, device: str, name: str | None = None) -> Path | None:
    """The newest run on a device, of that name where one is given; None without any."""
    return next(iter(newest_first([folder / device], named(name))), None)


def named(name: str | None) -> Callable[[Path], bool]:
    """Whether a file is of a run of that name, of any where none is given."""
    return lambda path: name in (None, name_of(stem(path)))


def newest_first(
    folders: Iterable[Path], is_wanted: Callable[[Path], bool] = lambda _: True
) -> list[Path]:
    """The files of runs in the folders of devices, of those that are wanted."""
    found = [folder / name for folder in folders for name in runs(_listed(folder))]
    dates = {path: dated(path) for path in found if is_wanted(path)}
    alike = Counter(dates.values())
    return sorted(
        dates,
        key=lambda path: (dates[path], _changed_s(path) if alike[dates[path]] > 1 else 0.0),
        reverse=True,
    )


def _listed(folder: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return os.listdir(folder)  # noqa: PTH208 - of 10,000 files it makes no paths
    return []


def runs(names: Iterable[str]) -> list[str]:
    """The names of a folder's files that are runs: of one packed beside its plain file that."""
    found = dict.fromkeys(name for name in names if "Z-" in name and name.endswith(SUFFIXES))
    return [n for n in found if not (n.endswith(PACKED) and n.removesuffix(PACKED) in found)]


def dated(path: Path) -> datetime:
    """The date in the name of a run's file, the first of all where there is none."""
    try:
        found = datetime.fromisoformat(path.name[:16])
    except ValueError:
        return NO_DATE
    return found if found.tzinfo and found.year < NO_DATE_FROM else NO_DATE


def _changed_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # gone, or a link to nothing
        return 0.0


def name_of(stem: str) -> str:
    """The run's name in `20261121T220007Z-g2` or, of two in one second, `...Z-g2~2`."""
    return stem.partition("Z-")[2].partition("~")[0]


def read(path: Path, data: bytes | None = None, *, with_samples: bool = True) -> Run:
    """Read a file with one run; raises RecordError for another, or one that holds several.

    With `data` of a file that is elsewhere, the path is what it is called.
    """
    first, *others = read_all(path, data, with_samples=with_samples)
    if others:
        second = one_line(others[0].context.device)[:MOST_SHOWN]
        raise RecordError(
            f"{path}: it holds {1 + len(others)} runs, the second of {second}; "
            "give each run, from its context line on, a file of its own"
        )
    return first


def read_all(path: Path, data: bytes | None = None, *, with_samples: bool = True) -> list[Run]:
    """Read the runs of a file, each of which begins with its context line.

    A truncated last line is left out and named in `warnings`, blank lines are passed over. Without
    samples records have but what tables say of these. Raises RecordError for a file that is not a
    run, is broken before its last line, has a newer major schema, or a record of another run.
    """
    found: list[tuple[Context, dict[tuple[str, str], Record], list[CaseProfile]]] = []
    warnings = list[str]()
    for place, head, line in scan(path, Head, warnings, data):
        if isinstance(head, Context):
            found.append((head, {}, []))
            continue
        context, records, profiles = found[-1]
        if head.kind == PROFILE:
            profiles.append(parse(place, CaseProfile, line))
            continue
        record = _record(place, line)
        records.pop((record.key, record.sha256), None)  # the last one stands last
        records[record.key, record.sha256] = record if with_samples else summarised(record, context)
    runs = [_run(path, context, own.values(), profiles) for context, own, profiles in found]
    return [*runs[:-1], replace(runs[-1], warnings=warnings)]


def scan(
    path: Path, cls: type[H], warnings: list[str], data: bytes | None = None
) -> Iterator[tuple[str, H | Context, bytes]]:
    """Yield place, head and text of each record and profile in a file, after their context.

    Raises RecordError as `read_all` does, but for what the head has not of a record.
    """
    context: Context | None = None
    for number, line in enumerate(_lines(path, data), 1):
        place = f"{path}: line {number}"
        if not (line.endswith(b"\n") or is_whole(line)):
            warnings.append(f"{path}: the last line is truncated and was left out")
        elif not line.isspace():
            head = _head(place, cls, line)
            if head.kind == "context":
                context = _context(path, place, head, line)
                yield place, context, line
            elif context is None:
                raise BrokenRecordError(f"{path}: not a run: its first line is no context")
            elif head.kind in (RECORD, PROFILE):
                _require_own(place, head, context)
                yield place, head, line
    if context is None:
        raise BrokenRecordError(f"{path}: not a run: it has no context line")


def _lines(path: Path, data: bytes | None) -> Iterator[bytes]:
    """Yield the lines of a file, or of its data; raises RecordError where it cannot be read."""
    try:
        with host.opened(path) if data is None else BytesIO(data) as file:
            yield from _unpacked(file) if path.suffix == PACKED and data is None else file
    except (OSError, EOFError, zlib.error) as error:
        kind = RecordError if isinstance(error, FileNotFoundError) else BrokenRecordError
        why = getattr(error, "strerror", None) or error
        raise kind(f"{path}: cannot be read: {why}") from None


def _unpacked(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of an archived file; raises OSError for one that is bound to be no run."""
    left = DENSEST * os.fstat(file.fileno()).st_size
    with gzip.open(file) as unpacked:
        while line := unpacked.readline(left + 1):
            left -= len(line)
            if left < 0:
                raise gzip.BadGzipFile(f"it is more than {DENSEST} times as large unpacked")
            yield line


def _head(place: str, cls: type[H], line: bytes) -> H:
    """The head of a line, of a record as a rule without its samples, which are most of it."""
    if (end := line.find(SAMPLES)) >= 0:
        with contextlib.suppress(RecordError):
            head = parse(place, cls, line[:end] + b"}")
            if head.kind:
                return head
    return parse(place, cls, line)


def _run(
    path: Path, context: Context, found: Iterable[Record], profiles: Sequence[CaseProfile]
) -> Run:
    newest = {record.key: record for record in found}
    earlier = [each for each in found if each is not newest[each.key] and each.has_samples]
    return Run(path, context, ordered(newest.values()), (), ordered(earlier), tuple(profiles))


def _require_own(place: str, head: Head, context: Context) -> None:
    if head.run not in (None, context.run):
        other = one_line(str(head.run))[:MOST_SHOWN]
        raise BrokenRecordError(
            f"{place}: a record of another run ({other}); give each run a file of its own"
        )


def _record(place: str, line: bytes) -> Record:
    from benchbox.records import parts  # here, as the index reads no record twice

    record = parse(place, Record, line)
    _check(place, parts.RecordParts, record)
    if not _is_of_bursts(record):
        raise BrokenRecordError(f"{place}: 'latency' is outside of the samples in 'bursts'")
    return record


def _is_of_bursts(record: Record) -> bool:
    """Whether figures lie between the fastest and the slowest sample, where they are of samples."""
    bursts, found = figures(record.bursts), record.latency
    if not bursts or found is None or record.sustained:
        return True
    low = min(min(burst.latencies_ns) for burst in bursts) * NS
    high = max(max(burst.latencies_ns) for burst in bursts) * NS
    factor = ADJUSTED if found.basis == "adjusted" else 1.0
    is_within = low / factor * (1 - ROUNDING) <= found.p50_s <= high * factor * (1 + ROUNDING)
    values = (found.min_s, found.raw_p50_s, found.p90_s or low, found.p99_s or low)
    return is_within and all(low * (1 - ROUNDING) <= v <= high * (1 + ROUNDING) for v in values)


def first_line(path: Path) -> bytes:
    """The first line of a run's file, which is its context; empty where it cannot be read."""
    try:
        if path.is_file():  # and no pipe, which waits for who writes to it
            with (gzip.open if path.suffix == PACKED else open)(path, "rb") as file:
                return bytes(file.readline(LONGEST_CONTEXT))
        return b""
    except (OSError, EOFError, zlib.error):
        return b""


def _context(path: Path, place: str, head: Head, line: bytes) -> Context:
    if head.schema.split(".")[0] != SCHEMA.split(".")[0]:
        raise BrokenRecordError(
            f"{path}: schema {head.schema}, this benchbox reads {SCHEMA}; "
            f"use the benchbox that wrote it ({head.benchbox}) or a newer one"
        )
    from benchbox.records import parts

    context = parse(place, Context, line)
    _check(place, parts.of_context(context.plan), context)
    return context


def is_whole(end: bytes) -> bool:
    """Whether what follows a file's last line break is no part of a line: nothing, or a whole one.

    The beginning of a JSON object is never JSON itself.
    """
    try:
        return not end.strip() or isinstance(json.loads(end), dict)
    except (ValueError, RecursionError):
        return False


@cache
def _adapter(cls: type) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def parse(place: str, cls: type[T], line: bytes) -> T:
    """Parse a line of JSON; raises RecordError with the first field that is missing or wrong."""
    from pydantic import ValidationError

    adapter: TypeAdapter[T] = _adapter(cls)  # type: ignore[arg-type]  # a class is hashable
    try:
        try:
            return adapter.validate_json(line, strict=True)
        except ValidationError as error:
            if error.errors(include_url=False)[0]["type"] != "json_invalid":
                raise
        # Half a surrogate pair, of a file's name that is no UTF-8, is JSON for Python alone: the
        # types are checked without it.
        value = _loads(place, line)
        text = json.dumps(value, ensure_ascii=False).encode(errors="replace")
        adapter.validate_json(text, strict=True)
        return adapter.validate_python(value)
    except ValidationError as error:
        raise BrokenRecordError(f"{place}{_problem(error)}") from None


def _check(place: str, cls: type, read: Context | Record) -> None:
    """Raise RecordError for the first part that is missing or wrong; others may be there."""
    from pydantic import ValidationError

    try:
        _adapter(cls).validate_python(read, from_attributes=True)
    except ValidationError as error:
        raise BrokenRecordError(f"{place}{_problem(error)}") from None


def _loads(place: str, line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BrokenRecordError(f"{place} is not JSON: {error}") from None


def _problem(error: "ValidationError") -> str:
    """The first error of a line in words, with its field."""
    name = wrong_field(error)
    if not name:
        return " is not a JSON object"
    is_missing = error.errors(include_url=False, include_input=False)[0]["type"] == "missing"
    return f": {name!r} {'is missing' if is_missing else 'is of a wrong type'}"
