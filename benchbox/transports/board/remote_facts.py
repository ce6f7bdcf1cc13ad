"""Facts of a board, read by the agent from sources that come on stdin and are not kept there.

Its text is sent to the board's Python, so it imports nothing but the standard library. After it
comes a line with the agent's sources by the names of their modules, and the folder that would hold
what is pushed, whose free space is of interest.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import json
import runpy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

PACKAGE = ".__init__"  # what the name of a package's own source ends with


class Sent(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports modules whose sources were sent."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - as importlib calls it
        target: ModuleType | None = None,  # noqa: ARG002 - as importlib calls it
    ) -> importlib.machinery.ModuleSpec | None:
        """Find a module among those sent."""
        if fullname in self._sources or fullname + PACKAGE in self._sources:
            return importlib.util.spec_from_loader(fullname, self)
        return None

    def get_source(self, fullname: str) -> str:
        """Return the source of a module."""
        return self._sources[fullname + PACKAGE if self.is_package(fullname) else fullname]

    def is_package(self, fullname: str) -> bool:
        """Whether a module has others below it."""
        return fullname + PACKAGE in self._sources


def look() -> None:
    """Print the facts as the agent does, on one line."""
    sent = json.loads(sys.stdin.buffer.readline())
    folder = Path(sent["folder"])
    while not folder.exists():  # there may be no room for it
        folder = folder.parent
    sys.meta_path.insert(0, Sent(sent["sources"]))
    sys.argv[:] = [str(folder / "agent"), *sent["arguments"]]
    runpy.run_module(sent["main"], run_name="__main__")


if __name__ == "__main__":
    look()
