"""Reference of all commands as Markdown, written from the Typer app."""

import inspect
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from benchbox.cli.app import app


def reference() -> str:
    """A section for each command."""
    root: Any = get_command(app)
    context = root.make_context("benchbox", ["list"], resilient_parsing=True)
    return "\n".join(_subcommands(root, context))


def _subcommands(group: Any, context: Any) -> Iterator[str]:
    for name, command in group.commands.items():
        inner = type(context)(command, info_name=name, parent=context)
        if hasattr(command, "commands"):
            yield from _subcommands(command, inner)
        else:
            yield from _command(command, inner)


def _command(command: Any, context: Any) -> Iterator[str]:
    yield f"## {context.command_path}\n"
    yield f"{inspect.cleandoc(command.help)}\n"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {usage}\n```\n"
    rows = [row for parameter in command.params if (row := _row(parameter, context))]
    for panel in dict.fromkeys(panel for panel, *_ in rows):
        yield f"| {panel} | |\n|:--|:--|"
        yield from (f"| {name} | {text} |" for own, name, text in rows if own == panel)
        yield ""
    if command.epilog:
        yield f"```text\n{inspect.cleandoc(command.epilog)}\n```\n"


def _row(parameter: Any, context: Any) -> tuple[str, str, str] | None:
    """Panel, name and meaning of an option or argument; None for --help."""
    found = parameter.get_help_record(context)
    if found is None or "--help" in parameter.opts:
        return None
    name, text = found
    is_option = parameter.param_type_name == "option"
    panel = getattr(parameter, "rich_help_panel", None)
    return panel or ("Options" if is_option else "Arguments"), _code(name), _cell(text)


def _code(text: str) -> str:
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
