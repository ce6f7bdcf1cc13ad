"""Reference of all commands as Markdown, written from the Typer app."""

import inspect
from collections.abc import Iterator
from pathlib import Path
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
    parameters = [each for each in command.params if each.name != "help"]
    arguments = [_name(each) for each in parameters if _is_argument(each)]
    yield f"```text\n{' '.join([context.command_path, *arguments, '[OPTIONS]'])}\n```\n"
    panels = [_panel(each) for each in parameters]
    for panel in dict.fromkeys(panels):
        yield f"| {panel} | |\n|:--|:--|"
        for parameter, own in zip(parameters, panels, strict=True):
            if own == panel:
                yield f"| `{_cell(_name(parameter))}` | {_cell(_meaning(parameter))} |"
        yield ""
    if command.epilog:
        yield f"```text\n{inspect.cleandoc(command.epilog)}\n```\n"


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _panel(parameter: Any) -> str:
    own = "Arguments" if _is_argument(parameter) else "Options"
    return getattr(parameter, "rich_help_panel", None) or own


def _name(parameter: Any) -> str:
    """The spellings of an option and the word for its value, or the word for an argument."""
    if _is_argument(parameter):
        return str(parameter.metavar or parameter.name.upper())
    spellings = ", ".join(sorted(parameter.opts, key=len))
    return spellings if parameter.is_flag else f"{spellings} {parameter.metavar or 'VALUE'}"


def _meaning(parameter: Any) -> str:
    text, default = parameter.help or "", parameter.default
    if "default" not in text and isinstance(default, str | int | float | Path) and default:
        text += f" (default {default})"
    return f"{text}; `{parameter.envvar}`" if parameter.envvar else text


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
