"""Checkouts of git revisions: what a builder there imports from its repository is theirs, too.

Python's path, PYTHONPATH and editable installs name folders of the repository itself, where the
newer files are. Imports are looked for at the same place in the checkout instead, and so are files
named from the current folder. What git ignores, as extensions that are built in place, is taken
where it is.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from benchbox.export.source_digest import moved
from benchbox.specs import Checkout


def message(checkout: Checkout | None) -> dict[str, object] | None:
    """A checkout as JSON types."""
    if checkout is None:
        return None
    folders = {"top": str(checkout.top), "folder": str(checkout.folder)}
    return {**folders, "commit": checkout.commit, "ignored": sorted(checkout.ignored)}


def of(told: Mapping[str, Any] | None) -> Checkout | None:
    """The checkout of a `message`."""
    if told is None:
        return None
    ignored = frozenset(told["ignored"])
    return Checkout(Path(told["top"]), Path(told["folder"]), told["commit"], ignored)


@contextmanager
def within(checkout: Checkout | None) -> Iterator[None]:
    """Import from a checkout, and be in its counterpart of the current folder, within the block."""
    if checkout is None:
        yield
        return
    here, finders = Path.cwd(), list(sys.meta_path)
    there = moved(here, checkout)
    there.mkdir(parents=True, exist_ok=True)
    os.chdir(there)
    sys.meta_path[:] = [_Finder(finders, checkout)]
    try:
        yield
    finally:
        sys.meta_path[:] = finders
        os.chdir(here)


class _Finder(MetaPathFinder):
    """The finders of Python and of what is installed, with what they find taken to a checkout."""

    def __init__(self, finders: Sequence[Any], checkout: Checkout) -> None:
        self._finders, self._checkout = finders, checkout

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module, None where the checkout has no such one."""
        places = list(sys.path if path is None else path)
        there = [str(moved(each, self._checkout)) for each in places]
        for finder in self._finders:
            found = finder.find_spec(name, there if finder is PathFinder else path, target)
            if found and (taken := self._taken(found)):
                return taken
        here = [str(self._original(each)) for each in places]
        found = PathFinder.find_spec(name, here, target)
        return found if found and all(self._moved(each) == each for each in _paths(found)) else None

    def _moved(self, path: str) -> str:
        return str(moved(path, self._checkout))

    def _original(self, path: str) -> Path:
        """The place in the repository of a path in the checkout."""
        own, checkout = Path(path), self._checkout
        is_in = own.is_relative_to(checkout.folder)
        return checkout.top / own.relative_to(checkout.folder) if is_in else own

    def _taken(self, found: ModuleSpec) -> ModuleSpec | None:
        """A spec with the files of the checkout, None where it has none."""
        paths = _paths(found)
        there = list(map(self._moved, paths))
        if there == paths:
            return found
        if not (there := [each for each in there if Path(each).exists()]):
            return None
        folders = found.submodule_search_locations
        inside = None if folders is None else [self._moved(each) for each in folders]
        if found.has_location:
            return spec_from_file_location(found.name, there[0], submodule_search_locations=inside)
        spec = ModuleSpec(found.name, None, is_package=True)
        spec.submodule_search_locations = there
        return spec


def _paths(found: ModuleSpec) -> list[str]:
    """The file of a module, or the folders of a package without one; none of what is built in."""
    if found.has_location and found.origin:
        return [found.origin]
    return list(found.submodule_search_locations or [])
