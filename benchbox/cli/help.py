"""Help of the commands: a short line for each option, in panels, on a narrow terminal too."""

from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

from benchbox.cli import repeats

ARGUMENTS, COMMANDS, OPTIONS = "Arguments", "Commands", "Options"

Row = tuple[str, str]


class HelpCommand(TyperCommand):
    """A command that prints its help in this way, and whose options add up."""

    def make_parser(self, ctx: Any) -> Any:  # noqa: ANN401 - Typer's own types
        """The parser of its options."""
        return repeats.add_up(super().make_parser(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - Typer's own types
        """Write the help."""
        formatter.write(text(self, ctx))


class HelpGroup(TyperGroup):
    """A group of commands that prints its help in this way."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - Typer's own types
        """Write the help."""
        formatter.write(text(self, ctx))


def text(command: Any, ctx: Any) -> str:  # noqa: ANN401 - Typer's own types
    """The help of a command, as wide as the terminal."""
    from rich.rule import Rule  # here, as few commands print their help
    from rich.table import Table
    from rich.text import Text

    from benchbox.cli import output

    def heading(title: str) -> Rule:
        return Rule(Text(title, "bold"), align="left", style="dim")

    parameters = [each for each in command.get_params(ctx) if not each.hidden]
    commands = getattr(command, "commands", {})
    panels = _panels(parameters)
    if commands:
        panels[COMMANDS] = [(f" {name}", _summary(each)) for name, each in commands.items()]
    width = max((len(left) for rows in panels.values() for left, _ in rows), default=0)
    variables = [each.envvar for each in parameters if each.envvar]
    console = output.console(is_folded=True)
    with console.capture() as captured:
        console.print(Text.assemble(("Usage: ", "yellow"), (usage(command, ctx), "bold")))
        console.print(Text(command.help))
        for title, rows in panels.items():
            table = Table.grid(padding=(0, 2, 0, 0))
            table.add_column(width=width, style="cyan", no_wrap=True)
            table.add_column()
            for row in rows:
                table.add_row(*row)
            console.print(heading(title), table)
        if variables:
            console.print(f"* also set by {variables[0]} etc.; benchbox.toml can set options")
        if command.epilog:
            title, _, rest = command.epilog.partition(":\n")
            console.print(heading(title), Text(rest), sep="\n")
    return captured.get()


def usage(command: Any, ctx: Any) -> str:  # noqa: ANN401 - Typer's own types
    """The command line of a command in short."""
    arguments = [_left(each) for each in command.params if each.param_type_name == "argument"]
    last = ["COMMAND"] if hasattr(command, "commands") else []
    return " ".join([ctx.command_path, "[OPTIONS]", *arguments, *last])


def _summary(command: Any) -> str:  # noqa: ANN401 - Typer's own type
    """The first paragraph of the help of a command."""
    return str(command.help).partition("\n\n")[0]


def _panels(parameters: Sequence[Any]) -> dict[str, list[Row]]:
    """The rows of each panel; a panel is where its first parameter is."""
    panels: dict[str, list[Row]] = {}
    for each in parameters:
        if each.name == "help":
            continue  # whoever reads it knows how to get it
        own = ARGUMENTS if each.param_type_name == "argument" else OPTIONS
        mark = "*" if each.envvar else " "
        row = mark + _left(each), each.help or ""
        panels.setdefault(each.rich_help_panel or own, []).append(row)
    return panels


def _left(parameter: Any) -> str:  # noqa: ANN401 - an option or an argument
    """The spellings of an option and the word for its value, or the word for an argument."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    spellings = ", ".join(sorted(parameter.opts, key=len))
    return spellings if parameter.is_flag else f"{spellings} {parameter.metavar or 'VALUE'}"
