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
    """A graph that a generator yields: a model, its bytes or a path; `accuracy` is in percent."""

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
        raise CaseError(f"{self.name} has no ONNX model, bytes or path of one")


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
    """What a generator yields; what it raises, and anything else, becomes a SpecError."""
    seen: set[str] = set()
    for number, item in enumerate(_yielded(name), 1):
        where = f"generator {name!r}: item {number}"
        if not isinstance(item, tuple) or len(item) not in (2, 3):
            raise SpecError(f"{where} is no {FORM}")
        own, model, *accuracy = str(item[0]), *item[1:]
        if not 0 < len(own) <= MOST_CHARACTERS or not own.isprintable():
            raise SpecError(f"{where}: its name is no text of 1 to {MOST_CHARACTERS} characters")
        if own in seen:
            raise SpecError(f"{where}: a second graph {own!r}")
        if not all(isinstance(each, Real | None) for each in accuracy):
            raise SpecError(f"{where}: the accuracy of {own!r} is no number")
        seen.add(own)
        yield Generated(own, model, *accuracy)
    if not seen:
        raise SpecError(f"generator {name!r} yields nothing")


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
    made: list[tuple[str, Path]] = []

    def unfolded(selection: Selection) -> list[Case]:
        if not made:  # it is run once
            made.extend((each.name, _file(name, each)) for each in items(name))
        return [case for each in made for case in _cases(function, each, selection)]

    return BlockSpec(function, f"{path.name}:{function}", host.sha256(path), unfolded)


def stream(name: str, selection: Selection) -> Iterator[Case]:
    """The cases of a generator, each once it is asked for."""
    whole = spec(name)
    for each in items(name):
        own: Callable[[Selection], list[Case]] = partial(
            _cases, whole.name, (each.name, _file(name, each))
        )
        yield from unfold([replace(whole, unfold=own)], selection)


def _file(name: str, item: Generated) -> Path:
    try:
        return item.path()
    except (CaseError, ValueError, OSError) as error:  # a model of more than 2 GiB, too
        raise SpecError(f"generator {name!r}: {item.name!r}: {error}") from None


def _cases(spec: str, made: tuple[str, Path], selection: Selection) -> list[Case]:
    name, path = made
    try:
        found: Sequence[Case] = onnx_inputs.spec(path).unfold(selection)
    except (UsageError, OSError) as error:
        if not isinstance(error, GraphError) or not path.is_file():
            raise SpecError(f"{spec}: {name!r}: {error}") from None
        # It fails again once its graph is prepared, and is a failed row then.
        asked = tuple(selection.shapes), 1, OnnxFile(path.resolve())
        found = [Case(spec, name, {}, {}, *asked, symbols=tuple(selection.dims))]
    return [replace(case, spec=spec, name=name, group=name) for case in found]
