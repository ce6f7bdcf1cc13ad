"""Conversion of typed values to those of their options: by Typer where a text is not enough."""

from functools import partial
from pathlib import Path
from typing import Any


def eased(options: list[Any]) -> list[Any]:
    """The same options, which convert their values in this way."""
    for option in options:
        option.get_runtime_param = partial(Conversion, option)
    return options


class Conversion:
    """The conversion of an option's values; Typer's loads pydantic, a sixth of a start."""

    def __init__(self, option: Any) -> None:  # noqa: ANN401 - Typer's own type
        self._option = option

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ANN401 - Typer's own types
        """The value of an option by what was typed, or stands in a file or a variable."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        kind = param.type_descriptor.annotation
        if kind == list[str] and isinstance(value, tuple):  # of words
            return [*value]
        if kind is Path and isinstance(value, str):
            return Path(value)
        if isinstance(kind, type) and isinstance(value, kind):
            return value
        by_typer = type(self._option).get_runtime_param(self._option)
        return by_typer.coerce(value, param=param, ctx=ctx)
