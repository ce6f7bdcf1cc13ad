"""Import of users' builders; whatever they raise becomes a one-line SpecError."""

import importlib
import importlib.util
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchbox.agent.stdio import sentence
from benchbox.errors import SpecError
from benchbox.export.source_digest import LIBRARY_FOLDERS, search_path


@contextmanager
def own_modules() -> Iterator[None]:
    """Remove the modules that a build imported from sys.modules, except those of libraries.

    Two builders may each have a helper.py beside them; one process builds both. Packages that were
    there before, such as torch, keep what they import late.
    """
    before, path = set(sys.modules), list(sys.path)
    packages = {name.partition(".")[0] for name in before}
    try:
        yield
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - before:
            place = getattr(sys.modules[name], "__file__", None)
            if place and name.partition(".")[0] not in packages and not _is_library(Path(place)):
                del sys.modules[name]


def _is_library(place: Path) -> bool:
    return not LIBRARY_FOLDERS.isdisjoint(place.parts) or any(
        place.is_relative_to(folder) for folder in sysconfig.get_paths().values()
    )


def resolve(reference: str, file: str | None) -> Callable[..., object]:
    """Import what `module:callable` names; raises SpecError with the import's own reason."""
    module_name, _, name = reference.rpartition(":")
    try:
        if file is None:
            sys.path[:] = search_path()
            module = importlib.import_module(module_name)
        else:
            sys.path.append(str(Path(file).parent))
            spec = importlib.util.spec_from_file_location(Path(file).stem, file)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules.setdefault(spec.name, module)  # dataclasses and pickle look it up there
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise SpecError(f"builder {reference!r} does not import: {sentence(error)}") from None
    found = getattr(module, name, None)
    if not callable(found):
        what = "has no" if found is None else "has no callable"
        raise SpecError(f"builder {reference!r}: {module_name} {what} {name!r}")
    return found  # type: ignore[no-any-return]
