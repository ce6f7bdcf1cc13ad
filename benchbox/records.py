"""Runs on disk: append-only JSON Lines, a context line and then one record per case.

Schema history:
    1.0  context and record lines
Readers ignore fields they do not know and refuse a newer major version.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from benchbox.errors import RecordError, StorageError
from benchbox.samples import Burst, Latency
from benchbox.stats import Interval

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind
    fcntl = None  # type: ignore[assignment]

SCHEMA = "1.0"
ELSEWHERE = "choose another folder with --results"
Status = Literal["ok", "imprecise", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class SpecFacts:
    """What a report needs of a spec, so that it can be made without the spec's file."""

    name: str
    title: str
    sha256: str
    guideline: str = ""
    source: str = ""
    group_by: str = ""
    claim: Mapping[str, Any] | None = None
    published_unit: str | None = None
    published_device: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """What all cases of a run share: program, device, libraries, plan, specs."""

    name: str
    created: str
    benchbox: str
    device: str
    provider: str
    threads: int
    channels: str
    seed: int
    plan: Mapping[str, Any]
    specs: Sequence[SpecFacts]
    host: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    cpus: Sequence[int] = ()
    affinity: Sequence[str] | None = None
    schema: str = SCHEMA

    def spec(self, name: str) -> SpecFacts:
        """Return the facts of the spec of that name."""
        return next((spec for spec in self.specs if spec.name == name), SpecFacts(name, name, ""))


@dataclass(frozen=True, slots=True)
class Record:
    """One case of a run: what it was, what it costs, what was measured.

    `cost` is what benchbox.costs counted, as JSON types; None for a case without a graph.
    `relative` is its latency over that of the group's reference, from the rounds that they share.
    `index` is the place of the case in its run.
    """

    index: int
    spec: str
    case: str
    labels: Mapping[str, Any]
    args: Mapping[str, Any]
    group: str
    reference: str
    batch: int
    dtype: str
    inputs: Sequence[str]
    status: Status
    reason: str = ""
    channels: str | None = None
    published: float | None = None
    printed: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    graph: Mapping[str, Any] | None = None
    cost: Mapping[str, Any] | None = None
    load_s: float | None = None
    first_call_s: float | None = None
    warmup_calls: int | None = None
    peak_rss_bytes: int | None = None
    affinity: Sequence[str] | None = None
    latency: Latency | None = None
    relative: Interval | None = None
    bursts: Sequence[Burst] = ()

    @property
    def key(self) -> str:
        """The name of this case in a run of several specs."""
        return f"{self.spec}:{self.case}"


@dataclass(frozen=True, slots=True)
class Run:
    """A run as read from its file: of several records of one case the last one counts."""

    path: Path
    context: Context
    records: Sequence[Record]
    warnings: Sequence[str] = ()

    def record(self, key: str) -> Record | None:
        """Return the record of the case `key`."""
        return next((record for record in self.records if record.key == key), None)


class Writer:
    """A run's file, locked, open for appending; a record is on disk when `append` returns."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def append(self, record: Record) -> None:
        """Write one record; raises StorageError, and then the file ends at the record before."""
        self._write({"kind": "record", **_plain(record)})

    def write_context(self, context: Context) -> None:
        """Write the first line."""
        self._write({"kind": "context", "schema": context.schema, **_plain(context)})

    def _write(self, line: Mapping[str, object]) -> None:
        data = json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        end = os.lseek(self._descriptor, 0, os.SEEK_END)
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
            os.fsync(self._descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, end)
            raise StorageError(f"{self.path}: cannot be written: {error.strerror}") from None

    def close(self) -> None:
        """Close the file; its lock goes with it."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def now() -> str:
    """Return the time as contexts carry it: UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def create(folder: Path, context: Context) -> Writer:
    """Make <folder>/<device>/<utc>-<name>.jsonl with its context line.

    Two runs that start in one second get two files. Raises StorageError when it cannot be written.
    """
    place = folder / context.device
    stem = f"{context.created.translate(str.maketrans('', '', '-:'))}-{context.name}"
    try:
        place.mkdir(parents=True, exist_ok=True)
        path, descriptor = _open_new(place, stem)
    except OSError as error:
        raise StorageError(
            f"{place}: results cannot be written: {error.strerror}; {ELSEWHERE}"
        ) from None
    _lock(path, descriptor)
    writer = Writer(path, descriptor)
    try:
        writer.write_context(context)
    except StorageError:
        writer.close()
        path.unlink(missing_ok=True)
        raise
    return writer


def check_writable(place: Path) -> None:
    """Raise StorageError unless files can be made in a folder; it is made where it is missing."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place) as file:
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

    Raises RecordError when another process has it open, StorageError when it cannot be written.
    """
    try:
        descriptor = os.open(run.path, os.O_RDWR)
    except OSError as error:
        raise StorageError(f"{run.path}: cannot be written: {error.strerror}") from None
    _lock(run.path, descriptor)
    with run.path.open("rb") as file:
        complete = file.read().rfind(b"\n") + 1
    os.ftruncate(descriptor, complete)
    return Writer(run.path, descriptor)


def _lock(path: Path, descriptor: int) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise RecordError(f"{path}: another run is writing to it; wait for its end") from None
    except OSError:
        return  # a file system without locks


def latest(folder: Path, device: str, name: str | None = None) -> Path | None:
    """Return the newest run on that device, of that name where one is given; None without any."""
    paths = [p for p in (folder / device).glob("*Z-*.jsonl") if name in (None, _name(p.stem))]
    return max(paths, key=lambda path: (path.stem[:16], path.stat().st_mtime), default=None)


def _name(stem: str) -> str:
    """Return the run's name in `20261121T220007Z-g2` or, of two in one second, `...Z-g2~2`."""
    return stem.partition("Z-")[2].partition("~")[0]


def read(path: Path) -> Run:
    """Read a run's file.

    A truncated last line is left out and named in `warnings`. Raises RecordError for a file that is
    not a run, is broken before its last line, or has a newer major schema.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from None
    warnings = []
    if lines[-1]:
        warnings.append(f"{path}: the last line is truncated and was left out")
    context: Context | None = None
    records: dict[str, Record] = {}
    for number, line in enumerate(lines[:-1], start=1):
        data = _parse(path, number, line)
        if number == 1:
            context = _context(path, data)
        elif data.get("kind") == "record":
            record = _record(path, number, data)
            records[record.key] = record
    if context is None:
        raise RecordError(f"{path}: not a run: it has no context line")
    return Run(path, context, ordered(records.values()), warnings)


def ordered(found: Iterable[Record]) -> list[Record]:
    """Return records in the order of their cases in the run."""
    return sorted(found, key=lambda record: record.index)


def _parse(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except ValueError as error:
        raise RecordError(f"{path}: line {number} is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise RecordError(f"{path}: line {number} is not a JSON object")
    return data


def _context(path: Path, data: dict[str, Any]) -> Context:
    if data.get("kind") != "context":
        raise RecordError(f"{path}: not a run: its first line is no context")
    schema = str(data.get("schema", ""))
    if schema.split(".")[0] != SCHEMA.split(".")[0]:
        raise RecordError(
            f"{path}: schema {schema}, this benchbox reads {SCHEMA}; "
            f"use the benchbox that wrote it ({data.get('benchbox', 'unknown')}) or a newer one"
        )
    try:
        specs = [SpecFacts(**_known(SpecFacts, spec)) for spec in data["specs"]]
        return Context(**{**_known(Context, data), "specs": specs})
    except (AttributeError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: line 1: {_what(error)}") from None


def _record(path: Path, number: int, data: dict[str, Any]) -> Record:
    try:
        latency, relative = data.get("latency"), data.get("relative")
        return Record(
            **{
                **_known(Record, data),
                "latency": None if latency is None else Latency.from_json(latency),
                "relative": None if relative is None else Interval(**relative),
                "bursts": [Burst.from_json(burst) for burst in data.get("bursts", ())],
            }
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: line {number}: {_what(error)}") from None


def _known(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in cls.__dataclass_fields__ if name in data}  # type: ignore[attr-defined]


def _what(error: Exception) -> str:
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON is whatever the dataclasses hold
    """Return dataclasses as dicts, all the way down; fields at their default are left out."""
    if hasattr(value, "__dataclass_fields__"):
        fields = value.__dataclass_fields__.values()
        pairs = ((f, getattr(value, f.name)) for f in fields)
        return {f.name: _plain(v) for f, v in pairs if f.default is MISSING or v != f.default}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
