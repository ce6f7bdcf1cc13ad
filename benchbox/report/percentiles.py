"""Percentiles that a run was asked for: columns of tables and of files."""

from collections.abc import Callable, Sequence
from functools import partial

from benchbox.records import Context, Record, Run
from benchbox.records.summary import asked, summary
from benchbox.report import formatting


def columns(context: Context) -> list[tuple[str, Callable[[Record], str]]]:
    """The headers and cells of the columns in a table."""
    return [(f"p{each:g} (ms)", partial(_printed, percentile=each)) for each in asked(context)]


def file_columns(runs: Sequence[Run]) -> list[str]:
    """The columns of files that these runs need."""
    return [_name(each) for each in sorted({each for run in runs for each in asked(run.context)})]


def file_cells(run: Run, record: Record) -> dict[str, float | None]:
    """The cells of a record in these columns."""
    found = {each: _seconds(record, each) for each in asked(run.context)}
    return {_name(each): None if s is None else s * 1e3 for each, s in found.items()}


def _name(percentile: float) -> str:
    return f"latency_p{percentile:g}_ms"


def _printed(record: Record, percentile: float) -> str:
    return formatting.milliseconds(_seconds(record, percentile))


def _seconds(record: Record, percentile: float) -> float | None:
    """The percentile of all calls of a case, None where they are too few."""
    return summary(record, [percentile]).percentiles_s[percentile] if record.latency else None
