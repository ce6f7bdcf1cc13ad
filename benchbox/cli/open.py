"""The `benchbox open` command: the page of a run, in the browser."""

import webbrowser

from benchbox.cli import runs
from benchbox.cli.forms import render
from benchbox.cli.options.recorded import RunOptions
from benchbox.cli.output import console, write

WHERE = "; name another with `benchbox report --output`"


def open_page(chosen: RunOptions) -> None:
    """Show the page of runs, which stands beside the record of the first."""
    found, failures = runs.readable(chosen.runs or [None], runs.wanted(chosen))
    page = found[0].path.with_name(f"{found[0].stem}.html")
    newest = max(run.path.stat().st_mtime for run in found)
    if len(found) > 1 or not page.exists() or page.stat().st_mtime < newest:
        write(page, render(found, "html"), WHERE)
    console().print(str(page))
    if not webbrowser.open(page.absolute().as_uri()):
        console(stderr=True).print("Warning: no browser could be started here", style="yellow")
    runs.require_all(failures)
