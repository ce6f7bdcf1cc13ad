"""The `benchbox profile` command, and `--profile` of others: time by operator, slowest nodes."""

from collections.abc import Mapping, Sequence

import typer
from rich.console import Console

from benchbox import records, runner, specs
from benchbox.analysis.parts import By
from benchbox.api import profiles
from benchbox.api.job import Job
from benchbox.api.selection import selection
from benchbox.cli.bar import Bar
from benchbox.cli.exits import CASE_FAILED, INTERRUPTED
from benchbox.cli.options.cases import CaseOptions
from benchbox.cli.options.devices import ProcessorOptions
from benchbox.cli.options.output import ExportOptions
from benchbox.cli.output import Exports, console
from benchbox.cli.prepared import processor
from benchbox.cli.progress import Live
from benchbox.devices import Device
from benchbox.errors import BenchboxError, CaseError, UsageError
from benchbox.export import Graph
from benchbox.report import profile_files
from benchbox.report.console import show_tables
from benchbox.report.profile import ProfileReport, tables
from benchbox.runner.profile import ProfileOutcome, outcomes
from benchbox.runner.several_devices import Ends
from benchbox.specs import Case
from benchbox.transports import open_agent


def profile(
    options: CaseOptions,
    device_name: str,
    processors: ProcessorOptions,
    exports: ExportOptions,
    by: By,
    depth: int | None,
    top: int | None,
) -> None:
    """Profile every case, print and export; exits 1 for a failed one, 130 when interrupted."""
    if depth is not None and by != "module":
        raise UsageError(f"--depth {depth}: it is that of modules; give --by module as well")
    files = Exports(exports.paths())
    found = specs.find_all(options.names)
    device = processor(device_name, processors)
    cases = runner.unfold(found, selection(options.plain(), device.channels))
    stderr = console(stderr=True)
    with Live(stderr, len(cases), is_here=not device.url) as live:
        graphs = runner.prepare(found, cases, live.exporting)
        live.starting()
    done: list[ProfileOutcome] = []
    interrupted = collect(done, cases, graphs, device, stderr, by)
    report = ProfileReport(done, device, records.now(), top, by, depth)
    files.publish(
        tables(report) if done else (),
        "; profile again",
        csv=lambda: profile_files.to_csv(report),
        json=lambda: profile_files.to_json(report),
    )
    if interrupted:
        stderr.print(f"Interrupted; profiled: {len(done)} of {len(cases)}.", style="yellow")
        raise typer.Exit(INTERRUPTED)
    if any(outcome.profile is None for outcome in done):
        raise typer.Exit(CASE_FAILED)


def after_timing(asked: Job, ends: Ends, out: Console, stderr: Console) -> bool:
    """Profile what a job timed, print it and keep it with the records; whether all of it worked."""
    is_whole = True
    for index, outcome in sorted(ends.outcomes.items()):
        if ends.interrupted:
            break
        cases, graphs = profiles.missing(asked, index, outcome.run)
        device, done = asked.requests[index].device, list[ProfileOutcome]()
        try:
            ends.interrupted = bool(cases) and collect(done, cases, graphs, device, stderr)
            if done and not outcome.lost:
                profiles.keep(outcome.run, done, graphs)
        except BenchboxError as error:
            is_whole = False
            stderr.print(f"Not profiled: {error}", style="red")
        if done:
            show_tables(tables(ProfileReport(done, device, records.now(), top=0)), out)
        is_whole &= all(each.profile for each in done)
    return is_whole


def collect(
    done: list[ProfileOutcome],
    cases: Sequence[Case],
    graphs: Mapping[str, Graph | CaseError],
    device: Device,
    stderr: Console,
    by: By = "category",
    *,
    with_ceilings: bool = False,
) -> bool:
    """Add the outcome of every case; return whether Ctrl-C cut it short."""
    try:
        with Bar(stderr) as bar:
            line = bar.line()

            def show(case: Case, share: float) -> None:
                line.draw("profiling", (len(done) + share) / len(cases), case.key)

            found = outcomes(
                *(cases, graphs, device, open_agent, show, by), with_ceilings=with_ceilings
            )
            for outcome in found:
                done.append(outcome)
                if not line.is_live:
                    _print_line(outcome, len(done), len(cases), stderr)
    except KeyboardInterrupt:
        return True
    return False


def _print_line(outcome: ProfileOutcome, index: int, count: int, stderr: Console) -> None:
    """Print a line for a finished case; why one failed stands with the tables."""
    profile = outcome.profile
    what = "failed" if profile is None else f"{profile.calls} calls profiled"
    stderr.print(f"[{index}/{count}] {outcome.case.key} {what}")
