"""List of runs: a table with a line for each, and the same as rows of a file."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, takewhile

from benchbox.lines import one_line
from benchbox.records.index import ListedRun
from benchbox.records.model import STATUSES
from benchbox.report import formatting
from benchbox.report.table import Column, Table, plain, shown_width
from benchbox.report.text import folded

HEADERS = ("when (UTC)", "device", "cases", "status", "size", "run")
RIGHT = ("cases", "size")
LEFT_OUT = ("size", "cases", "status", "when (UTC)")  # one after the other, where there is no room
FOR_NAMES = 2  # of them, that most names may have room in their lines
Layout = tuple[Sequence[str], list[str], list[str]]
NONE = "no case"  # was finished before it stopped


def table(runs: Sequence[ListedRun]) -> Table:
    """The list; a name is the last in its line, so that none is cut."""
    rows = [HEADERS, *map(_cells, runs)]
    return Table(
        title="Runs",
        about=(),
        columns=tuple(
            Column(header, tuple(cells), text=header not in RIGHT)
            for header, *cells in zip(*rows, strict=True)
        ),
    )


def lines(runs: Sequence[ListedRun], width: int) -> list[str]:
    """The list as lines no wider than that, but for names: each is whole, if need be on its own."""
    names = [HEADERS[-1], *(one_line(run.stem) for run in runs)]
    layouts = _layouts(table(runs), names, width)
    first = next(layouts)
    small = takewhile(lambda each: len(each[0]) <= FOR_NAMES, layouts)
    tried = (each for each in chain([first], small) if _is_in_lines(each, width))
    left_out, every, heads = next(tried, first)
    found = [every[0]] if shown_width(every[0]) <= width else [heads[0], f"  {names[0]}"]
    for line, head, name in zip(every[1:], heads[1:], names[1:], strict=True):
        found += [head, f"  {name}"] if shown_width(line) > width else [line]
    if left_out:
        note = f"left out at this width: {'; '.join(left_out)} (--format csv has all)"
        found += folded(note, width).split("\n")
    return found


def _layouts(whole: Table, names: Sequence[str], width: int) -> Iterator[Layout]:
    """The columns left out, the lines, and those without names, where these fit."""
    for count in range(len(LEFT_OUT) + 1):
        left_out = LEFT_OUT[:count]
        kept = tuple(column for column in whole.columns if column.header not in left_out)
        every = plain(replace(whole, columns=kept))
        heads = [line.removesuffix(name).rstrip() for line, name in zip(every, names, strict=True)]
        if left_out == LEFT_OUT or max(map(shown_width, heads)) <= width:
            yield left_out, every, heads


def _is_in_lines(layout: Layout, width: int) -> bool:
    """Whether most names have room in their lines."""
    _, every, _ = layout
    return sum(shown_width(line) <= width for line in every) * 2 > len(every)


def rows(runs: Sequence[ListedRun]) -> list[dict[str, object]]:
    """The rows of a file."""
    return [
        {
            "run": run.stem,
            "name": run.name,
            "utc": run.created,
            "device": run.device,
            "cases": sum(run.cases.values()),
            **{status: run.cases.get(status, 0) for status in STATUSES},
            "size_bytes": run.size_bytes,
            "path": f"{run.results}/{run.file}",
            "planned_cases": run.planned,
        }
        for run in runs
    ]


def _cells(run: ListedRun) -> tuple[str, ...]:
    return (
        run.created[:16].replace("T", " "),
        run.device,
        _count(run),
        _status(run),
        formatting.size(run.size_bytes),
        run.stem,
    )


def _count(run: ListedRun) -> str:
    """The number of cases, `10 of 30` where others were to follow."""
    done = sum(run.cases.values())
    return f"{done} of {run.planned}" if _is_unfinished(run) else str(done)


def _status(run: ListedRun) -> str:
    """`ok` where all cases are, else how many are not; and whether it stopped before its end."""
    others = [f"{count} {status}" for status, count in run.cases.items() if status != "ok"]
    others += ["unfinished"] if run.cases and _is_unfinished(run) else []
    return ", ".join(others) or ("ok" if run.cases else NONE)


def _is_unfinished(run: ListedRun) -> bool:
    return sum(run.cases.values()) < (run.planned or 0)
