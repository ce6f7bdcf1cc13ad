"""Recorded runs as commands find them: by name, and in a list."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchbox.api import parsing
from benchbox.cli.options.recorded import HistoryOptions, RunOptions
from benchbox.cli.output import console, write
from benchbox.errors import BenchboxError, RecordError
from benchbox.records import Run, names
from benchbox.records.index import Index
from benchbox.records.names import Wanted
from benchbox.report import run_list

FEW = 3  # errors of files that are printed, where there are many
LONG = 500  # files to read anew, for which one waits


def wanted(chosen: RunOptions | HistoryOptions) -> Wanted:
    """The runs that the options of a command ask for."""
    since = parsing.since(chosen.since) if chosen.since else None
    return Wanted(chosen.results, chosen.device, since)


def readable(typed: Iterable[str | None], wanted: Wanted) -> tuple[list[Run], list[RecordError]]:
    """The runs of these names, and the errors of those that are broken; raises them without others.

    What is odd about a run is printed.
    """
    read, failures, warnings = names.readable(typed, wanted)
    if failures and not read:
        name_all(failures[:-1])
        raise failures[-1]
    stderr = console(stderr=True)
    for warning in [*warnings, *(text for run in read for text in _odd(run))]:
        stderr.print(f"Warning: {warning}", style="yellow")
    return read, failures


def _odd(run: Run) -> list[str]:
    if run.records:
        return list(run.warnings)
    empty = f"{run.path}: it stopped before a case was finished; benchbox run --resume goes on"
    return [*run.warnings, empty]


def index(results: Path) -> Index:
    """The index of a results folder; a line says what one waits for."""

    def reading(count: int) -> None:
        if count > LONG:
            line = f"Reading {count} new files of {results} ..."
            console(stderr=True).print(line, style="dim")

    return Index(results, reading)


def show_list(typed: Sequence[str], wanted: Wanted, format_: str, to: Path) -> None:
    """Print or write the list of runs, of these names where some are given."""

    named = [names.matcher(name) for name in typed]

    def is_asked(path: Path) -> bool:
        return wanted.takes(path) and (not typed or any(is_it(path) for is_it in named))

    with index(wanted.results) as known:
        every = not (typed or wanted.device or wanted.since)
        found = [run for run in known.runs() if every or is_asked(run.path)]
        broken = {path: line for path, line in known.unreadable().items() if is_asked(path)}
    paths = [*broken, *(run.path for run in found if typed)]
    lost = [name for name, is_it in zip(typed, named, strict=True) if not any(map(is_it, paths))]
    missing = [names.missing(name, wanted) for name in lost]
    if not (found or broken):
        *others, last = missing or [names.missing(None, wanted)]
        name_all(others)
        raise RecordError(last)
    if format_ == "table":
        lines = run_list.lines(found, console().width)
        write(to, "".join(f"{line}\n" for line in lines))
    else:
        from benchbox.report import files

        write(to, files.of_rows(format_, [run_list.table(found)], run_list.rows(found)))
    require_all([*broken.values(), *missing])


def require_all(left_out: Sequence[object]) -> None:
    """Raise the error of what was left out, of several the last one, and print the others."""
    if left_out:
        *others, last = _few(left_out)
        name_all(others)
        raise BenchboxError(last)


def name_all(left_out: Sequence[object]) -> None:
    """Print the errors of what is left out, each in its line."""
    for error in _few(left_out):
        console(stderr=True).print(f"Error: {error}", style="red")


def _few(left_out: Sequence[object]) -> list[str]:
    """The errors, of many the first ones and how many more there are."""
    more = len(left_out) - FEW
    lines = [str(each) for each in left_out]
    return [*lines[:FEW], f"{more:,} more cannot be used"] if more > 1 else lines
