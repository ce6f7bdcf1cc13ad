"""`benchbox profile`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import typer
from rich.console import Console

from benchbox import devices, records, runner
from benchbox.cli import parsing
from benchbox.cli.exits import CASE_FAILED, INTERRUPTED
from benchbox.cli.output import STDOUT, Targets, console
from benchbox.cli.progress import Live, bar
from benchbox.cli.run import find_all
from benchbox.devices import Device
from benchbox.errors import CaseError, StorageError
from benchbox.export import Graph
from benchbox.report.profile import Report
from benchbox.runner import profile as runner_profile
from benchbox.runner.profile import Outcome
from benchbox.specs import Case, Platform, Selection
from benchbox.transports import open_agent

Show = Callable[[Case, float], None]


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `benchbox profile` as typed."""

    names: Sequence[str]
    device: str
    threads: int | None
    cpus: str | None
    top: int | None


def profile(
    options: Options,
    select: Callable[[Platform], Selection],
    exports: Mapping[str, Path | None],
) -> None:
    """Profile every case, print and export; exits 1 for a failed one, 130 when interrupted."""
    Targets(exports)  # an export that cannot be written is told of before anything is profiled
    found = find_all(options.names)
    cpus = parsing.one_choice(options.cpus)
    device = devices.resolve(parsing.one_device(options.device), options.threads, cpus)
    runner_profile.require_processor(device)
    selection = select(device.channels)
    cases = runner.unfold(found, selection)
    stderr = console(stderr=True)
    with Live(stderr, len(cases), is_here=not device.url) as live:
        graphs = runner.prepare(found, cases, live.exporting)
        live.starting()
    outcomes: list[Outcome] = []
    interrupted = _collect(outcomes, cases, graphs, device, stderr)
    _write(Report(outcomes, device, records.now(), options.top), exports)
    if interrupted:
        stderr.print(f"Interrupted; profiled: {len(outcomes)} of {len(cases)}.", style="yellow")
        raise typer.Exit(INTERRUPTED)
    if any(outcome.profile is None for outcome in outcomes):
        raise typer.Exit(CASE_FAILED)


def _collect(
    outcomes: list[Outcome],
    cases: Sequence[Case],
    graphs: Mapping[str, Graph | CaseError],
    device: Device,
    stderr: Console,
) -> bool:
    """Add what becomes of every case; return whether Ctrl-C cut it short."""
    opening = partial(open_agent, python_for="profile")
    try:
        with _progress(stderr, len(cases)) as show:
            for outcome in runner_profile.outcomes(cases, graphs, device, opening, show):
                outcomes.append(outcome)
                _say(outcome, len(outcomes), len(cases), stderr)
    except KeyboardInterrupt:
        return True
    return False


@contextmanager
def _progress(stderr: Console, count: int) -> Iterator[Show]:
    """Give what shows which case is profiled, and which share of it is done."""
    begun: list[str] = []
    with bar(stderr, "profiling", count) as draw:

        def show(case: Case, share: float) -> None:
            if case.key not in begun:
                begun.append(case.key)
            draw(len(begun) - 1 + share, case.key)

        yield show


def _say(outcome: Outcome, index: int, count: int, stderr: Console) -> None:
    """Say that a case is finished, when there is no live line; and once, where it ran."""
    if stderr.is_terminal:
        return
    profile = outcome.profile
    what = f"failed ({outcome.reason})" if profile is None else f"{profile.calls} calls profiled"
    stderr.print(f"[{index}/{count}] {outcome.case.key} {what}", markup=False)


def _write(report: Report, exports: Mapping[str, Path | None]) -> None:
    """Print the tables and write the exports; with one on stdout the tables go to stderr."""
    from benchbox.report import console as printing
    from benchbox.report import profile, profile_files

    paths = {format_: path for format_, path in exports.items() if path is not None}
    if report.outcomes:
        where = console(stderr=STDOUT in paths.values())
        printing.show_tables(profile.tables(report), where)
    render = {
        "csv": profile_files.to_csv,
        "markdown": profile_files.to_markdown,
        "json": profile_files.to_json,
    }
    for format_, path in paths.items():
        text = render[format_](report)
        if path == STDOUT:
            typer.echo(text, nl=False)
        else:
            _write_file(path, text)


def _write_file(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}; profile again") from None
