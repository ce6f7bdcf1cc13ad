"""The `benchbox report` command: tables of runs from their records, their list and difference."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchbox.api import parsing
from benchbox.cli import runs
from benchbox.cli.forms import PICTURES, Form, render
from benchbox.cli.options.recorded import RunOptions
from benchbox.cli.output import STDOUT, console, require_writable, write
from benchbox.errors import BenchboxError, RecordError, UsageError
from benchbox.records import Run, names, pools, reader
from benchbox.records.model import stem
from benchbox.records.names import Wanted
from benchbox.report.table import Table

PAIR = 2
WRITTEN = ("table", "csv", "markdown", "json", "html", "latex")  # formats of lists and differences


def report(
    chosen: RunOptions, asked: Mapping[str, bool], form: Form, *, margin: str, verbose: bool
) -> None:
    """Print or write the tables of runs, or what is asked for; of the newest run by default.

    Runs that cannot be read are named, and the others shown; raises BenchboxError then.
    """
    what, format_ = _only(asked), form.chosen()
    if form.output:
        require_writable("--output", form.output)
    if what in ("list", "diff") and format_ not in WRITTEN:
        raise UsageError(f"--{what}: its formats are {', '.join(WRITTEN)}")
    typed, wanted, to = chosen.runs or [], runs.wanted(chosen), form.output or STDOUT
    if what == "list":
        runs.show_list(typed, wanted, format_, to)
        return
    # What is merged may be shown with percentiles of another run.
    wanted = replace(wanted, with_samples=what == "merge" or format_ in ("html", *PICTURES))
    found, failures = _found(what, typed, wanted)
    _require_case(found, failures)
    if what == "diff":
        if len(found) != PAIR:
            runs.require_all(failures)
        _show_diff(found, parsing.share(margin, "--margin"), format_, to)
    elif what == "merge":
        _show_merged(found, format_, form, verbose=verbose)
    elif format_ == "table":
        from benchbox.report.multi_device import tables_of  # here, as a list needs none of it

        _show(tables_of(found, verbose=verbose), [], format_, to)
    else:
        write(to, render(found, format_, form.pictures, verbose=verbose))
    runs.require_all(failures)


def _found(what: str, typed: Sequence[str], wanted: Wanted) -> tuple[list[Run], list[RecordError]]:
    """The runs of these names, each with those of the other boards that one command made with it.

    A file or a pattern stands for itself, and so do names with `--device`. Broken runs are errors.
    """
    if what == "diff":
        return runs.readable(_two(typed, wanted), wanted)
    found, failures = runs.readable(typed or [None], wanted)
    if not (wanted.device or any(map(names.is_path, typed))):
        every = [each for run in found for each in (run, *pools.others(run, wanted))]
        found = list({each.path: each for each in every}.values())
    return pools.current(found), failures


def _require_case(found: Sequence[Run], failures: Sequence[RecordError]) -> None:
    if not any(run.records for run in found):
        runs.name_all(failures)
        raise BenchboxError("nothing to show, as no case was finished")


def _only(asked: Mapping[str, bool]) -> str:
    """The one thing that is asked for instead of tables, empty without any."""
    options = [name for name, is_asked in asked.items() if is_asked]
    if len(options) > 1:
        raise UsageError(f"--{options[0]} and --{options[1]}: choose one")
    return options[0] if options else ""


def _two(typed: Sequence[str], wanted: Wanted) -> Sequence[str]:
    """The names of two runs: of a single name the newest run of it, and the one before it there."""
    if len(typed) > 1:
        return typed
    choices = names.files(typed[0] if typed else None, wanted)
    if not typed:
        choices = names.files(reader.name_of(stem(choices[0][0])), wanted)
    if len(choices) > 1:
        return typed
    of_device = [str(path) for path in choices[0] if path.parent == choices[0][0].parent]
    return of_device[PAIR - 1 :: -1]


def _show_diff(found: Sequence[Run], margin: float, format_: str, to: Path) -> None:
    from benchbox.records import diff
    from benchbox.report import diff as words

    if len(found) != PAIR:
        raise UsageError(
            f"--diff sets two runs beside each other, and {'this is' if found[1:] else 'there is'} "
            f"{len(found)}; `benchbox report --list` shows their names"
        )
    a, b = found
    if replace(a, path=b.path) == b:
        raise UsageError(f"--diff: {a.path} and {b.path} are one run; name another beside it")
    between = diff.diff(a, b, margin)
    if not between.pairs:
        raise BenchboxError(f"--diff: {a.path} and {b.path} have no case in common")
    _show([words.table(between)], words.rows(between), format_, to)


def _show_merged(found: Sequence[Run], format_: str, form: Form, *, verbose: bool) -> None:
    from benchbox.records import merge
    from benchbox.report import merged

    together = merge.merge(found)
    to = form.output or STDOUT
    if format_ not in ("table", "markdown"):
        write(to, render(together.runs, format_, form.pictures, verbose=verbose))
    else:
        _show(merged.tables(together, verbose=verbose), [], format_, to)


def _show(
    tables: Sequence[Table], rows: Sequence[Mapping[str, object]], format_: str, to: Path
) -> None:
    """Print tables, or write them or their rows."""
    if format_ == "table":
        from benchbox.report.console import show_tables

        show_tables(tables, console())
        return
    from benchbox.report import files

    write(to, files.of_rows(format_, tables, rows))
