"""Commands on recorded runs: `report`, `history` and `open`."""

import os
from typing import Annotated

import typer

from benchbox.cli.choices import Format
from benchbox.cli.option_groups import grouped, typed
from benchbox.cli.options.output import (
    FormatName,
    HistoryFormat,
    OutputFile,
    PictureOptions,
    Verbose,
)
from benchbox.cli.options.recorded import HistoryOptions, RunOptions

REPORT_EXAMPLES = """\
Examples:
  benchbox report -o page.html                 the newest run as a page
  benchbox report models --figure pareto -o front.pdf
  benchbox report --list --since 7d            the runs of a week
  benchbox report g2 --diff                    the newest over the one before
  benchbox report 'cpu/g*' 'pi/g*' --merge     one table for both devices
"""

HISTORY_EXAMPLES = """\
Examples:
  benchbox history models --since 30d          each case on each machine
  benchbox history 'g2:*' -d pi -o g2.svg      as a figure; .csv has every run
  benchbox history --fail-on 'slower>3%'       for a nightly job
Exit codes: 1 a record is broken, 2 usage, 3 over the limit, 4 unclear
"""


@grouped
def report(
    *,
    ctx: typer.Context,
    chosen: RunOptions,
    list_: Annotated[bool, typer.Option("--list", help="list the runs that there are")] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="set the second of two runs beside the first")
    ] = False,
    merge: Annotated[
        bool, typer.Option("--merge", help="put runs and devices into one table")
    ] = False,
    margin: Annotated[
        str,
        typer.Option(
            metavar="1%", envvar="BENCHBOX_MARGIN", help="of --diff: what counts as the same"
        ),
    ] = "1%",
    format_: FormatName = Format.table,
    output: OutputFile = None,
    pictures: PictureOptions,
    verbose: Verbose = False,
) -> None:
    """Print earlier runs as tables, draw them, list them, or set two of them side by side."""
    from benchbox.cli.forms import Form
    from benchbox.cli.report import report

    asked = {"list": list_, "diff": diff, "merge": merge}
    form = Form(format_.value, output, pictures, typed(ctx))
    report(chosen, asked, form, margin=margin, verbose=verbose)


@grouped
def history(
    *,
    ctx: typer.Context,
    chosen: HistoryOptions,
    fail_on: Annotated[
        str | None,
        typer.Option(
            metavar="slower>3%", help="exit 3 where a last step's whole interval is over it"
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="exit 4 where that is unclear")] = False,
    format_: HistoryFormat = Format.table,
    output: OutputFile = None,
    wide: Annotated[
        bool, typer.Option("--wide", help="a figure as wide as two columns of a paper")
    ] = False,
) -> None:
    """Follow cases from run to run: p50 on each machine, steps, and what changed there."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # others of numpy wait busily
    from benchbox.cli.forms import Form
    from benchbox.cli.history import show

    form = Form(format_.value, output, PictureOptions(wide=wide), typed(ctx))
    show(chosen, form, fail_on=fail_on, strict=strict)


@grouped
def open_(chosen: RunOptions) -> None:
    """Show the page of a run in the browser, made anew if the record has changed."""
    from benchbox.cli.open import open_page

    open_page(chosen)
