"""The Typer app: every command under its name."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from benchbox import __version__
from benchbox.cli.commands import (
    baseline,
    device,
    fleet,
    graphs,
    predicted,
    recorded,
    results,
    setup,
    timing,
)
from benchbox.cli.errors import CONFIG, Commands
from benchbox.cli.help import HelpCommand

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Hardware-aware latency benchmarks: FLOPs against measured latency, on your device.",
)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"benchbox {__version__}")
        raise typer.Exit


@app.callback()
def defaults(
    ctx: typer.Context,
    version: Annotated[  # noqa: ARG001 - handled by its callback
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version")
    ] = False,
) -> None:
    """Read the defaults of options from ./benchbox.toml, where there is one."""
    path = Path(CONFIG)
    if path.exists():
        from benchbox.cli.config import read

        ctx.default_map = read(path, ctx)


command = partial(app.command, cls=HelpCommand)
command("list")(graphs.list_)
command("show")(graphs.show)
command("run", epilog=timing.RUN_EXAMPLES + timing.EXIT_CODES)(timing.run)
command("compare", epilog=timing.COMPARE_EXAMPLES + timing.EXIT_CODES)(timing.compare)
command("choose", epilog=timing.CHOOSE_EXAMPLES)(timing.choose)
command("report", epilog=recorded.REPORT_EXAMPLES)(recorded.report)
command("history", epilog=recorded.HISTORY_EXAMPLES)(recorded.history)
command("open")(recorded.open_)
command("export")(graphs.export)
command("profile")(graphs.profile)
command("explain")(graphs.explain)
command("advise")(graphs.advise)
command("calibrate")(predicted.calibrate)
command("predict", epilog=predicted.PREDICT_EXAMPLES)(predicted.predict)
command("doctor")(setup.doctor)
command("trust")(setup.trust)
app.add_typer(baseline.app, name="baseline")
app.add_typer(device.app, name="device")
app.add_typer(results.app, name="results")
command("worker")(fleet.worker)
app.add_typer(fleet.app, name="fleet")
