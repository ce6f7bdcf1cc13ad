"""Import of users' builders; what raises, or builds no nn.Module, becomes a one-line SpecError."""

import functools
import importlib
import importlib.util
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchbox.errors import SpecError
from benchbox.export.causes import cause
from benchbox.export.source_digest import is_library, search_path


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
            if place and name.partition(".")[0] not in packages and not is_library(Path(place)):
                del sys.modules[name]


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
        raise SpecError(f"builder {reference!r} does not import: {cause(error)}") from None
    found = getattr(module, name, None)
    if not callable(found):
        what = "has no" if found is None else "has no callable"
        raise SpecError(f"builder {reference!r}: {module_name} {what} {name!r}")
    if not _may_build(found):
        raise SpecError(
            f"builder {reference!r} is not called: it must be a class of nn.Module, or a Python "
            "function that returns one, of your own or of a library built on torch"
        )
    return found  # type: ignore[no-any-return]


def _may_build(found: Callable[..., object]) -> bool:
    """Whether a callable may return an nn.Module, as far as can be known without calling it."""
    from torch import nn

    while isinstance(found, functools.partial):
        found = found.func
    if isinstance(found, type):
        return issubclass(found, nn.Module)
    function = inspect.unwrap(found if inspect.isroutine(found) else type(found).__call__)
    if not isinstance(function, types.FunctionType | types.MethodType):
        return False  # one of C: of Python itself, or of a library that computes
    returned = _returned(function)
    if isinstance(returned, type) and not getattr(returned, "_is_protocol", False):
        return issubclass(returned, nn.Module)
    return _is_of_networks(function, nn)


def _returned(function: Callable[..., object]) -> object:
    """The class that a function says it returns, None's too; None where it says nothing of use."""
    try:
        returned = typing.get_type_hints(function).get("return")
    except Exception:  # a name that only type checkers see, or anything else in a text
        return None
    return None if returned in (object, typing.Any) else returned


def _is_of_networks(function: Callable[..., object], nn: types.ModuleType) -> bool:
    """Whether a function that does not say what it returns is a user's, or of what builds on torch.

    torch's own functions say so where they return a module; others of it load, save and fetch.
    """
    top = function.__module__.partition(".")[0]
    if top in sys.stdlib_module_names or top == "torch":
        return False
    place = inspect.getsourcefile(function)
    if place is None or not is_library(Path(place)):
        return True
    parts = [m for name, m in list(sys.modules.items()) if name.partition(".")[0] == top]
    return any(nn in vars(part).values() for part in parts if part is not None)
