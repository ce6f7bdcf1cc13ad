"""The work of the `benchbox baseline` commands."""

from pathlib import Path

from benchbox.cli import runs
from benchbox.cli.list import table
from benchbox.cli.output import console
from benchbox.errors import RecordError, UsageError
from benchbox.records import Run, baselines
from benchbox.records.names import Wanted
from benchbox.report.console import show_tables
from benchbox.report.diff import machine
from benchbox.report.table import Column
from benchbox.report.text import few


def keep(name: str, run: str, results: Path) -> None:
    """Keep the figures of the run of that name."""
    baselines.path_of(name)
    found, _ = runs.readable([run], Wanted(results))
    if len(found) != 1:
        raise UsageError(f"{run}: these are {len(found)} runs; a baseline is set from one")
    kept, replaced, left_out = baselines.keep(name, found[0])
    if left_out:
        console(stderr=True).print(f"Without a figure: {', '.join(left_out)}", style="yellow")
    if wide := [each.case for each in kept.records if each.status == "imprecise"]:
        text = f"Imprecise, so that limits are unclear sooner: {', '.join(wide)}"
        console(stderr=True).print(text, style="yellow")
    device = f"{kept.context.device}: {machine(kept.context)}"
    console().print(f"{_count(kept)} of {found[0].path} on {device} in {kept.path}")
    if replaced:
        console().print(f"In place of {_what(replaced)}")


def show() -> None:
    """Print every baseline; raises RecordError for those that are damaged."""
    rows, broken = list[tuple[str, ...]](), list[RecordError]()
    for name in baselines.names():
        try:
            rows += [_row(name, run) for run in baselines.read(name)]
        except RecordError as error:
            broken.append(error)
    if not (rows or broken):
        console().print("No baseline here; `benchbox baseline set NAME RUN` makes one")
    if rows:
        heads = ("name", "holds", "run", "created", "on")
        cells = zip(*rows, strict=True)
        columns = [Column(head, each, text=True) for head, each in zip(heads, cells, strict=True)]
        show_tables([table("Baselines", columns)], console())
    runs.require_all(broken)


def remove(name: str) -> None:
    """Remove a baseline."""
    console().print(f"{baselines.remove(name)} is removed")


def _row(name: str, run: Run) -> tuple[str, ...]:
    context = run.context
    on = f"{context.device}: {machine(context)}"
    return name, _count(run), context.name, context.created[:10], on


def _what(run: Run) -> str:
    """How many cases of which run, and which."""
    context, cases = run.context, few([record.case for record in run.records])
    return f"{_count(run)} of {context.name}, {context.created[:16].replace('T', ' ')} UTC: {cases}"


def _count(run: Run) -> str:
    return f"{len(run.records)} case{'' if len(run.records) == 1 else 's'}"
