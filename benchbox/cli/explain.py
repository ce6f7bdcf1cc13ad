"""The `benchbox explain` command: latency in parts that add up, and what is behind them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from benchbox import records, runner, specs
from benchbox.api.selection import selection
from benchbox.cli.bar import Bar
from benchbox.cli.exits import CASE_FAILED, INTERRUPTED
from benchbox.cli.forms import FORMATS, PICTURES
from benchbox.cli.options.cases import CaseOptions
from benchbox.cli.options.devices import ProcessorOptions
from benchbox.cli.options.output import ExportOptions
from benchbox.cli.output import Exports, console
from benchbox.cli.prepared import processor
from benchbox.cli.profile import collect
from benchbox.cli.progress import Live
from benchbox.errors import CaseError, UsageError
from benchbox.export import Graph
from benchbox.insight.blame import blames
from benchbox.insight.check import Check
from benchbox.insight.parts import Part
from benchbox.report import explain_files, explain_text
from benchbox.report.charts import drawing, style
from benchbox.report.charts.parts import parts
from benchbox.report.explain import ExplainReport
from benchbox.report.explain_tables import tables
from benchbox.runner.check import checks
from benchbox.runner.profile import ProfileOutcome
from benchbox.specs import Case
from benchbox.transports import open_agent


def explain(
    options: CaseOptions,
    device_name: str,
    processors: ProcessorOptions,
    exports: ExportOptions,
    against: str,
    by: str,
    top: int | None,
    plot: Path | None,
    *,
    is_checked: bool,
) -> None:
    """Explain every case, print and export; exits 1 for a failed one, 130 when interrupted."""
    if is_checked and against:
        raise UsageError("--check: without --against; check each of the two by itself")
    picture = _picture(plot) if plot else ""
    files = Exports(exports.paths() | ({picture: plot} if plot else {}), {picture: "--plot"})
    found = specs.find_all(options.names)
    device = processor(device_name, processors)
    chosen = selection(options.plain(), device.channels)
    cases = runner.unfold(found, chosen)
    other_key = ""
    if against:
        others = specs.find_all([against])
        other = _one(against, runner.unfold(others, chosen))
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
    if is_checked and not interrupted:
        checked: dict[str, dict[Part, Check]] = {}
        report = replace(report, checked=checked)
        interrupted = _check(report, checked, graphs, stderr)
    files.publish(
        tables(report) if done else (),
        "; explain again",
        csv=lambda: explain_files.to_csv(report),
        json=lambda: explain_files.to_json(report),
        **{picture: lambda: _drawn(report, picture)},
    )
    if interrupted:
        stderr.print(f"Interrupted; explained: {len(done)} of {len(cases)}.", style="yellow")
        raise typer.Exit(INTERRUPTED)
    if any(map(report.failure, done)):
        raise typer.Exit(CASE_FAILED)


def _picture(path: Path) -> str:
    """The format of a plot, by its ending; raises UsageError where it cannot be drawn."""
    format_ = FORMATS.get(path.suffix.lower(), "")
    if format_ not in PICTURES:
        raise UsageError(f"--plot {path}: name it .svg, .pdf or .png")
    drawing.converter("--plot")
    return format_


def _drawn(report: ExplainReport, format_: str) -> str | bytes:
    explained: Any = explain_files.document(report)["explained"]
    if not explained:
        raise CaseError("--plot: nothing was explained")
    return drawing.converted(parts(explained, style.WIDE), style.WIDE, format_)


def _one(name: str, cases: Sequence[Case]) -> Case:
    """The case that --against names; raises UsageError where it names several."""
    if len(cases) > 1:
        raise UsageError(f"--against {name}: {len(cases)} cases; name one of them")
    return cases[0]


def _check(
    report: ExplainReport,
    checked: dict[str, dict[Part, Check]],
    graphs: Mapping[str, Graph | CaseError],
    stderr: Console,
) -> bool:
    """Add what was altered and timed of each case; return whether Ctrl-C cut it short."""
    cases = report.explained
    try:
        with Bar(stderr) as bar:
            line = bar.line()
            for index, (case, found) in enumerate(cases):
                graph = graphs[case.key]
                assert isinstance(graph, Graph), "explained"

                def show(share: float, done: int = index, key: str = case.key) -> None:
                    line.draw("checking", (done + share) / len(cases), key)

                blamed = blames(found)[: explain_text.SENTENCES]
                for each in checks(blamed, found, case, graph, report.device, open_agent, show):
                    checked.setdefault(case.key, {})[each.part] = each
    except KeyboardInterrupt:
        return True
    return False
