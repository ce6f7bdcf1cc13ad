"""The `benchbox profile` command: time by operator and the slowest nodes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import typer
from rich.console import Console

from benchbox import devices, records, runner
from benchbox.cli import parsing
from benchbox.cli.exits import CASE_FAILED, INTERRUPTED
from benchbox.cli.options import CaseOptions, ExportOptions, ProcessorOptions
from benchbox.cli.output import Exports, console
from benchbox.cli.progress import Live, bar
from benchbox.cli.selection import find_all, selection
from benchbox.devices import Device
from benchbox.errors import CaseError
from benchbox.export import Graph
from benchbox.report.console import show_tables
from benchbox.report.profile import Report, tables
from benchbox.runner.profile import Outcome, outcomes, require_processor
from benchbox.specs import Case
from benchbox.transports import open_agent

Show = Callable[[Case, float], None]


def profile(
    options: CaseOptions,
    device_name: str,
    processors: ProcessorOptions,
    top: int | None,
    exports: ExportOptions,
) -> None:
    """Profile every case, print and export; exits 1 for a failed one, 130 when interrupted."""
    files = Exports(exports.paths())
    found = find_all(options.names)
    cpus = parsing.one_choice(processors.cpus)
    device = devices.resolve(parsing.one_device(device_name), processors.threads, cpus)
    require_processor(device)
    cases = runner.unfold(found, selection(options, device.channels))
    stderr = console(stderr=True)
    with Live(stderr, len(cases), is_here=not device.url) as live:
        graphs = runner.prepare(found, cases, live.exporting)
        live.starting()
    done: list[Outcome] = []
    interrupted = _collect(done, cases, graphs, device, stderr)
    _write(Report(done, device, records.now(), top), files)
    if interrupted:
        stderr.print(f"Interrupted; profiled: {len(done)} of {len(cases)}.", style="yellow")
        raise typer.Exit(INTERRUPTED)
    if any(outcome.profile is None for outcome in done):
        raise typer.Exit(CASE_FAILED)


def _collect(
    done: list[Outcome],
    cases: Sequence[Case],
    graphs: Mapping[str, Graph | CaseError],
    device: Device,
    stderr: Console,
) -> bool:
    """Add the outcome of every case; return whether Ctrl-C cut it short."""
    try:
        with _progress(stderr, len(cases)) as show:
            for outcome in outcomes(cases, graphs, device, open_agent, show):
                done.append(outcome)
                _print_line(outcome, len(done), len(cases), stderr)
    except KeyboardInterrupt:
        return True
    return False


@contextmanager
def _progress(stderr: Console, count: int) -> Iterator[Show]:
    """Yield a function that shows which case is profiled, and the share that is done."""
    begun: list[str] = []
    with bar(stderr, "profiling", count) as draw:

        def show(case: Case, share: float) -> None:
            if case.key not in begun:
                begun.append(case.key)
            draw(len(begun) - 1 + share, case.key)

        yield show


def _print_line(outcome: Outcome, index: int, count: int, stderr: Console) -> None:
    """Print a line for a finished case, when there is no live line."""
    if stderr.is_terminal:
        return
    profile = outcome.profile
    what = f"failed ({outcome.reason})" if profile is None else f"{profile.calls} calls profiled"
    stderr.print(f"[{index}/{count}] {outcome.case.key} {what}", markup=False)


def _write(report: Report, exports: Exports) -> None:
    """Print the tables and write the exports."""
    from benchbox.report import profile_files

    if report.outcomes:
        show_tables(tables(report), exports.console())
    formats = {
        "csv": profile_files.to_csv,
        "markdown": profile_files.to_markdown,
        "json": profile_files.to_json,
    }
    exports.write(lambda format_: formats[format_](report), "profile again")
