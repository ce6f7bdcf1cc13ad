"""Graphs of the commands that time nothing."""

from rich.console import Console

from benchbox import runner, specs
from benchbox.api.selection import selection
from benchbox.cli.options.cases import CaseOptions
from benchbox.cli.progress import Live
from benchbox.errors import CaseError
from benchbox.export import Graph
from benchbox.specs import BlockSpec, Case


def prepared(
    options: CaseOptions, stderr: Console, *, timed: bool = True
) -> tuple[list[BlockSpec], list[Case], dict[str, Graph | CaseError]]:
    """The specs, cases and graphs of a command that times nothing.

    Where nobody will time them either, .onnx files are counted without a run.
    """
    found = specs.find_all(options.names)
    cases = runner.unfold(found, selection(options.plain(), "arm"))
    with Live(stderr, len(cases)) as live:
        graphs = runner.prepare(found, cases, live.exporting, timed=timed)
    return found, cases, graphs
