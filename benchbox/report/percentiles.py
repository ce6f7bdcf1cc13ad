"""Percentiles that a run was asked for: columns of tables and of files."""

from collections.abc import Callable, Sequence
from functools import partial

from benchbox.analysis import stats
from benchbox.analysis.samples import NS, figures
from benchbox.records import Context, Record, Run
from benchbox.report import formatting


def columns(context: Context) -> list[tuple[str, Callable[[Record], str]]]:
    """The headers and cells of the columns in a table."""
    return [(f"p{each:g} (ms)", partial(_printed, percentile=each)) for each in _asked(context)]


def file_columns(runs: Sequence[Run]) -> list[str]:
    """The columns of files that these runs need."""
    return [_name(each) for each in sorted({each for run in runs for each in _asked(run.context)})]


def file_cells(run: Run, record: Record) -> dict[str, float | None]:
    """The cells of a record in these columns."""
    found = {each: _seconds(record, each) for each in _asked(run.context)}
    return {_name(each): None if s is None else s * 1e3 for each, s in found.items()}


def _asked(context: Context) -> list[float]:
    """The percentiles of a run but the median, which every table has."""
    return [float(each) for each in context.plan.get("percentiles") or () if each != 50]


def _name(percentile: float) -> str:
    return f"latency_p{percentile:g}_ms"


def _printed(record: Record, percentile: float) -> str:
    return formatting.milliseconds(_seconds(record, percentile))


def _seconds(record: Record, percentile: float) -> float | None:
    """The percentile of all calls of a case, None where they are too few."""
    if record.latency is None:
        return None
    every = [ns * NS for burst in figures(record.bursts) for ns in burst.latencies_ns]
    return stats.percentile(every, percentile / 100)
