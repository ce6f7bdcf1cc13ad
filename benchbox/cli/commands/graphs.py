"""Commands on graphs: `list`, `show`, `export`, `profile`, `explain` and `advise`."""

from pathlib import Path
from typing import Annotated

import typer

from benchbox.cli.choices import By, ExplainBy, Section, expanded
from benchbox.cli.option_groups import grouped
from benchbox.cli.options.cases import CaseOptions
from benchbox.cli.options.devices import DeviceName, ProcessorOptions
from benchbox.cli.options.output import ExportOptions


def list_(
    section: Annotated[
        Section | None, typer.Argument(metavar="[SECTION]", help="blocks, networks or devices")
    ] = None,
) -> None:
    """List what can be run, and on what."""
    from benchbox.cli.list import show

    show(section.value if section else None)


@grouped
def show(cases: CaseOptions, exports: ExportOptions) -> None:
    """Show the FLOPs, parameters and memory access of cases, without timing them."""
    from benchbox.cli.show import show

    show(cases, exports)


@grouped
def export(
    cases: CaseOptions,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            callback=expanded,
            help="folder to write to",
            rich_help_panel="Output",
        ),
    ],
) -> None:
    """Write the .onnx files that would be timed, and a manifest of them."""
    from benchbox.cli.export import export

    export(cases, output)


@grouped
def profile(
    *,
    cases: CaseOptions,
    device: DeviceName = "cpu",
    processors: ProcessorOptions,
    exports: ExportOptions,
    by: Annotated[
        By,
        typer.Option(
            metavar="category|module|type",
            help="what the time is divided by (default category)",
            rich_help_panel="Output",
        ),
    ] = By.category,
    depth: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="names of a module's path (default: until two differ)",
            rich_help_panel="Output",
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="slowest nodes to show (default 10; 3 of each of several cases)",
            rich_help_panel="Output",
        ),
    ] = None,
) -> None:
    """Show where the time of a graph goes: by operator or module, and its slowest nodes."""
    from benchbox.cli.profile import profile

    profile(cases, device, processors, exports, by.value, depth, top)


@grouped
def explain(
    *,
    cases: CaseOptions,
    device: DeviceName = "cpu",
    processors: ProcessorOptions,
    exports: ExportOptions,
    against: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="a case to set beside the others, and what the difference is made of",
            rich_help_panel="What",
        ),
    ] = "",
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="alter what is blamed, and time that beside the original",
            rich_help_panel="How long",
        ),
    ] = False,
    by: Annotated[
        ExplainBy,
        typer.Option(
            metavar="part|category|kernel|module",
            help="what the time of one case is divided by (default part)",
            rich_help_panel="Output",
        ),
    ] = ExplainBy.part,
    top: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="slowest nodes of one case to show (default 10)",
            rich_help_panel="Output",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            callback=expanded,
            help="draw the parts in ms: .svg, .pdf or .png",
            rich_help_panel="Output",
        ),
    ] = None,
) -> None:
    """Explain why a graph takes its time, in parts that add up to its latency."""
    from benchbox.cli.explain import explain

    explain(cases, device, processors, exports, against, by.value, top, plot, is_checked=check)


@grouped
def advise(
    *,
    cases: CaseOptions,
    device: DeviceName = "cpu",
    processors: ProcessorOptions,
    exports: ExportOptions,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            callback=expanded,
            help="folder to write the .onnx files of the faster ones to",
            rich_help_panel="Output",
        ),
    ] = None,
) -> None:
    """Find wider channels that make a network faster, each timed beside the original."""
    from benchbox.cli.advise import advise

    advise(cases, device, processors, exports, output)
