"""Keys of a record that docs/records.md leaves unexplained."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "records.md"
# Their keys are data: labels and arguments of cases, operators, libraries, networks, switches.
OPEN = {
    "args",
    "labels",
    "nodes",
    "ops",
    "options",
    "printed",
    "slower",
    "than",
    "types",
    "versions",
    "weights",
}


def names() -> set[str]:
    """The words that the page has as code, of `host.gpu` both words."""
    return {
        name for text in re.findall(r"`([\w.]+)`", PAGE.read_text()) for name in text.split(".")
    }


def unexplained(run: Path) -> set[str]:
    """The keys in the lines of a run's file that the page does not name."""
    lines = [json.loads(line) for line in run.read_text().splitlines()]
    return {key for line in lines for key in _keys(line)} - names()


def _keys(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        for key, inner in value.items():
            yield from _keys(inner) if key not in OPEN else ()
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)
