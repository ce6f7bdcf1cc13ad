"""Commands on the machine and the folder: `doctor` and `trust`."""

from typing import Annotated

import typer

from benchbox.cli.option_groups import grouped, typed
from benchbox.cli.options.devices import DeviceName, ProcessorOptions


@grouped
def doctor(
    ctx: typer.Context,
    *,
    device: DeviceName = "cpu",
    processors: ProcessorOptions,
    seconds: Annotated[
        float,
        typer.Option(min=0.1, max=3600, metavar="SECONDS", help="how long to watch (default 10)"),
    ] = 10.0,
    forget: Annotated[
        bool, typer.Option("--forget", help="forget what was learned of every machine, and exit")
    ] = False,
) -> None:
    """Judge how good a place to measure a device is, and say what would make it better."""
    from benchbox.cli import doctor

    if forget:
        doctor.forget()
    else:
        doctor.doctor(device, processors, seconds, typed(ctx))


def trust(
    ctx: typer.Context,
    show: Annotated[bool, typer.Option("--list", help="print the trusted files")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="trust it no more")] = False,
) -> None:
    """Let this folder's benchbox.toml say where to write, whom to call and what to run.

    It holds until the file changes. Without trust it may only say how to measure.
    """
    from benchbox.cli import trust

    if show:
        trust.show()
    else:
        trust.change(ctx.find_root(), remove=remove)
