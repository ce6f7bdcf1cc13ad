"""Graphs of the commands that time nothing, and the processor of those that profile."""

from rich.console import Console

from benchbox import devices, runner, specs
from benchbox.api import parsing
from benchbox.api.selection import selection
from benchbox.cli.options.cases import CaseOptions
from benchbox.cli.options.devices import ProcessorOptions
from benchbox.cli.progress import Live
from benchbox.devices import Device
from benchbox.errors import CaseError
from benchbox.export import Graph
from benchbox.runner.profile import require_processor
from benchbox.specs import BlockSpec, Case


def processor(name: str, options: ProcessorOptions) -> Device:
    """The one device of a command; raises DeviceError where that is no processor."""
    cpus = parsing.one_choice(options.cpus)
    threads = parsing.one_number_of_threads(options.threads)
    device = devices.resolve(parsing.one_device(name), threads, cpus)
    require_processor(device)
    return device


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
