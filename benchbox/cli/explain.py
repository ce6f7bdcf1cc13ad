"""The `benchbox explain` command: latency in parts that add up, and what is behind them."""

import typer

from benchbox import devices, records, runner, specs
from benchbox.api import parsing
from benchbox.api.selection import selection
from benchbox.cli.exits import CASE_FAILED, INTERRUPTED
from benchbox.cli.options import CaseOptions, ExportOptions, ProcessorOptions
from benchbox.cli.output import Exports, console
from benchbox.cli.profile import collect
from benchbox.cli.progress import Live
from benchbox.errors import UsageError
from benchbox.report.console import show_tables
from benchbox.report.explain import ExplainReport, tables
from benchbox.runner.profile import ProfileOutcome, require_processor


def explain(
    options: CaseOptions,
    device_name: str,
    processors: ProcessorOptions,
    exports: ExportOptions,
    against: str,
    by: str,
    top: int | None,
) -> None:
    """Explain every case, print and export; exits 1 for a failed one, 130 when interrupted."""
    files = Exports(exports.paths())
    found = specs.find_all(options.names)
    cpus = parsing.one_choice(processors.cpus)
    threads = parsing.one_number_of_threads(processors.threads)
    device = devices.resolve(parsing.one_device(device_name), threads, cpus)
    require_processor(device)
    chosen = selection(options.plain(), device.channels)
    cases = runner.unfold(found, chosen)
    other_key = ""
    if against:
        others = specs.find_all([against])
        (other, *more) = runner.unfold(others, chosen)
        if more:
            raise UsageError(f"--against {against}: {1 + len(more)} cases; name one of them")
        other_key = other.key
        found = [*found, *others]
        cases = [*cases, *([other] if all(case.key != other_key for case in cases) else [])]
        if len(cases) == 1:
            raise UsageError(f"--against {against}: it is the case to explain; name another")
    if by != "part" and len(cases) > 1:
        raise UsageError(f"--by {by}: for one case, and these are {len(cases)}; name one")
    stderr = console(stderr=True)
    with Live(stderr, len(cases), is_here=not device.url) as live:
        graphs = runner.prepare(found, cases, live.exporting)
        live.starting()
    done: list[ProfileOutcome] = []
    interrupted = collect(done, cases, graphs, device, stderr, with_ceilings=True)
    report = ExplainReport(
        *(done, device, records.now(), by, other_key),
        guidelines={spec.name: spec.guideline for spec in found if spec.guideline},
        top=top,
    )
    _write(report, files)
    if interrupted:
        stderr.print(f"Interrupted; explained: {len(done)} of {len(cases)}.", style="yellow")
        raise typer.Exit(INTERRUPTED)
    if any(map(report.failure, done)):
        raise typer.Exit(CASE_FAILED)


def _write(report: ExplainReport, exports: Exports) -> None:
    """Print the tables and write the exports."""
    from benchbox.report import explain_files

    if report.outcomes:
        show_tables(tables(report), exports.console())
    formats = {
        "csv": explain_files.to_csv,
        "markdown": explain_files.to_markdown,
        "json": explain_files.to_json,
    }
    exports.write(lambda format_: formats[format_](report), "; explain again")
