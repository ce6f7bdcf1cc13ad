"""The `benchbox compare` command: one comparison of all named cases, measured as a run."""

from benchbox import specs
from benchbox.cli.options import Options
from benchbox.cli.run import measure
from benchbox.cli.selection import file_name, run_name
from benchbox.report.text import listed


def compare(options: Options) -> None:
    """Measure cases paired with the first of them, print verdicts, export; exits as `run` does."""
    names = options.cases.names
    labels = [_label(name) for name in names]
    title = f"{labels[0]} against {listed(labels[1:])}" if labels[1:] else labels[0]
    comparison = specs.comparison(specs.find_all(names), title)
    measure(options, [comparison], file_name(f"{specs.COMPARE}-{run_name(names)}"))


def _label(name: str) -> str:
    """A name as the table's title has it: a network in full, a file without its folder."""
    first, *others = specs.find(name)
    base = specs.split(name)[0]
    if specs.is_network(base):
        return first.only["network"]
    only = ",".join(f"{key}={value}" for key, value in first.only.items())
    return f"{base if others else first.name}{':' if only else ''}{only}"
