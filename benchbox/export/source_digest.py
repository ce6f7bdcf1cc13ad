"""Digest of the source files behind a builder, found without importing it; part of cache keys."""

import ast
import hashlib
import os
import sys
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from importlib.machinery import PathFinder
from pathlib import Path

from benchbox import host
from benchbox.errors import SpecError
from benchbox.specs import Builder, Checkout

MOST_MB = 16  # of a source file
# Modules that lie in one of these do not belong together.
OWN = Path(__file__).parents[1]
LIBRARY_FOLDERS = frozenset({"site-packages", "dist-packages"})


def search_path() -> list[str]:
    """The folders where builder modules are looked for: Python's path, then the current folder."""
    return [*sys.path, str(Path.cwd())]


def moved(path: str | Path, checkout: Checkout | None) -> Path:
    """Where a path of a repository is in a checkout; of libraries and what git ignores, itself."""
    real = Path(os.path.realpath(path))
    if checkout is None or not real.is_relative_to(checkout.top) or is_library(real):
        return Path(path)
    own = real.relative_to(checkout.top)
    is_ignored = any(str(each) in checkout.ignored for each in (own, *own.parents))
    if is_ignored or real.is_relative_to(checkout.folder):
        return Path(path)
    return checkout.folder / own


def digest(builder: Builder) -> str:
    """Return the sha256 of the builder's module and of every module beside it that it imports.

    Beside it means in the same top-level package, and in the same folder for a file or a module of
    no package; of other libraries the key has the versions. In a checkout the commit stands for
    them, with what decides where in it modules are found. Raises SpecError when there is no such
    module.
    """
    result = hashlib.sha256()
    if checkout := builder.checkout:
        folders = [place(builder)[0], *(moved(each, checkout) for each in search_path())]
        own = (p for p in folders if p.is_relative_to(checkout.folder))
        names = [str(path.relative_to(checkout.folder)) for path in own]
        result.update("\0".join([checkout.commit, *names]).encode(errors="surrogateescape"))
        return result.hexdigest()
    for name, text in sources(builder).items():
        result.update(name.encode() + b"\0" + text + b"\0")
    return result.hexdigest()


def sources(builder: Builder) -> dict[str, bytes]:
    """The files that `digest` reads, by their names in the folder that modules are named from."""
    start, root, top = place(builder)
    return {str(path.relative_to(root)): _read(path) for path in sorted(_closure(start, root, top))}


def place(builder: Builder) -> tuple[Path, Path, str | None]:
    """The file of a builder, the folder that its modules are named from, and their package."""
    if builder.path is not None:
        return builder.path, builder.path.parent, None
    module = builder.reference.rpartition(":")[0]
    start = _locate(builder.reference, module, builder.checkout)
    depth = module.count(".") + (start.name == "__init__.py")
    root = start.parents[depth]
    alone = not depth and root.name not in LIBRARY_FOLDERS
    return start, root, None if alone else module.partition(".")[0]


def is_own(builder: Builder) -> bool:
    """Whether a builder is of benchbox itself: it changes nothing of torch, and reads no data."""
    return builder.reference.startswith("benchbox.networks.")


def is_library(path: Path) -> bool:
    """Whether a file is of Python, of an installed library, or of benchbox, wherever it lies."""
    is_installed = not LIBRARY_FOLDERS.isdisjoint(path.parts)
    return is_installed or any(path.is_relative_to(folder) for folder in _library_folders())


@cache
def _library_folders() -> frozenset[str]:
    return frozenset((str(OWN), *sysconfig.get_paths().values()))


def _read(path: Path) -> bytes:
    try:
        return host.read_file(path, MOST_MB)
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from None


def _locate(reference: str, module: str, checkout: Checkout | None) -> Path:
    """Return a module's file, walking its packages without running them."""
    path: list[str] | None = [str(moved(each, checkout)) for each in search_path()]
    spec = None
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        spec = PathFinder.find_spec(name, path)
        if spec is None and name == part:  # an editable install may have a finder of its own
            found = (each.find_spec(name, None, None) for each in sys.meta_path)
            spec = next((each for each in found if each and each.has_location), None)
        if spec is None:
            raise SpecError(f"builder {reference!r}: there is no module {name!r}")
        path = [str(moved(each, checkout)) for each in spec.submodule_search_locations or []]
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise SpecError(f"builder {reference!r}: {module!r} is not a Python source file")
    return moved(spec.origin, checkout)


def _closure(start: Path, root: Path, top: str | None) -> set[Path]:
    """`start`, the packages around it, and every file below `root` that these import."""
    found: set[Path] = set()
    pending = [start, *_files(root, start.relative_to(root).parent.parts)]
    while pending:
        path = pending.pop()
        if path in found:
            continue
        found.add(path)
        pending += [
            file
            for name in _imports(path, root)
            if top is None or name[0] == top
            for file in _files(root, name)
        ]
    return found


def _imports(path: Path, root: Path) -> Iterator[tuple[str, ...]]:
    """Yield every module that a file's import statements may mean, as parts from `root` down."""
    package = path.relative_to(root).parent.parts
    for level, name in _import_statements(_read(path)):
        base = package[: len(package) - level + 1] if level else ()
        if base or name:
            yield (*base, *name)


@lru_cache(maxsize=1024)  # many cases share their builders' files
def _import_statements(text: bytes) -> Sequence[tuple[int, tuple[str, ...]]]:
    """The dots before each module that is imported in a source text, and the parts of its name."""
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # null bytes, deep brackets
        return []  # it will be reported by the import itself
    found: list[tuple[int, tuple[str, ...]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(0, tuple(alias.name.split("."))) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = tuple(node.module.split(".")) if node.module else ()
            found += [(node.level, module), *((node.level, (*module, a.name)) for a in node.names)]
    return found


def _files(root: Path, name: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files that importing a module runs: its packages' and its own."""
    for depth in range(1, len(name) + 1):
        place = root.joinpath(*name[:depth])
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if file.is_file():
                yield file
