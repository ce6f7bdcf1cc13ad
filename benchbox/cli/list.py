"""The `benchbox list` command: blocks, networks and devices."""

from collections.abc import Sequence

from benchbox import devices, specs
from benchbox.cli.output import console
from benchbox.networks import catalogue, libraries
from benchbox.report import formatting, published
from benchbox.report.console import show_tables
from benchbox.report.table import Column, Table
from benchbox.specs import Selection


def show(section: str | None) -> None:
    """Print blocks, networks and devices, or one section of them."""
    tables = {"blocks": _blocks, "networks": _networks, "devices": _devices}
    stdout = console()
    show_tables([table() for name, table in tables.items() if section in (None, name)], stdout)
    if section is None:
        stdout.print(
            "`all` stands for every guideline, a family's bare name (ghostnetv2) for its x1_0. "
            "Your own .toml, .onnx and builders: README."
        )


def _blocks() -> Table:
    found = [spec for name in specs.bundled() for spec in specs.find(name)]
    return table(
        "Blocks",
        [
            Column("name", tuple(spec.name for spec in found), text=True),
            Column("cases", tuple(str(len(spec.cases(Selection()))) for spec in found)),
            Column("what it times", tuple(spec.title for spec in found), text=True),
            Column("source", tuple(spec.source for spec in found), text=True),
        ],
    )


def _networks() -> Table:
    """The networks with the figures of their papers; nothing is built for it."""
    found = list(catalogue.NETWORKS.values())
    papers = [network.paper for network in found]
    names = " and ".join(f"{library}:NAME" for library in libraries.NAMES)
    return table(
        "Networks",
        [
            Column("network", tuple(network.name for network in found), text=True),
            *(
                Column(header, tuple(formatting.as_printed(each) for each in figures))
                for header, figures in {
                    "params (M)": [paper.params_m for paper in papers],
                    "FLOPs (M)": [paper.macs_m for paper in papers],
                }.items()
            ),
            Column(
                "top-1 or mAP (%)",
                tuple(formatting.accuracy(p.top1_percent or p.map_percent) for p in papers),
            ),
        ],
        [
            *published.notes([{"source": paper.source} for paper in papers]),
            f"{names} are networks of these libraries, where they are installed",
        ],
    )


def _devices() -> Table:
    names, what = zip(*devices.names(), strict=True)
    return table("Devices", [Column("device", names, True), Column("what it is", what, True)])


def table(title: str, columns: Sequence[Column], notes: Sequence[str] = ()) -> Table:
    """A table that is no run's."""
    wider = "a wider terminal or a pipe gets all"
    return Table(title, (), tuple(columns), notes=tuple(notes), elsewhere=wider)
