"""Errors that end a command: printed in one line, with the exit code."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

from benchbox.cli.exits import INTERRUPTED
from benchbox.cli.help import HelpGroup
from benchbox.errors import BenchboxError, UsageError

CONFIG = "benchbox.toml"
WORDS = "benchbox.words"  # of the command line, in Typer's context
PYDANTIC = "Value error, "  # begins the messages of Typer's own checks
# The error of a word that no option takes; its class has the same place in Typer and in Click.
ClickUsageError: Any = typer.BadParameter.__base__


class Commands(HelpGroup):
    """The group of all commands; prints an error raised on purpose in one line."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **named: Any) -> Any:  # noqa: ANN401 - Typer's own
        """Read the options before the command."""
        words = [*args]
        with _one_line_errors():
            ctx = super().make_context(info_name, args, *rest, **named)
        ctx.meta[WORDS] = words
        return ctx

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - the type is Typer's own vendored one
        """Run the command."""
        with _one_line_errors(ctx):
            return super().invoke(ctx)


@contextmanager
def _one_line_errors(ctx: Any = None) -> Iterator[None]:  # noqa: ANN401
    """Print an error in one line, and exit with its code."""
    try:
        yield
    except ClickUsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            raise
        message = error.format_message().removesuffix(".") or "missing parameter"
        message = message[:1].lower() + message[1:].replace(PYDANTIC, "")
        where = f" (see {error.ctx.command_path} -h)" if error.ctx else ""
        flags = getattr(getattr(error, "param", None), "opts", ())
        _exit_with(f"{_file(ctx, flags)}{message}{where}", error.exit_code)
    except BenchboxError as error:
        message = str(error)
        _exit_with(f"{_file(ctx, message.split()[:1])}{message}", error.exit_code)
    except KeyboardInterrupt:
        _say("Interrupted.")
        raise typer.Exit(INTERRUPTED) from None
    except OSError as error:  # no output, which raises nothing: a file, a process, a socket
        where = f"{error.filename}: " if error.filename else "this machine refused: "
        is_typed = error.errno == errno.ENAMETOOLONG
        _exit_with(f"{where}{error.strerror or error}", UsageError.exit_code if is_typed else 1)


def _file(ctx: Any, flags: Sequence[str]) -> str:  # noqa: ANN401 - Typer's own type
    """The beginning of an error about these flags: benchbox.toml, where they stand there alone."""
    from_file = ((ctx and ctx.default_map) or {}).get(ctx and ctx.invoked_subcommand, ())
    for option in ctx.command.commands[ctx.invoked_subcommand].params if from_file else ():
        spellings = tuple(option.opts)
        is_typed = any(word.startswith(spellings) for word in ctx.meta[WORDS])
        if option.name in from_file and not is_typed and not set(spellings).isdisjoint(flags):
            return f"{CONFIG}: "
    return ""


def _exit_with(message: str, code: int) -> NoReturn:
    _say(f"Error: {message}")
    raise typer.Exit(code) from None


def _say(line: str) -> None:
    from benchbox.cli.output import console  # here, as few commands fail

    console(stderr=True).print(line, style="red")
