"""Generators of graphs: `file.py:callable` that yields them one by one, and the cases of them."""

import ast
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

from benchbox import host
from benchbox.errors import CaseError, GraphError, SpecError, UsageError
from benchbox.export import cache
from benchbox.runner.prepare import unfold
from benchbox.specs import BlockSpec, Case, OnnxFile, Selection, onnx_inputs

if TYPE_CHECKING:
    import onnx

FORM = "(name, model) or (name, model, accuracy)"
MOST_CHARACTERS = 200  # of a name


@dataclass(frozen=True, slots=True)
class Generated:
    """A graph that a generator yields: a model, its bytes or a path; `accuracy` is in percent.

    What is no graph has the reason as its model.
    """

    name: str
    model: object
    accuracy: float | None = None

    def path(self) -> Path:
        """The path of its file, in the cache where there was none; raises CaseError."""
        if isinstance(self.model, str | Path):
            return Path(self.model).expanduser()
        data = self.model if isinstance(self.model, bytes) else self.load().SerializeToString()
        return cache.kept(data, "graph.onnx")

    def load(self) -> "onnx.ModelProto":
        """The model; raises CaseError where there is none."""
        import onnx

        if isinstance(self.model, onnx.ModelProto):
            return self.model
        if isinstance(self.model, bytes):
            return onnx.load_from_string(self.model)
        if isinstance(self.model, str | Path):
            return onnx.load(str(self.model), load_external_data=False)
        if isinstance(self.model, CaseError):
            raise self.model
        raise CaseError("it has no ONNX model, bytes or path of one")


def is_generator(name: str) -> bool:
    """Whether a name is `file.py:callable`, and that one yields: it is read, not run."""
    file, _, function = name.rpartition(":")
    if not file.endswith(".py"):
        return False
    try:
        tree = ast.parse(host.read_file(Path(file).expanduser()))
    except (OSError, SyntaxError, ValueError):
        return False  # what is wrong with it is said where builders are looked for
    return any(
        isinstance(node, ast.FunctionDef)
        and node.name == function
        and any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in ast.walk(node))
        for node in tree.body
    )


def items(name: str) -> Iterator[Generated]:
    """What a generator yields; what it raises becomes a SpecError.

    An item that is none has the reason in place of a model, and a name of its own.
    """
    seen: set[str] = set()
    for number, item in enumerate(_yielded(name), 1):
        found = _item(item, f"item {number}")
        own = found.name
        while found.name in seen:
            fault = CaseError(f"a second graph {own!r}; give each a name of its own")
            found = Generated(f"{found.name} (item {number})", fault)
        seen.add(found.name)
        yield found
    if not seen:
        raise SpecError(f"generator {name!r} yields nothing")


def _item(item: object, place: str) -> Generated:
    if not isinstance(item, tuple) or len(item) not in (2, 3):
        return Generated(place, CaseError(f"it is no {FORM}"))
    name, model, *accuracy = str(item[0]), *item[1:]
    if not 0 < len(name) <= MOST_CHARACTERS or not name.isprintable():
        fault = f"its name is no text of 1 to {MOST_CHARACTERS} characters"
        return Generated(place, CaseError(fault))
    if not all(isinstance(each, Real | None) for each in accuracy):
        return Generated(name, CaseError("its accuracy is no number"))
    return Generated(name, model, *accuracy)


def _yielded(name: str) -> Iterator[object]:
    text, _, function = name.rpartition(":")
    path = Path(text).expanduser().absolute()
    try:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec and spec.loader, "a Python file"
        module = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(path.parent))
        spec.loader.exec_module(module)
        yield from getattr(module, function)()
    except (Exception, SystemExit) as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise SpecError(f"generator {name!r} fails: {what}") from None


def spec(name: str) -> BlockSpec:
    """The spec of a generator, all of whose cases are there once it is unfolded."""
    file, _, function = name.rpartition(":")
    path = Path(file).expanduser()
    made: list[tuple[str, OnnxFile]] = []

    def unfolded(selection: Selection) -> list[Case]:
        if not made:  # it is run once
            made.extend((each.name, _file(each)) for each in items(name))
        return [case for each in made for case in _cases(function, *each, selection)]

    return BlockSpec(function, f"{path.name}:{function}", host.sha256(path), unfolded)


def stream(name: str, selection: Selection) -> Iterator[Case]:
    """The cases of a generator, each once it is asked for."""
    whole = spec(name)
    for each in items(name):
        own: Callable[[Selection], list[Case]] = partial(_cases, whole.name, each.name, _file(each))
        yield from unfold([replace(whole, unfold=own)], selection)


def _file(item: Generated) -> OnnxFile:
    """The file of an item, or why it has none."""
    try:
        return OnnxFile(item.path())
    except (CaseError, ValueError, OSError) as error:  # a model of more than 2 GiB, too
        return OnnxFile(Path(), str(error))


def _cases(spec: str, name: str, file: OnnxFile, selection: Selection) -> list[Case]:
    """The cases of a file; where there is no graph, one that becomes a failed row."""
    try:
        if file.fault:
            raise GraphError(file.fault)
        found: Sequence[Case] = onnx_inputs.spec(file.path).unfold(selection)
    except (GraphError, OSError) as error:
        none = replace(file, fault=str(error))
        asked = tuple(selection.shapes), 1, none
        found = [Case(spec, name, {}, {}, *asked, symbols=tuple(selection.dims))]
    except UsageError as error:
        raise SpecError(f"{spec}: {name!r}: {error}") from None
    return [replace(case, spec=spec, name=name, group=name) for case in found]
