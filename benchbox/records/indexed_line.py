"""Line of a record as far as the index has it, and the runs of a file with all such lines."""

import json
import math
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

from benchbox.analysis.quantities import Amount, Number, Ratio
from benchbox.errors import RecordError
from benchbox.records import differences, reader
from benchbox.records.model import RECORD, STATUSES, Context, Record, Status
from benchbox.records.reader import Head
from benchbox.specs import COMPARE, timed_alone

FACTS = [field.name for field in fields(Context) if field.name != "specs"]
# The numbers of the name and of the sha256 of the graph, P50, the ends of its interval, and what
# takes it to another state: slopes of three sentinels, their standard errors, and the usual
# readings in ns. NaN is not known.
NUMBERS, FIGURES = struct.Struct("2q"), struct.Struct("12d")
Entry = tuple[str, str, bytes]


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """The graph of a record, as far as the index has it."""

    sha256: str = ""


@dataclass(frozen=True, slots=True)
class LatencyFacts:
    """The latency of a record, as far as the index has it."""

    p50_s: Ratio
    ci_low_s: Ratio | None = None
    ci_high_s: Ratio | None = None


@dataclass(frozen=True, slots=True)
class SlopeFacts:
    """The slopes of an adjusted figure, with standard errors."""

    clock: Number
    clock_se: Amount
    memory: Number
    memory_se: Amount
    refill: Number = 0.0
    refill_se: Amount = 0.0


@dataclass(frozen=True, slots=True)
class AdjustmentFacts:
    """The adjustment of a figure, as far as the index has it."""

    slopes: SlopeFacts
    usual_compute_ns: Ratio
    usual_stream_ns: Ratio
    usual_refill_ns: Ratio | None = None


@dataclass(frozen=True, slots=True)
class IndexedLine(Head):
    """A line of a file, as far as the index has it."""

    spec: str = ""
    case: str = ""
    reference: str = ""
    status: Status = "skipped"
    graph: GraphFacts | None = None
    latency: LatencyFacts | None = None
    adjustment: AdjustmentFacts | None = None

    @property
    def sha256(self) -> str:
        """The sha256 of the graph, empty without one."""
        return self.graph.sha256 if self.graph else ""


class Rows(NamedTuple):
    """The rows of a run, but for its file: texts and numbers alone, as there may be very many."""

    run: tuple[str | int | None, ...]
    facts: str
    machine: str
    entries: Sequence[Entry]

    def numbered(self, numbers: dict[str, int]) -> tuple[int, bytes, list[list[int]]]:
        """Its machine, its figures, and case and graph of its entries, by the numbers of texts."""
        entries = [[number(text, numbers) for text in each[:2]] for each in self.entries]
        return number(self.machine, numbers), packed(self.entries, numbers), entries


def read(path: Path) -> tuple[list[Rows], str]:
    """The runs of a file, each with the newest record of every case; or why it cannot be read."""
    runs: list[tuple[Context, dict[tuple[str, str], IndexedLine]]] = []
    try:
        for _, line, _ in reader.scan(path, IndexedLine, []):
            if isinstance(line, Context):
                runs.append((line, {}))
            elif line.kind == RECORD:
                runs[-1][1][line.spec, line.case] = line
    except RecordError as error:
        return [], str(error).removeprefix(str(path))
    return [_rows(context, [*lines.values()]) for context, lines in runs], ""


def _rows(context: Context, lines: Sequence[IndexedLine]) -> Rows:
    counts = [sum(line.status == status for line in lines) for status in STATUSES]
    facts = {name: getattr(context, name) for name in FACTS}  # asdict takes a fifth of it all
    texts = map(storable, (context.name, context.created, context.device))
    run = (*texts, *counts, _planned(context), conditions(context))
    return Rows(run, json.dumps(facts), differences.followed(context), [*map(entry, lines)])


def _planned(context: Context) -> int | None:
    found = context.plan.get("cases")
    return found if isinstance(found, int) else None


def conditions(context: Context) -> int:
    """A number of what may change between runs of a machine, the same where nothing did."""
    return zlib.crc32(json.dumps(differences.conditions(context)).encode())


def storable(text: str) -> str:
    """A text without halves of surrogate pairs, of names that are no UTF-8."""
    return text.encode(errors="replace").decode()


def entry(line: IndexedLine | Record) -> Entry:
    """The name of a record in histories, its graph's sha256, and the FIGURES that these have."""
    name = followed(line)
    is_timed = name and line.latency and line.status in ("ok", "imprecise")
    return name, line.sha256, _figures(line) if is_timed else b""


def number(text: str, numbers: dict[str, int]) -> int:
    """The number of a text among others, the next one where it is new."""
    return numbers.setdefault(storable(text), len(numbers))


def packed(entries: Iterable[Entry], numbers: dict[str, int]) -> bytes:
    """What histories have of a run: NUMBERS and FIGURES of each case."""
    return b"".join(
        NUMBERS.pack(number(name, numbers), number(sha256, numbers)) + figures
        for name, sha256, figures in entries
        if figures
    )


def followed(line: IndexedLine | Record) -> str:
    """The name of a case in histories, the same timed alone and beside others; none of old graphs.

    Those are a revision's, each time another's.
    """
    if line.spec == COMPARE and "@" in line.case and line.case == line.reference:
        return ""
    return ":".join(timed_alone(line.spec, line.case))


def _figures(line: IndexedLine | Record) -> bytes:
    found, adjusted = line.latency, line.adjustment
    assert found
    values: list[float | None] = [found.p50_s, found.ci_low_s, found.ci_high_s]
    if adjusted:
        its = adjusted.slopes
        values += [its.clock, its.memory, its.refill, its.clock_se, its.memory_se, its.refill_se]
        values += [adjusted.usual_compute_ns, adjusted.usual_stream_ns, adjusted.usual_refill_ns]
    values += [None] * (FIGURES.size // 8 - len(values))
    return FIGURES.pack(*(math.nan if each is None else each for each in values))
