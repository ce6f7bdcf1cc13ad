"""Reader of runs: finds the newest in a folder, and validates a file line by line."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from benchbox.devices import host_schema
from benchbox.errors import RecordError
from benchbox.records.model import (
    SCHEMA,
    Context,
    Record,
    Run,
    ordered,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Head:
    """The fields of a line that decide whether and as what it is read."""

    kind: Any = None
    schema: Any = ""
    run: Any = None
    benchbox: Any = "unknown"


@dataclass(frozen=True, slots=True)
class CostFields:
    """The fields of a record's `cost` that reports compute with."""

    macs: int
    params: int
    memory_access_bytes: int | None = None
    uncounted: tuple[str, ...] = ()
    ops: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlanFields:
    """The fields of a context's `plan` that reports compute with."""

    margin: float | None = None


def latest(folder: Path, device: str, name: str | None = None) -> Path | None:
    """The newest run on a device, of that name where one is given; None without any."""
    paths = [p for p in (folder / device).glob("*Z-*.jsonl") if name in (None, _name(p.stem))]
    return max(paths, key=lambda path: (path.stem[:16], path.stat().st_mtime), default=None)


def _name(stem: str) -> str:
    """The run's name in `20261121T220007Z-g2` or, of two in one second, `...Z-g2~2`."""
    return stem.partition("Z-")[2].partition("~")[0]


def read(path: Path) -> Run:
    """Read a file with one run; raises RecordError for another, or one that holds several."""
    first, *others = read_all(path)
    if others:
        raise RecordError(
            f"{path}: it holds {1 + len(others)} runs, the second of {others[0].context.device}; "
            "give each run, from its context line on, a file of its own"
        )
    return first


def read_all(path: Path) -> list[Run]:
    """Read the runs of a file, each of which begins with its context line.

    A truncated last line is left out and named in `warnings`. Raises RecordError for a file that is
    not a run, is broken before its last line, has a newer major schema, or a record of another run.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from None
    warnings = []
    if lines.pop():
        warnings.append(f"{path}: the last line is truncated and was left out")
    if not lines:
        raise RecordError(f"{path}: not a run: it has no context line")
    found: list[tuple[Context, dict[tuple[str, str], Record]]] = []
    for number, line in enumerate(lines, start=1):
        place = f"{path}: line {number}"
        head = _parse(place, Head, line)
        if head.kind == "context":
            found.append((_context(path, place, head, line), {}))
        elif not found:
            raise RecordError(f"{path}: not a run: its first line is no context")
        elif head.kind == "record":
            context, records = found[-1]
            record = _record(place, head, context, line)
            records.pop((record.key, record.sha256), None)  # the last one stands last
            records[record.key, record.sha256] = record
    runs = [_run(path, context, records.values()) for context, records in found]
    return [*runs[:-1], replace(runs[-1], warnings=warnings)]


def _run(path: Path, context: Context, found: Iterable[Record]) -> Run:
    newest = {record.key: record for record in found}
    earlier = [each for each in found if each is not newest[each.key] and each.has_samples]
    return Run(path, context, ordered(newest.values()), (), ordered(earlier))


def _record(place: str, head: Head, context: Context, line: bytes) -> Record:
    if head.run not in (None, context.run):
        raise RecordError(
            f"{place}: a record of another run ({head.run}); give each run a file of its own"
        )
    record = _parse(place, Record, line)
    if record.cost:
        _check(f"{place}: 'cost", CostFields, record.cost)
    return record


def _context(path: Path, place: str, head: Head, line: bytes) -> Context:
    schema = str(head.schema)
    if schema.split(".")[0] != SCHEMA.split(".")[0]:
        raise RecordError(
            f"{path}: schema {schema}, this benchbox reads {SCHEMA}; "
            f"use the benchbox that wrote it ({head.benchbox}) or a newer one"
        )
    context = _parse(place, Context, line)
    if name := host_schema.wrong(host_schema.Host, context.host):
        raise RecordError(f"{place}: 'host.{name}' is of a wrong type")
    _check(f"{place}: 'plan", PlanFields, context.plan)
    return context


@cache
def _adapter(cls: type) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def _parse(place: str, cls: type[T], line: bytes) -> T:
    """Parse a line of JSON; raises RecordError with the first field that is missing or wrong."""
    adapter: TypeAdapter[T] = _adapter(cls)  # type: ignore[arg-type]  # a class is hashable
    try:
        try:
            return adapter.validate_json(line, strict=True)
        except ValidationError as error:
            if error.errors(include_url=False)[0]["type"] != "json_invalid":
                raise
        # Half a surrogate pair, of a file's name that is no UTF-8, is JSON for Python alone.
        return adapter.validate_python(_loads(place, line))
    except ValidationError as error:
        raise RecordError(f"{place}{_first(error)}") from None


def _check(place: str, cls: type, value: object) -> None:
    """Raise RecordError for the first field that is missing or wrong; other fields may be there."""
    try:
        _adapter(cls).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        what = "is missing" if first["type"] == "missing" else "is of a wrong type"
        name = ".".join(map(str, first["loc"]))
        raise RecordError(f"{place}.{name}' {what}") from None


def _loads(place: str, line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{place} is not JSON: {error}") from None


def _first(error: ValidationError) -> str:
    """The first error of a line in words, with its field."""
    first = error.errors(include_url=False)[0]
    if not first["loc"]:
        return " is not a JSON object"
    what = "is missing" if first["type"] == "missing" else "is of a wrong type"
    name = ".".join(map(str, first["loc"])).removesuffix(".int")  # of `int | float` the first
    return f": {name!r} {what}"
