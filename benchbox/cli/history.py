"""The `benchbox history` command: cases from run to run, their steps, and a gate on the last."""

from collections.abc import Sequence
from pathlib import Path

import typer

from benchbox.analysis.limits import Kept, Limit
from benchbox.analysis.steps import FEWEST
from benchbox.api import parsing
from benchbox.cli import ci, runs
from benchbox.cli.exits import OVER_LIMIT, UNCLEAR
from benchbox.cli.forms import PICTURES, Form, warn_of_boxes
from benchbox.cli.options.recorded import HistoryOptions
from benchbox.cli.output import STDOUT, console, require_writable, write
from benchbox.errors import RecordError, UsageError
from benchbox.records.history import History, histories
from benchbox.report import history as words

FILES = ("csv", "markdown", "json", *PICTURES)


def show(chosen: HistoryOptions, form: Form, *, fail_on: str | None, strict: bool) -> None:
    """Print, write or draw histories; exits with 3 where the last step of one is over a limit."""
    format_, limits = form.chosen(FILES), _limits(fail_on, strict=strict)
    if format_ not in ("table", *FILES):
        page = "; `benchbox report 'g2*' -o page.html` has it in a page" * (format_ == "html")
        raise UsageError(f"--format {format_}: a history's are table, {', '.join(FILES)}{page}")
    if form.output:
        require_writable("--output", form.output)
    wanted = runs.wanted(chosen)
    with runs.index(wanted.results) as index:
        broken = [line for path, line in index.unreadable().items() if wanted.takes(path)]
        try:
            found = histories(index, chosen.cases or [], wanted)
        except RecordError:
            runs.name_all(broken)
            raise
    _write(found, format_, form)
    judged = [*dict.fromkeys(each for limit in limits for each in words.judged(found, limit))]
    if limits:
        _tell(judged, found, fail_on)
    if any(kept == "over" for kept, _ in judged):
        runs.name_all(broken)
        raise typer.Exit(OVER_LIMIT)
    runs.require_all(broken)
    if strict and judged:
        raise typer.Exit(UNCLEAR)


def _limits(fail_on: str | None, *, strict: bool) -> list[Limit]:
    """The limits; raises UsageError for those that no history has, and if strict for none."""
    limits = parsing.limits(fail_on)
    if other := next((limit.text for limit in limits if limit.figure != "slower"), None):
        raise UsageError(f"--fail-on {other}: a history has slower>3% alone")
    if strict and not limits:
        raise UsageError("--strict: it is about limits; give one, as in --fail-on 'slower>3%'")
    return limits


def _tell(
    judged: Sequence[tuple[Kept, str]], found: Sequence[History], fail_on: str | None
) -> None:
    """Print which last steps are over a limit or unclear, and tell GitHub."""
    from benchbox.report.ci import annotation, page  # here, as it takes a tenth of a list

    stderr = console(stderr=True)
    for kept, line in judged:
        if ci.on_github():
            typer.echo(annotation("error" if kept == "over" else "warning", line), err=True)
        else:
            stderr.print(line, style=ci.STYLES[kept])
    ci.add_summary(lambda: page([line for _, line in judged], words.tables(found)), stderr)
    if not judged:
        short = sum(len(each.rows) < 2 * FEWEST for each in found)
        few = f"; {short} of {len(found)} histories are too short for one: {2 * FEWEST} runs"
        stderr.print(f"No last step is over {fail_on}{few if short else ''}", style="green")


def _write(found: Sequence[History], format_: str, form: Form) -> None:
    to: Path = form.output or STDOUT
    if format_ == "table":
        from benchbox.report.console import show_tables

        show_tables(words.tables(found), console())
    elif format_ in PICTURES:
        from benchbox.report.charts import drawing, history, style

        size = style.WIDE if form.pictures.wide else style.COLUMN
        drawn = drawing.converted(history.chart(found, size), size, format_)
        warn_of_boxes("".join(each.name for each in found), format_)
        write(to, drawn)
    else:
        from benchbox.report import files

        write(to, files.of_rows(format_, words.tables(found), words.rows(found)))
