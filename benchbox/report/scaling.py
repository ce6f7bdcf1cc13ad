"""Scaling along what a run sweeps: the speed-up over the first number of threads, and type."""

from collections.abc import Iterator, Mapping, Sequence

from benchbox.analysis.latency import GOOD
from benchbox.analysis.stats import Interval
from benchbox.records import Record, Run
from benchbox.report import formatting
from benchbox.specs.labels import case_name

# Swept in a run -> the column in a file. Rates tell of the others what there is to tell.
COLUMNS = {"threads": "speedup_by_threads", "dtype": "speedup_by_dtype"}


def columns(run: Run, records: Sequence[Record | None]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the header and the cells of each column of a printed table."""
    for axis in COLUMNS:
        values = list(dict.fromkeys(r.axes[axis] for r in records if r and axis in r.axes))
        if len(values) > 1 and not any(r and _is_compared(run, r, axis) for r in records):
            first = formatting.threads(values[0]) if axis == "threads" else values[0]
            yield f"speed-up over {first}", tuple(_cell(run, each, axis) for each in records)


def _is_compared(run: Run, record: Record, axis: str) -> bool:
    """Whether a case is at another place of an axis than its reference, whose ratio says it."""
    reference = run.record(f"{record.spec}:{record.reference}")
    return reference is not None and reference.axes.get(axis) != record.axes.get(axis)


def has_ratios(records: Sequence[Record]) -> bool:
    """Whether ratios to references tell anything: not of one case at several places."""
    return any(r.case != r.reference for r in records) or not any(r.axes for r in records)


def cells(run: Run, record: Record) -> dict[str, float | None]:
    """The cells of a record in a file."""
    ratios = {column: speedup(run, record, axis) for axis, column in COLUMNS.items()}
    return {column: ratio.value if ratio else None for column, ratio in ratios.items()}


def speedup(run: Run, record: Record, axis: str) -> Interval | None:
    """How many times as fast a case is as with the first value of an axis, the rest alike.

    The ends take each interval at its worst.
    """
    before = _at_first(run, record, axis) if axis in record.axes else None
    if record.latency is None or before is None or before.latency is None:
        return None
    if before is record:
        return Interval(1.0, 1.0, 1.0)
    ours, theirs = record.latency.span, before.latency.span
    return Interval(theirs.value / ours.value, theirs.low / ours.high, theirs.high / ours.low)


def _at_first(run: Run, record: Record, axis: str) -> Record | None:
    """The record of the same case at the first value of an axis."""
    wanted = _apart_from(axis, record.axes)
    same = (
        each
        for each in run.of_spec(record.spec)
        if axis in each.axes and _apart_from(axis, each.axes) == wanted
        if _bare(each) == _bare(record)
    )
    return next(same, None)


def _apart_from(axis: str, axes: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in axes.items() if name != axis}


def _bare(record: Record) -> str:
    """A case's name without its place on what is swept."""
    return record.case.removesuffix(f",{case_name(record.axes)}")


def _cell(run: Run, record: Record | None, axis: str) -> str:
    """A speed-up, marked where a figure in it is not of the machine's usual state."""
    ratio = speedup(run, record, axis) if record else None
    if record is None or ratio is None:
        return formatting.UNKNOWN
    of = [record.latency, (_at_first(run, record, axis) or record).latency]
    mark = "" if all(each is None or each.basis in GOOD for each in of) else "~"
    return mark + formatting.ratio(ratio.value, formatting.width(ratio))
