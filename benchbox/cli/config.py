"""Reader of benchbox.toml: one table of defaults per command, with options as keys."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchbox.cli.output import console
from benchbox.devices import DEVICES, registry, trust
from benchbox.errors import UsageError

Defaults = dict[str, dict[str, Any]]
DEVICE_BELOW = f"; write `device` below [run], and what a device is below [{registry.TABLE}.NAME]"

# Options that say how to measure or what to show; a file must be trusted to set any other.
# fmt: off
HARMLESS = frozenset({
    "allow_emulated", "arrival", "batch", "budget", "cache", "channels", "cite", "conv_search",
    "cooldown", "cpus", "dim", "dtype", "fail_on", "figure", "format_", "fps", "margin", "max_time",
    "mode", "percentile", "percentiles", "precision", "profile", "provider", "quick", "resume",
    "scale", "seconds", "seed", "sessions", "shape", "since", "size", "sort", "strict", "sustained",
    "tf32", "threads", "top", "verbose", "wide",
})
# fmt: on


def read(path: Path, ctx: Any) -> Defaults:  # noqa: ANN401 - Typer's own type
    """The defaults by command and parameter; those that need trust and have none are left out.

    Raises UsageError for a file that is not TOML, and for an unknown command or option.
    """
    text, tables = registry.parse(path)
    defaults = defaults_of(path, tables, ctx)
    if trust.is_trusted(path, text):
        return defaults
    command = ctx.invoked_subcommand
    takes_device = command in ("device", "list") or "device" in _options(ctx.command, command)
    ignored = [
        f"{table}.{name}"
        for table, name, _ in asking(tables, defaults)
        if table == command or (table == registry.TABLE and takes_device)
    ]
    if ignored and command != "trust":
        console(stderr=True).print(
            f"Warning: {path} is not trusted, so {', '.join(ignored)} in it "
            f"{'is' if len(ignored) == 1 else 'are'} ignored; once you have read it: {trust.TRUST}",
            style="yellow",
        )
    return {
        table: {name: value for name, value in values.items() if _is_harmless(name, value)}
        for table, values in defaults.items()
    }


def asking(tables: Mapping[str, Any], defaults: Defaults) -> Iterator[tuple[str, str, Any]]:
    """Yield table, key and value of whatever says where to write, whom to call or what to run."""
    for table, values in defaults.items():
        for name, value in values.items():
            if not _is_harmless(name, value):
                yield table, name, value
    devices = tables.get(registry.TABLE)
    for name, value in devices.items() if isinstance(devices, dict) else ():
        yield registry.TABLE, name, value


def _is_harmless(name: str, value: Any) -> bool:  # noqa: ANN401 - whatever TOML has
    if name == "device":
        return all(_is_here(str(each)) for each in (value if isinstance(value, list) else [value]))
    return name in HARMLESS


def _is_here(device: str) -> bool:
    """Whether a name stands for this machine, and for no board that its user registered."""
    entry = registry.entries().get(device)
    return entry.url == "local" if entry else device.partition(":")[0] in DEVICES


def _options(group: Any, command: str | None) -> dict[str, str]:  # noqa: ANN401
    """The parameters of a command by their keys in the file."""
    return {
        flag.removeprefix("--").replace("-", "_"): parameter.name
        for parameter in getattr(group.commands.get(command), "params", ())
        for flag in parameter.opts
    }


def defaults_of(path: Path, tables: Mapping[str, Any], ctx: Any) -> Defaults:  # noqa: ANN401
    """The defaults of a file, whether it is trusted or not."""
    defaults = {}
    for command, table in tables.items():
        if command == registry.TABLE:
            continue  # checked when a device is used
        known = ctx.command.commands.get(command)
        if hasattr(known, "commands"):
            raise UsageError(
                f"{path}: {command}: its commands take no defaults"
                + DEVICE_BELOW * (command == "device")
            )
        if known is None:
            raise UsageError(f"{path}: {command}: there is no such command to set defaults for")
        if not isinstance(table, dict):
            raise UsageError(f"{path}: {command}: not a table; write [{command}]")
        options = _options(ctx.command, command)
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
