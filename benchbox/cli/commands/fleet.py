"""Commands of a fleet: `worker`, and `fleet` with what makes, starts and shows one."""

from pathlib import Path
from typing import Annotated

import typer

from benchbox.cli.choices import ListFormat, Role, complete_registered, expanded
from benchbox.cli.help import HelpCommand, HelpGroup

app = typer.Typer(
    cls=HelpGroup, no_args_is_help=True, help="Time on the devices of many machines as one fleet."
)
Scheduler = Annotated[
    str,
    typer.Option(
        "--scheduler",
        metavar="URL",
        envvar="BENCHBOX_SCHEDULER",
        help="of the fleet, as tls://host:8786",
    ),
]
Devices = Annotated[
    list[str] | None,
    typer.Option(
        "--device",
        "-d",
        metavar="NAME",
        help="to offer: cpu (default), cuda or a registered name; repeatable",
        autocompletion=complete_registered,
    ),
]
MachineName = Annotated[
    str,
    typer.Option("--name", metavar="NAME", help="put before the names of this machine's devices"),
]


def worker(
    scheduler: Scheduler,
    device: Devices = None,
    name: MachineName = "",
    role: Annotated[
        Role | None,
        typer.Option(
            metavar="export", help="make graphs for submitters without torch, and offer -d alone"
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option(metavar="N", min=0, max=65535, help="where the scheduler reaches it (0: any)"),
    ] = 0,
) -> None:
    """Offer this machine's devices, and boards and phones at it, to a fleet."""
    from benchbox.cli import fleet

    is_exporter = role is Role.export
    offered = device or ([] if role else ["cpu"])
    fleet.work(scheduler, offered, name, port, exports_graphs=is_exporter)


@app.command("init", cls=HelpCommand)
def init(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", callback=expanded, help="(default: the user's)")
    ] = None,
) -> None:
    """Make the certificates by which a fleet's members know each other.

    Whoever has them can run code on every machine of the fleet.
    """
    from benchbox.cli import fleet

    fleet.init(folder)


@app.command("start", cls=HelpCommand)
def start(
    listen: Annotated[
        str, typer.Option(metavar="URL", help="where to be reached (default tls://:8786)")
    ] = "tls://:8786",
    device: Devices = None,
    name: MachineName = "",
) -> None:
    """Start a fleet: its scheduler, and a worker with this machine's devices."""
    from benchbox.cli import fleet

    fleet.start(listen, device or ["cpu"], name)


@app.command("list", cls=HelpCommand)
def list_(
    scheduler: Scheduler,
    format_: Annotated[
        ListFormat, typer.Option("--format", metavar="table|json", help="of the list")
    ] = ListFormat.table,
) -> None:
    """List the devices of a fleet: what each is, what it is at, what waits for it, how long."""
    from benchbox.cli import fleet_list

    fleet_list.show(scheduler, format_.value)
