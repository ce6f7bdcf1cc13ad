"""The `benchbox show` command: what cases cost, without timing them."""

from dataclasses import asdict

import typer

from benchbox.cli.exits import CASE_FAILED
from benchbox.cli.options.cases import CaseOptions
from benchbox.cli.options.output import ExportOptions
from benchbox.cli.output import Exports, console
from benchbox.cli.prepared import prepared
from benchbox.errors import CaseError
from benchbox.export import Graph
from benchbox.lines import one_line
from benchbox.report.costs import CostRow, cost_table, to_csv, to_json
from benchbox.report.table import Table
from benchbox.specs import BlockSpec, Case


def show(options: CaseOptions, exports: ExportOptions) -> None:
    """Print what every case costs, and export it; exits 1 when one has no graph."""
    files = Exports(exports.paths())
    found, cases, graphs = prepared(options, console(stderr=True), timed=False)
    tables, every = list[Table](), list[CostRow]()
    for spec in {spec.name: spec for spec in found}.values():
        rows = [_row(spec, case, graphs[case.key]) for case in cases if case.spec == spec.name]
        tables.append(cost_table(_title(spec), rows))
        every += rows
    files.publish(tables, "; show again", csv=lambda: to_csv(every), json=lambda: to_json(every))
    if any(isinstance(graph, CaseError) for graph in graphs.values()):
        raise typer.Exit(CASE_FAILED)


def _title(spec: BlockSpec) -> str:
    parts = [
        spec.title,
        spec.summary,
        spec.source,
        f"Assumed: {spec.assumed}" if spec.assumed else "",
    ]
    return "\n".join(one_line(part) for part in parts if part)


def _row(spec: BlockSpec, case: Case, graph: Graph | CaseError) -> CostRow:
    figures = spec.figures(case.channels)
    return CostRow(
        case=case.name,
        group=case.group,
        reference=case.reference,
        inputs=[str(tensor) for tensor in case.inputs],
        cost=graph.cost.to_json() if isinstance(graph, Graph) else None,
        args=case.args,
        spec=case.spec,
        dtype=case.dtype,
        batch=case.batch,
        published=case.published,
        published_unit=figures.unit if figures else None,
        paper={name: value for name, value in asdict(case.paper).items() if value},
        note=case.note,
        reason="" if isinstance(graph, Graph) else str(graph),
    )
