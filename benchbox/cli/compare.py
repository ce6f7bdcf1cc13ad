"""`benchbox compare`."""

from collections.abc import Callable, Mapping
from pathlib import Path

from benchbox import specs
from benchbox.cli.run import Options, carry_out, file_name, find_all, run_name
from benchbox.report.text import listed
from benchbox.specs import Platform, Selection


def compare(
    options: Options,
    select: Callable[[Platform], Selection],
    exports: Mapping[str, Path | None],
) -> None:
    """Measure cases beside the first of them, print verdicts, export; exits as `run` does."""
    names = [_label(name) for name in options.names]
    title = f"{names[0]} against {listed(names[1:])}" if names[1:] else names[0]
    comparison = specs.comparison(find_all(options.names), title)
    name = file_name(f"{specs.COMPARE}-{run_name(options.names)}")
    carry_out(options, [comparison], name, select, exports)


def _label(name: str) -> str:
    """Return a name as the table's title has it: a network in full, a file without its folder."""
    first, *others = specs.find(name)
    base = specs.split(name)[0]
    if specs.is_network(base):
        return first.only["network"]
    only = ",".join(f"{key}={value}" for key, value in first.only.items())
    return f"{base if others else first.name}{':' if only else ''}{only}"
