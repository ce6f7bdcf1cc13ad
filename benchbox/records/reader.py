"""Runs found and read."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from benchbox.analysis.arrival import Arrival
from benchbox.analysis.gpu_time import Spans
from benchbox.analysis.samples import Burst, Latency
from benchbox.analysis.states import Gate
from benchbox.analysis.stats import Interval
from benchbox.analysis.sustained import Sustained
from benchbox.devices import host_schema
from benchbox.errors import RecordError
from benchbox.records.cooldown import Cooldown
from benchbox.records.model import SCHEMA, Context, Record, Run, SpecFacts, ordered


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
            _check(path, number, Context, line)
        elif data.get("kind") == "record":
            record = _record(path, number, data)
            _check(path, number, Record, line)
            records[record.key] = record
    if context is None:
        raise RecordError(f"{path}: not a run: it has no context line")
    return Run(path, context, ordered(records.values()), warnings)


def _parse(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
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
        if name := host_schema.wrong(host_schema.Host, data.get("host", {})):
            part = "host" if name == host_schema.WHOLE else f"host.{name}"
            raise TypeError(f"{part!r} is of a wrong type")
        specs = [SpecFacts(**_known(SpecFacts, spec)) for spec in data["specs"]]
        return Context(**{**_known(Context, data), "specs": specs})
    except (AttributeError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: line 1: {_what(error)}") from None


def _record(path: Path, number: int, data: dict[str, Any]) -> Record:
    try:
        latency, relative = data.get("latency"), data.get("relative")
        arrival, sustained = data.get("arrival"), data.get("sustained")
        spans = data.get("spans")
        return Record(
            **{
                **_known(Record, data),
                "latency": None if latency is None else Latency.from_json(latency),
                "spans": None if spans is None else Spans.from_json(spans),
                "relative": None if relative is None else Interval(**relative),
                "arrival": None if arrival is None else Arrival.from_json(arrival),
                "sustained": None if sustained is None else Sustained.from_json(sustained),
                "cooldowns": tuple(map(Cooldown.from_json, data.get("cooldowns", ()))),
                "gate": Gate.from_json(data.get("gate", {})),
                "bursts": [Burst.from_json(burst) for burst in data.get("bursts", ())],
            }
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: line {number}: {_what(error)}") from None


@cache
def _types(cls: type) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def _check(path: Path, number: int, cls: type, line: bytes) -> None:
    """Raise RecordError unless a line holds what the fields of a class are annotated with."""
    try:
        _types(cls).validate_json(line, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        # Half a surrogate pair, of a file's name that is no UTF-8, is JSON for Python alone.
        if first["type"] != "json_invalid":
            name = ".".join(map(str, first["loc"]))
            raise RecordError(f"{path}: line {number}: {name!r} is of a wrong type") from None


def _known(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in cls.__dataclass_fields__ if name in data}  # type: ignore[attr-defined]


def _what(error: Exception) -> str:
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
