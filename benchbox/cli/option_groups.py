"""Groups of options: dataclasses that a command takes, and that Typer reads as single options."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from functools import wraps
from typing import Annotated, Any, get_args, get_origin

import typer

Command = Callable[..., None]


def grouped(command: Command) -> Command:
    """Have Typer read each parameter that is a group of options as the options in it."""
    signature = inspect.signature(command)
    parameters = [
        each
        for parameter in signature.parameters.values()
        for each in (
            _options(parameter.annotation)
            if is_dataclass(parameter.annotation)
            else [parameter.replace(kind=parameter.KEYWORD_ONLY)]
        )
    ]

    @wraps(command)
    def flat(**values: Any) -> None:  # noqa: ANN401 - each option has a type of its own
        command(
            **{
                name: _group(each.annotation, values)
                if is_dataclass(each.annotation)
                else values[name]
                for name, each in signature.parameters.items()
            }
        )

    flat.__annotations__ = {each.name: each.annotation for each in parameters}
    flat.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return flat


def values(group: Any) -> dict[str, Any]:  # noqa: ANN401 - any dataclass
    """The options of a group by name, choices as their words."""
    found = {each.name: getattr(group, each.name) for each in fields(group)}
    return {name: str(v) if isinstance(v, StrEnum) else v for name, v in found.items()}


def typed(ctx: typer.Context) -> frozenset[str]:
    """The names of the options that stand on the command line itself."""
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params}
    return frozenset(n for n, source in sources.items() if source and source.name == "COMMANDLINE")


def _options(group: Any) -> Iterator[inspect.Parameter]:  # noqa: ANN401 - any dataclass
    """The options of a group and of the groups in it, marked with the panel."""
    for field in fields(group):
        if _is_group(field):
            yield from _options(field.type)
        elif get_origin(field.type) is Annotated:
            base, info = get_args(field.type)
            info = copy(info)
            info.rich_help_panel = group.panel
            yield inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_default(field),
                annotation=Annotated[base, info],
            )


def _default(field: Field[Any]) -> object:
    """The default of an option, none where it is required."""
    if field.default_factory is not MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is MISSING else field.default


def _group(group: Any, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any dataclass
    """The group with the values of its options."""
    own = {field.name: values[field.name] for field in fields(group) if field.name in values}
    groups = {f.name: _group(f.type, values) for f in fields(group) if _is_group(f)}
    return group(**own, **groups)


def _is_group(field: Field[Any]) -> bool:
    return is_dataclass(field.type) and field.default is MISSING
