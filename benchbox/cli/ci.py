"""Limits of a run on the console, and what continuous integration reads of it."""

import os
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console

from benchbox.cli.forms import render
from benchbox.records import Run
from benchbox.report.limits import Judgement, sentence, within

STYLES = {"over": "red", "unclear": "yellow"}


def say(judged: Sequence[Judgement], stderr: Console) -> None:
    """Print which limits are not kept or unclear, or that all are kept."""
    found = [each for each in judged if each.kept != "within"]
    for each in found:
        stderr.print(sentence(each), style=STYLES[each.kept])
    if judged and not found:
        stderr.print(within(judged), style="green")


def tell_github(
    runs: Sequence[Run],
    judged: Sequence[Judgement],
    stderr: Console,
    problems: Sequence[str] = (),
) -> None:
    """Write the summary and annotations of a step of GitHub Actions, where this is one.

    `problems` are sentences on what could not be judged.
    """
    is_runner = os.environ.get("GITHUB_ACTIONS") == "true"
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not (is_runner or path):
        return
    from benchbox.report import ci

    for line in ci.annotations(runs, judged, problems) if is_runner else ():
        typer.echo(line, err=True)
    try:
        if path:
            with Path(path).open("a", encoding="utf-8", errors="replace") as file:
                file.write(ci.summary(runs, judged, problems))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", "") or error
        stderr.print(f"Warning: GITHUB_STEP_SUMMARY {path}: {reason}", style="yellow")


def rendered(
    runs: Sequence[Run],
    new: Sequence[Run],
    judged: Sequence[Judgement],
    name: str,
    format_: str,
) -> str | bytes:
    """Runs in a format of their exports.

    `new` are they without the graphs of a baseline, and `name` is of the file for benchmark
    services, which is of these alone.
    """
    from benchbox.report import ci

    if format_ == "ci":
        return ci.benchmarks(new, name)
    return ci.junit(runs, judged) if format_ == "junit" else render(runs, format_)
