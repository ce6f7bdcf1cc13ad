"""Commands of `benchbox results` and their options."""

from pathlib import Path
from typing import Annotated

import typer

from benchbox.cli.help import HelpCommand, HelpGroup
from benchbox.cli.options.recorded import OnlyDevice, Results

app = typer.Typer(cls=HelpGroup, no_args_is_help=True, help="Archive or remove old runs.")
Age = Annotated[
    str, typer.Option(metavar="90d", help="runs begun before: 12h, 90d, 8w or 2026-11-01 (UTC)")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="name them, and change nothing")]


@app.command("archive", cls=HelpCommand)
def archive(
    older_than: Age,
    device: OnlyDevice = None,
    dry_run: DryRun = False,
    results: Results = Path("results"),
) -> None:
    """Pack the files of old runs by gzip; every command reads them as before."""
    from benchbox.cli import old_runs

    old_runs.change(older_than, device, results, pack=True, dry_run=dry_run)


@app.command("prune", cls=HelpCommand)
def prune(
    older_than: Age,
    device: OnlyDevice = None,
    dry_run: DryRun = False,
    results: Results = Path("results"),
) -> None:
    """Remove the files of old runs for good; try it with --dry-run first."""
    from benchbox.cli import old_runs

    old_runs.change(older_than, device, results, pack=False, dry_run=dry_run)
