"""The `benchbox advise` command: wider channels that make a graph faster on a device, timed."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import typer
from rich.console import Console

from benchbox import records, runner, specs
from benchbox.api.selection import selection
from benchbox.cli.bar import Bar
from benchbox.cli.exits import CASE_FAILED, INTERRUPTED
from benchbox.cli.export import file_stems
from benchbox.cli.options.cases import CaseOptions
from benchbox.cli.options.devices import ProcessorOptions
from benchbox.cli.options.output import ExportOptions
from benchbox.cli.output import Exports, console
from benchbox.cli.prepared import processor
from benchbox.cli.profile import collect
from benchbox.cli.progress import Live
from benchbox.errors import StorageError, UsageError
from benchbox.export import Graph
from benchbox.report import files
from benchbox.report.advice import AdviceReport, changed, rows, table
from benchbox.report.explain import ExplainReport
from benchbox.runner.check import advice
from benchbox.runner.profile import ProfileOutcome
from benchbox.transports import open_agent


def advise(
    options: CaseOptions,
    device_name: str,
    processors: ProcessorOptions,
    exports: ExportOptions,
    output: Path | None,
) -> None:
    """Time wider channels beside the original; exits 1 where it cannot be explained."""
    exported = Exports(exports.paths())
    found = specs.find_all(options.names)
    device = processor(device_name, processors)
    cases = runner.unfold(found, selection(options.plain(), device.channels))
    if len(cases) > 1:
        raise UsageError(f"advise is for one case, and these are {len(cases)}; name one of them")
    (case,) = cases
    if output:
        _make(output)
    stderr = console(stderr=True)
    with Live(stderr, 1, is_here=not device.url) as live:
        graphs = runner.prepare(found, cases, live.exporting)
        live.starting()
    done: list[ProfileOutcome] = []
    interrupted = collect(done, cases, graphs, device, stderr, with_ceilings=True)
    explained = ExplainReport(done, device, records.now())
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    if why := explained.failure(done[0]):
        stderr.print(f"failed: {case.key}: {why}", style="red")
        raise typer.Exit(CASE_FAILED)
    graph = graphs[case.key]
    assert isinstance(graph, Graph), "explained"
    report = AdviceReport(explained, case, graph.cost)
    with tempfile.TemporaryDirectory() as folder:
        interrupted = _time(report, graph, Path(folder), stderr)
        if output:
            report = replace(report, files=_names(report))
        tables = [table(report)]
        exported.publish(
            tables,
            "; advise again",
            csv=lambda: files.of_rows("csv", tables, rows(report)),
            json=lambda: files.of_rows("json", tables, rows(report)),
        )
        if output:
            _copy(report.files, output)
    if interrupted:
        stderr.print(f"Interrupted; timed: {len(report.measured)}.", style="yellow")
        raise typer.Exit(INTERRUPTED)


def _time(report: AdviceReport, graph: Graph, folder: Path, stderr: Console) -> bool:
    """Add each graph that was timed; return whether Ctrl-C cut it short."""
    case, device = report.case, report.explained.device
    ((_, found),) = report.explained.explained
    try:
        with Bar(stderr) as bar:
            line = bar.line()

            def show(share: float) -> None:
                line.draw("timing wider channels", share, case.key)

            for each in advice(found, case, graph, device, open_agent, folder, show):
                report.advice.append(each)
                if not line.is_live:
                    stderr.print(f"{changed(each.widths)}: {each.reason or each.verdict}")
    except KeyboardInterrupt:
        return True
    return False


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written: {error.strerror or error}") from None


def _names(report: AdviceReport) -> dict[Path, str]:
    """The names of the faster graphs, numbered from the fastest."""
    stem = file_stems([report.case])[report.case.key]
    paths = [each.path for each in report.faster if each.path]
    return {path: f"{stem}-wider-{number}.onnx" for number, path in enumerate(paths, start=1)}


def _copy(names: Mapping[Path, str], output: Path) -> None:
    """Copy graphs; raises StorageError, once the table is printed, where that fails."""
    for path, name in names.items():
        try:
            shutil.copyfile(path, output / name)
        except OSError as error:
            raise StorageError(f"{output}: cannot be written: {error.strerror or error}") from None
