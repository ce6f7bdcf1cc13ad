"""Options that say what to print, write and draw, and when to fail."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from benchbox.cli.choices import ChartName, Format, expanded
from benchbox.cli.options.recorded import Results

FormatName = Annotated[
    Format,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="table (default), csv, markdown, json, html, latex, svg, pdf or png",
    ),
]

HistoryFormat = Annotated[
    Format,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="table (default), csv, markdown, json, svg, pdf or png",
    ),
]

OutputFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        callback=expanded,
        help="file to write, whose ending says the format; - for stdout",
    ),
]

Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="show more columns")]


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """The files to which tables are written."""

    panel: ClassVar[str] = "Output"

    export_csv: Annotated[
        Path | None, typer.Option(metavar="FILE", callback=expanded, help="write CSV; - for stdout")
    ] = None
    export_markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE", callback=expanded, help="write Markdown; - for stdout"),
    ] = None
    export_json: Annotated[
        Path | None,
        typer.Option(metavar="FILE", callback=expanded, help="write JSON; - for stdout"),
    ] = None

    def paths(self) -> dict[str, Path]:
        """The files to write, by format."""
        paths = {"csv": self.export_csv, "markdown": self.export_markdown, "json": self.export_json}
        return {format_: path for format_, path in paths.items() if path is not None}


@dataclass(frozen=True, slots=True)
class PictureOptions:
    """The pictures of a report, and what a paper says of them."""

    panel: ClassVar[str] = "Pictures and papers"

    figure: Annotated[
        ChartName | None,
        typer.Option(
            metavar="NAME",
            help="flops (default), pareto, over-flops, profile, samples or processes",
        ),
    ] = None
    wide: Annotated[
        bool, typer.Option("--wide", help="a figure as wide as two columns of a paper")
    ] = False
    with_profile: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            callback=expanded,
            help="what `profile --export-json` wrote, for --figure profile and html",
        ),
    ] = None
    cite: Annotated[
        bool, typer.Option("--cite", help="print the setup as a paragraph, and BibTeX")
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """The records of a run, and the files to which tables are written."""

    panel: ClassVar[str] = "Output"

    exports: ExportOptions
    results: Results = Path("results")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions(RecordOptions):
    """The records and tables of a run."""

    export_junit: Annotated[
        Path | None, typer.Option(metavar="FILE", callback=expanded, help="write JUnit XML")
    ] = None
    export_ci: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            callback=expanded,
            help="write JSON of github-action-benchmark or Bencher",
        ),
    ] = None
    profile: Annotated[
        bool,
        typer.Option("--profile", help="then profile each case: where its time goes"),
    ] = False
    strict: Annotated[
        bool, typer.Option("--strict", help="exit 4 for unclear claims, 5 for imprecise figures")
    ] = False
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            metavar="slower>3%,...",
            help="exit 3 where a whole interval is over a limit",
        ),
    ] = None
    verbose: Verbose = False

    def paths(self) -> dict[str, Path]:
        """The files to write, by format."""
        more = {"junit": self.export_junit, "ci": self.export_ci}
        return self.exports.paths() | {name: path for name, path in more.items() if path}
