"""The `benchbox list` command: blocks, networks and devices."""

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchbox import devices, specs
from benchbox.cli.output import console
from benchbox.lines import one_line
from benchbox.networks import catalogue, libraries
from benchbox.report import formatting
from benchbox.specs import Selection


def show(section: str | None) -> None:
    """Print blocks, networks and devices, or one section of them."""
    stdout = console()
    if section in (None, "blocks"):
        table = _table("name", "cases", "what it times", "source")
        for name in specs.bundled():
            (spec,) = specs.find(name)
            table.add_row(name, str(len(spec.cases(Selection()))), spec.title, spec.source)
        stdout.print(table)
    if section in (None, "networks"):
        stdout.print(_networks())
        names = " and ".join(f"{library}:NAME" for library in libraries.NAMES)
        stdout.print(f"{names} are networks of these libraries, where they are installed.")
    if section in (None, "devices"):
        table = _table("device", "what it is")
        for name, what in devices.names():
            table.add_row(name, one_line(what))
        stdout.print(table)
    if section is None:
        stdout.print(
            "`all` stands for every guideline, a family's bare name (ghostnetv2) for its x1_0. "
            "Your own .toml, .onnx and builders: README."
        )


def _networks() -> Table:
    """The networks with the figures of their papers; nothing is built for it."""
    table = _table("network", "params (M)", "FLOPs (M)", "top-1 or mAP (%)", "as published in")
    for network in catalogue.NETWORKS.values():
        paper = network.paper
        sizes = map(formatting.as_printed, (paper.params_m, paper.macs_m))
        accuracy = formatting.accuracy(paper.top1_percent or paper.map_percent)
        table.add_row(network.name, *sizes, accuracy, paper.source)
    return table


def _table(*headers: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    return table
