"""The `benchbox trust` command: which project files may say where to write and whom to call."""

from pathlib import Path
from typing import Any

from benchbox.cli import config
from benchbox.cli.output import console
from benchbox.devices import registry, trust
from benchbox.errors import UsageError


def change(ctx: Any, *, remove: bool) -> None:  # noqa: ANN401 - Typer's own type
    """Trust the benchbox.toml of this folder as it is now, and print what that lets it set."""
    stdout, path = console(), trust.PROJECT
    if remove:
        forgotten = trust.forget(path)
        stdout.print(f"{path} is no longer trusted" if forgotten else f"{path} was not trusted")
        return
    if not path.exists():
        raise UsageError(f"no {path} in this folder to trust")
    text, tables = registry.parse(path)
    asked = list(config.asking(tables, config.defaults_of(path, tables, ctx)))
    trust.trust(path, text)
    stdout.print(f"{path} is trusted until it changes; it sets{':' if asked else ' nothing'}")
    for table, name, value in asked:
        stdout.print(f"{table}.{name} = {value}")


def show() -> None:
    """Print the trusted files, and which of them have changed since."""
    for name, sha256 in trust.trusted().items():
        text = registry.parse(Path(name))[0]
        changed = "" if trust.sha256(text) == sha256 else " (changed or gone: not trusted now)"
        console().print(f"{name}{changed}")
