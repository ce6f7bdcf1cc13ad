"""Console columns of `--arrival` and `--sustained` runs."""

from collections.abc import Callable, Sequence
from statistics import median

from benchbox.analysis.stats import Interval
from benchbox.records import Record
from benchbox.report import formatting, load_text

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 24  # characters of a series
LEAST = 0.1  # of the lowest bar: less than this is drawn flat, else noise would look like a course

# Header, cell, and in which order a narrow terminal loses it.
Cell = tuple[str, Callable[[Record], str], int]


def p50_header(records: Sequence[Record]) -> str:
    """The header of the latencies."""
    if any(record.sustained for record in records):
        return "steady p50 (ms)"
    rate = next((load_text.at(record) for record in records if record.arrival), "")
    return f"p50{rate} (ms)"


def columns(records: Sequence[Record]) -> list[Cell]:
    """The columns behind the latency; none for calls in a row."""
    if any(record.sustained for record in records):
        return list(SUSTAINED)
    return list(ARRIVAL) if any(record.arrival for record in records) else []


def over_time(record: Record) -> str:
    """Draw a bar for each stretch of a series, from the lowest to the highest p50."""
    p50s = [window.p50_s for window in record.sustained.windows] if record.sustained else []
    if not p50s:
        return formatting.UNKNOWN
    count = min(WIDTH, len(p50s))
    parts = [
        median(p50s[i * len(p50s) // count : (i + 1) * len(p50s) // count]) for i in range(count)
    ]
    low = min(parts)
    span = max(max(parts) - low, LEAST * low)
    return "".join(BARS[min(len(BARS) - 1, int((p - low) / span * len(BARS)))] for p in parts)


def _back_to_back(record: Record) -> str:
    latency = record.arrival.back_to_back if record.arrival else None
    if latency is None:
        return formatting.UNKNOWN
    return formatting.estimate(
        latency.p50_s * formatting.MILLI, formatting.width(latency.interval) * formatting.MILLI
    )


def _over(record: Record) -> str:
    return _times(record.arrival.ratio if record.arrival else None)


def _first(record: Record) -> str:
    return formatting.milliseconds(record.sustained.first_s if record.sustained else None)


def _from(record: Record) -> str:
    knee_s = record.sustained.knee_s if record.sustained else None
    return formatting.UNKNOWN if knee_s is None else formatting.duration(knee_s)


def _steady_ratio(record: Record) -> str:
    ratio = record.sustained.ratio if record.sustained else None
    return formatting.UNKNOWN if ratio is None else formatting.ratio(ratio)


def _times(interval: Interval | None) -> str:
    if interval is None:
        return formatting.UNKNOWN
    value, low, high = (formatting.ratio(x) for x in (interval.value, interval.low, interval.high))
    return f"{value} ({low} to {high})"


ARRIVAL: tuple[Cell, ...] = (
    ("back to back (ms)", _back_to_back, 0),
    ("over back to back", _over, 0),
)
SUSTAINED: tuple[Cell, ...] = (
    ("first p50 (ms)", _first, 0),
    ("over first", _steady_ratio, 0),
    ("slower from", _from, 0),
    ("over time", over_time, 5),
)
