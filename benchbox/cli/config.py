"""Reader of benchbox.toml: one table of defaults per command, with options as keys."""

import tomllib
from pathlib import Path
from typing import Any

from benchbox.devices import registry
from benchbox.errors import UsageError


def read(path: Path, ctx: Any) -> dict[str, dict[str, Any]]:  # noqa: ANN401 - Typer's own type
    """The defaults by command and parameter.

    Raises UsageError for a file that is not TOML, and for an unknown command or option.
    """
    try:
        tables = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None
    defaults = {}
    tables.pop(registry.TABLE, None)  # checked when a device is used
    for command, table in tables.items():
        known = ctx.command.commands.get(command)
        if hasattr(known, "commands"):
            raise UsageError(
                f"{path}: {command}: its commands take no defaults; write `device` below [run], "
                f"and what a device is below [{registry.TABLE}.NAME]"
            )
        if known is None:
            raise UsageError(f"{path}: {command}: there is no such command to set defaults for")
        if not isinstance(table, dict):
            raise UsageError(f"{path}: {command}: not a table; write [{command}]")
        options = {
            flag.removeprefix("--").replace("-", "_"): parameter.name
            for parameter in known.params
            for flag in parameter.opts
        }
        named = {key.replace("-", "_"): value for key, value in table.items()}
        unknown = sorted(named.keys() - options.keys())
        if unknown:
            raise UsageError(f"{path}: {command}.{unknown[0]}: there is no such option")
        several = {p.name for p in known.params if getattr(p, "multiple", False)}
        values = {options[key]: value for key, value in named.items()}
        defaults[command] = {n: _as_typed(v, n in several) for n, v in values.items()}
    return defaults


def _as_typed(value: Any, is_several: bool) -> Any:  # noqa: ANN401 - whatever TOML has
    """A value as if typed: a list for an option that repeats, else text.

    An option that repeats may also be given once, and `[1, 8]` stands for `1,8`.
    """
    if is_several:
        return value if isinstance(value, list) else [value]
    return ",".join(map(str, value)) if isinstance(value, list) else value
