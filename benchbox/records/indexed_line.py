"""Line of a record as far as the index has it."""

import math
import struct
from dataclasses import dataclass

from benchbox.analysis.quantities import Amount, Number, Ratio
from benchbox.records.model import Record, Status
from benchbox.records.reader import Head
from benchbox.specs import COMPARE, timed_alone

# P50, the ends of its interval, and what takes it to another state: slopes of three sentinels,
# their standard errors, and the usual readings in ns. NaN is not known.
PACKED = struct.Struct("12d")


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


def followed(line: IndexedLine | Record) -> str:
    """The name of a case in histories, the same timed alone and beside others; none of old graphs.

    Those are a revision's, each time another's.
    """
    if line.spec == COMPARE and "@" in line.case and line.case == line.reference:
        return ""
    return ":".join(timed_alone(line.spec, line.case))


def packed(line: IndexedLine | Record) -> bytes:
    """The latency and the adjustment of a record, PACKED; nothing without a latency."""
    found, adjusted = line.latency, line.adjustment
    if found is None:
        return b""
    values: list[float | None] = [found.p50_s, found.ci_low_s, found.ci_high_s]
    if adjusted:
        its = adjusted.slopes
        values += [its.clock, its.memory, its.refill, its.clock_se, its.memory_se, its.refill_se]
        values += [adjusted.usual_compute_ns, adjusted.usual_stream_ns, adjusted.usual_refill_ns]
    values += [None] * (PACKED.size // 8 - len(values))
    return PACKED.pack(*(math.nan if each is None else each for each in values))
