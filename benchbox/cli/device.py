"""The `benchbox device` commands and their options; boards.py does the work."""

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Boards and other devices to time on.")


def _complete(incomplete: str) -> list[str]:
    from benchbox.devices import registry

    return [name for name in registry.entries() if name.startswith(incomplete)]


Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=_complete)]


@app.command("list")
def list_() -> None:
    """Every device: what it is, and when it was last reached."""
    from benchbox.cli import device_actions

    device_actions.show()


@app.command("add")
def add(
    name: Name,
    url: Annotated[
        str, typer.Argument(metavar="URL", help=r"ssh://\[user@]host[:port], adb://serial or local")
    ],
    python: Annotated[
        str, typer.Option(metavar="PATH", help="of Python 3.11 or newer there (default: python3)")
    ] = "",
    threads: Annotated[int | None, typer.Option("--threads", "-t", help="of one inference")] = None,
    cpus: Annotated[
        str | None,
        typer.Option(
            metavar="LIST", help="processors, one for each thread, or big, middle or little"
        ),
    ] = None,
    install: Annotated[
        bool, typer.Option("--install", help="put ONNX Runtime there if it lacks it, and check it")
    ] = False,
) -> None:
    """Give a device a name, or one at the same address other options; keys stay with SSH."""
    from benchbox.cli import device_actions

    device_actions.add(name, url, python, threads, cpus, install=install)


@app.command("remove")
def remove(name: Name) -> None:
    """Forget a device; what lies on it stays (`device check --clean` first)."""
    from benchbox.cli import device_actions

    device_actions.remove(name)


@app.command("check")
def check(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="or cuda, ssh://...", autocompletion=_complete)
    ],
    install: Annotated[
        bool,
        typer.Option("--install", help="put ONNX Runtime into benchbox's folder if it lacks it"),
    ] = False,
    clean: Annotated[
        bool,
        typer.Option(
            "--clean", help="empty benchbox's folder there, what --install made with it, then check"
        ),
    ] = False,
    provider: Annotated[
        str,
        typer.Option(
            "--provider", help="of a GPU: torch, where ONNX Runtime has no CUDA (default cuda)"
        ),
    ] = "",
) -> None:
    """Reach a device, and say what it is and what it lacks; exits 6 for one that is not usable.

    Of a GPU it measures what that does at best, too, beside which tables set each case.
    """
    from benchbox.cli import device_actions

    device_actions.check(name, provider, install=install, clean=clean)
