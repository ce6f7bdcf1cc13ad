"""Commands of `benchbox device` and their options."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from benchbox.cli.choices import ANYTHING, CUDA, complete_registered
from benchbox.cli.help import HelpCommand, HelpGroup

INSTALL = "--install"


class InstallCommand(HelpCommand):
    """A command with --install, which stands alone or before what to install for."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - Typer's own type
        """Give --install its value."""
        return super().parse_args(ctx, _with_value(args))


def _with_value(args: Sequence[str]) -> list[str]:
    found: list[str] = []
    for word in args:
        if word == CUDA and found[-1:] == [f"{INSTALL}={ANYTHING}"]:
            found[-1] = f"{INSTALL}={word}"
        else:
            found.append(f"{INSTALL}={ANYTHING}" if word == INSTALL else word)
    return found


app = typer.Typer(
    cls=HelpGroup, no_args_is_help=True, help="Register, check and list boards and other devices."
)
RegisteredName = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete_registered)]


@app.command("list", cls=HelpCommand)
def list_() -> None:
    """List every device: what it is, and when it was last reached."""
    from benchbox.cli import device_actions

    device_actions.show()


@app.command("add", cls=InstallCommand)
def add(
    name: RegisteredName,
    url: Annotated[
        str, typer.Argument(metavar="URL", help="ssh://[user@]host[:port], adb://serial or local")
    ],
    python: Annotated[
        str,
        typer.Option(metavar="PATH", help="path of Python 3.10 or newer there (default python3)"),
    ] = "",
    threads: Annotated[
        int | None, typer.Option("--threads", "-t", metavar="N", help="threads of one inference")
    ] = None,
    cpus: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="processors such as 0,1, or big, middle or little"),
    ] = None,
    provider: Annotated[
        str,
        typer.Option(metavar="cuda", help="of a GPU there: cuda or tensorrt"),
    ] = "",
    install: Annotated[
        str,
        typer.Option(
            INSTALL,
            metavar="[cuda]",
            help="install ONNX Runtime there if missing, with CUDA for a GPU; and check",
        ),
    ] = "",
) -> None:
    """Register a device under a name, or change its options; keys stay with SSH."""
    from benchbox.cli import device_actions

    device_actions.add(name, url, python, threads, cpus, provider, install=install)


@app.command("remove", cls=HelpCommand)
def remove(name: RegisteredName) -> None:
    """Forget a device; files on it stay (`device check --clean` first)."""
    from benchbox.cli import device_actions

    device_actions.remove(name)


@app.command("check", cls=InstallCommand)
def check(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="a registered name, cuda, ssh://... or adb://...",
            autocompletion=complete_registered,
        ),
    ],
    install: Annotated[
        str,
        typer.Option(
            INSTALL,
            metavar="[cuda]",
            help="install ONNX Runtime in benchbox's folder if missing; cuda: with CUDA",
        ),
    ] = "",
    clean: Annotated[
        bool,
        typer.Option("--clean", help="empty benchbox's folder, installation included, and check"),
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads", "-t", min=1, metavar="N", help="of a processor's ceilings (default 1)"
        ),
    ] = None,
    provider: Annotated[
        str,
        typer.Option(
            "--provider",
            metavar="NAME",
            help="torch, for a GPU without ONNX Runtime's CUDA (default cuda)",
        ),
    ] = "",
) -> None:
    """Reach a device, and print what it is and what it lacks; exits 6 if it is not usable.

    It also measures the ceilings; tables then show each case's share of them (on processors with
    --verbose).
    """
    from benchbox.cli import device_actions

    device_actions.check(name, provider, threads, install=install, clean=clean)
