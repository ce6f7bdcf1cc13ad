"""Limits of a run on the console, and what continuous integration reads of it."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from benchbox.cli.forms import render
from benchbox.records import Run
from benchbox.report.limits import Judgement, sentence, within
from benchbox.report.table import Table

STYLES = {"over": "red", "unclear": "yellow"}


def say(judged: Sequence[Judgement], stderr: Console, problems: Sequence[str] = ()) -> None:
    """Print what could not be judged, and which limits are not kept or unclear, or that all are.

    On GitHub's runners annotations say it.
    """
    found = [each for each in judged if each.kept != "within"]
    if not on_github():
        for problem in problems:
            stderr.print(problem, style="red")
        for each in found:
            stderr.print(sentence(each), style=STYLES[each.kept])
    if judged and not found:
        stderr.print(within(judged), style="green")


def on_github() -> bool:
    """Whether this is a step of GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def tell_github(
    runs: Sequence[Run],
    judged: Sequence[Judgement],
    stderr: Console,
    problems: Sequence[str] = (),
    further: Sequence[Table] = (),
) -> None:
    """Write the summary and annotations of a step of GitHub Actions, where this is one.

    `problems` are sentences on what could not be judged, `further` are tables beside the runs'.
    """
    if on_github():
        from benchbox.report import ci

        for line in ci.annotations(runs, judged, problems):
            typer.echo(line, err=True)
    add_summary(lambda: _summary(runs, judged, problems, further), stderr)


def _summary(*what: Any) -> str:  # noqa: ANN401 - of report.ci
    from benchbox.report import ci

    return ci.summary(*what)


def add_summary(text: Callable[[], str], stderr: Console) -> None:
    """Add Markdown to the summary of a step of GitHub Actions, where there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    try:
        if path:
            with Path(path).open("a", encoding="utf-8", errors="replace") as file:
                file.write(text())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", "") or error
        stderr.print(f"Warning: GITHUB_STEP_SUMMARY {path}: {reason}", style="yellow")


def rendered(
    runs: Sequence[Run],
    new: Sequence[Run],
    judged: Sequence[Judgement],
    problems: Sequence[str],
    name: str,
    format_: str,
) -> str | bytes:
    """Runs in a format of their exports.

    `new` are they without the graphs of a baseline, which files of CI are about alone; `name` is of
    the one for benchmark services.
    """
    from benchbox.report import ci

    if format_ == "ci":
        return ci.benchmarks(new, name)
    return ci.junit(new, judged, problems) if format_ == "junit" else render(runs, format_)
