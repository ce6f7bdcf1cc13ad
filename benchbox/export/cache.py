"""Content-addressed cache of graphs: one key per case, entries written atomically."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchbox import agent, costs, host
from benchbox.errors import BenchboxError, CaseError, GraphError, StorageError
from benchbox.export import source_digest
from benchbox.export.graph import MODEL, OPSET, SEED, Graph
from benchbox.specs import Builder, Case, OnnxFile, onnx_file

FACTS = "graph.json"
MOST_MB = 16  # of the facts
# What reading facts that somebody else wrote may raise.
BROKEN = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
FULL = (errno.EFBIG, errno.ENOSPC, errno.EDQUOT, errno.EROFS)
ABANDONED_S = 3600.0  # an unfinished entry this old belongs to a process that is gone
# A larger .onnx file is timed where it is, and hashed before and after each load: a copy would take
# longer than that, and room in the cache.
COPIED_BYTES = 256 << 20
UNUSED_S = 30 * 86400.0
LIBRARIES = ("torch", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu")


def folder() -> Path:
    """The folder of the cached graphs."""
    return host.cache_folder() / "graphs"


def copies() -> Path:
    """The folder of the .onnx files that graphs are timed from."""
    return host.cache_folder() / "files"


def keys(cases: Sequence[Case]) -> dict[str, str]:
    """The key of each case's graph by case key; sources that cases share are read once."""
    digest_of = cache(source_digest.digest)
    return {case.key: key(case, digest_of) for case in cases}


def key(case: Case, digest_of: Callable[[Builder], str] = source_digest.digest) -> str:
    """The key of a case's graph: a digest of all that decides its bytes and its verdict.

    Raises SpecError or GraphError when its source is not there.
    """
    inputs = [[tensor.name, tensor.shape, tensor.dtype] for tensor in case.inputs]
    if isinstance(case.source, Builder):
        source = {"builder": case.source.reference, "text": digest_of(case.source)}
        if case.source.weights is not None:
            source |= {"network": case.source.network, "weights": _weights(case.source)}
    else:
        path = case.source.path
        source = {"file": digest(path, onnx_file.external_files(path))}
    parts = {
        "source": source,
        "args": dict(case.args),
        "inputs": inputs,
        "opset": OPSET,
        "seed": SEED,
        "code": _own_code(),
        "versions": versions(),
    }
    if case.halved:
        parts["dtype"] = case.dtype
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _weights(source: Builder) -> str:
    """The sha256 of a checkpoint; raises CaseError where it is no more what was asked for."""
    assert source.weights is not None, "it has a checkpoint"
    if host.sha256(source.weights) != source.weights_sha256:
        raise CaseError(f"{source.weights.name}: it has changed since; run again")
    return source.weights_sha256


def settled(case: Case) -> Case:
    """The case with a copy in the cache as its .onnx file, whatever becomes of the file itself.

    Raises GraphError for a file that changes meanwhile, StorageError without room in the cache.
    """
    if isinstance(case.source, Builder):
        return case
    path = case.source.path
    beside = onnx_file.external_files(path)
    size = sum((path.parent / name).stat().st_size for name in (path.name, *beside))
    if size > COPIED_BYTES or FACTS in (path.name, *beside):
        return case
    sha256 = digest(path, beside)
    entry = hashlib.sha256(f"{sha256} {path.name}".encode(errors="surrogateescape")).hexdigest()
    is_same = partial(_is_copy_of, name=path.name, beside=beside, sha256=sha256)
    copy = next(filter(is_same, _places(entry, copies())), None)
    if copy is None:
        with new_entry(entry, copies(), is_same) as fresh:
            for name in (path.name, *beside):
                (fresh / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path.parent / name, fresh / name)
            if not is_same(fresh):
                raise GraphError(f"{path.name}: it changed while it was read; run again")
        copy = next(filter(is_same, _places(entry, copies())), path.parent)
    with contextlib.suppress(OSError):
        os.utime(copy)
    return replace(case, source=OnnxFile(copy / path.name))


def _is_copy_of(entry: Path, name: str, beside: Sequence[str], sha256: str) -> bool:
    return _is_whole(entry / name, beside, sha256)


def drop_changed(made: Mapping[str, Case]) -> list[str]:
    """The keys whose builder or weights changed while they were made; their entries are removed."""
    digest_of, dropped = cache(source_digest.digest), []
    for expected, case in made.items():
        if not isinstance(case.source, Builder):
            continue  # its copy does not change
        try:
            is_same = key(case, digest_of) == expected
        except (BenchboxError, OSError):
            is_same = False
        if not is_same:
            for entry in _places(expected, folder()):
                _remove(entry)
            dropped.append(expected)
    return dropped


def _is_whole(path: Path, beside: Sequence[str], sha256: str) -> bool:
    try:
        return digest(path, beside) == sha256
    except OSError:
        return False


def require_unchanged(case: Case, graph: Graph, *, as_module: bool = False) -> None:
    """Raise CaseError unless a graph's files are still what its sha256 is of.

    With `as_module` it is built anew from its source, which must be what the graph was made from.
    """
    same = _is_whole(graph.path, graph.beside, graph.sha256)
    if same and as_module:
        made = lookup(key(case), case)
        same = made is not None and made.sha256 == graph.sha256
    if not same:
        raise CaseError(f"{graph.path.name}: it has changed since it was prepared; run again")


def is_copy(graph: Graph) -> bool:
    """Whether a graph lies in the cache, where nobody changes it."""
    return graph.path.is_relative_to(host.cache_folder())


@cache
def versions() -> dict[str, str]:
    """Return the versions of the libraries that export and verify, without importing them."""
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@cache
def _own_code() -> str:
    """Return the digest of the modules that export, verify and count."""
    own, device = (Path(str(module.__file__)).parent for module in (costs, agent))
    here = Path(__file__).parent
    files = (
        sorted(own.glob("*.py")) + sorted((device / "ort").glob("*.py")) + sorted(here.glob("*.py"))
    )
    text = b"".join(path.read_bytes() for path in files)
    return hashlib.sha256(text).hexdigest()


def lookup(key: str, case: Case) -> Graph | None:
    """Return the graph kept under `key`, None where there is none or it is not intact."""
    lies = case.source.path if isinstance(case.source, OnnxFile) and not case.halved else None
    for entry in _places(key, folder()):
        with contextlib.suppress(*BROKEN):
            graph = _read(entry, key, lies or entry / MODEL)
            if _is_intact(graph):
                return graph
    return None


def _is_intact(graph: Graph) -> bool:
    """Whether a graph's files are those that its facts are of; a wrong size is seen at once."""
    files = [graph.path, *(graph.path.parent / name for name in graph.beside)]
    is_sized = sum(file.stat().st_size for file in files) == graph.size_bytes
    return is_sized and digest(graph.path, graph.beside) == graph.sha256


def _places(key: str, parent: Path) -> list[Path]:
    """The entry of a key, and this user's own, for one that is broken and cannot be replaced."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    return [parent / key, parent / f"{key}-{user}"]


def write_facts(entry: Path, key: str, graph: Graph) -> None:
    """Write the facts of a graph into its entry, with a digest of them and of their key."""
    facts = graph.facts()
    text = json.dumps({"facts": facts, "sha256": _seal(key, facts)})
    (entry / FACTS).write_text(text)


def _read(entry: Path, key: str, path: Path) -> Graph:
    """The graph at `path` by the facts of an entry; raises one of BROKEN."""
    kept = json.loads(host.read_file(entry / FACTS, MOST_MB))
    if kept["sha256"] != _seal(key, kept["facts"]):
        raise ValueError("facts of another graph, or changed ones")
    return Graph.of(path, kept["facts"])


def _seal(key: str, facts: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps([key, facts], sort_keys=True).encode()).hexdigest()


def digest(path: Path, beside: Sequence[str] = ()) -> str:
    """Return the sha256 of an .onnx file; of it and the files `beside` it where it has any."""
    own = host.sha256(path)
    if not beside:
        return own
    parts = [own, *(host.sha256(path.parent / name) for name in beside)]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


@contextlib.contextmanager
def new_entry(
    key: str, parent: Path | None = None, is_same: Callable[[Path], bool] | None = None
) -> Iterator[Path]:
    """A folder to fill that becomes the entry of `key` when the block ends without an error.

    The move is atomic: a process that dies leaves no half entry, and of two that make the same
    entry, which `is_same` tells, one wins and the other's work is dropped. Raises StorageError when
    the cache cannot be written.
    """
    parent = parent or folder()
    try:
        parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix="new-", dir=parent))
    except OSError as error:
        raise _unwritable(parent, error) from None
    try:
        yield fresh
        _sync(fresh)
        _publish(fresh, _places(key, parent), is_same or partial(_same, fresh, key))
    except OSError as error:
        if error.errno in FULL:
            raise _unwritable(parent, error) from None
        raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for what is needed while an entry is made, on the cache's disk."""
    with tempfile.TemporaryDirectory(prefix="new-", dir=folder()) as name:
        yield Path(name)


def _unwritable(parent: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{parent}: the cache cannot be written ({error.strerror}); "
        "set BENCHBOX_CACHE_DIR to a folder that can"
    )


def _same(fresh: Path, key: str, entry: Path) -> bool:
    """Whether an entry is intact and has the same graph as the fresh one."""
    try:
        new, old = (_read(place, key, place / MODEL) for place in (fresh, entry))
        if new.sha256 != old.sha256:
            return False
        return not new.path.exists() or _is_intact(old)
    except BROKEN:
        return False


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _publish(fresh: Path, places: Sequence[Path], is_same: Callable[[Path], bool]) -> None:
    """Make the fresh folder an entry, unless another process was first."""
    for entry in places:
        if is_same(entry) or _replaced(entry, fresh):
            return
    raise StorageError(
        f"{places[0]}: it is broken and cannot be replaced; remove it, or set "
        "BENCHBOX_CACHE_DIR to another folder"
    )


def _replaced(entry: Path, fresh: Path) -> bool:
    try:
        fresh.rename(entry)
    except OSError:  # what is there is broken, no folder, another's, or came this moment
        stale = fresh.with_name(f"{fresh.name}-old")
        with contextlib.suppress(OSError):
            entry.rename(stale)
        try:
            fresh.rename(entry)
        except OSError:
            return False
        finally:
            _remove(stale)
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sweep() -> None:
    """Remove what processes that were killed left unfinished, and copies long out of use."""
    for parent, name, most_s in (
        (folder(), "new-*", ABANDONED_S),
        (copies(), "new-*", ABANDONED_S),
        (copies(), "*", UNUSED_S),
    ):
        for path in parent.glob(name):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > most_s:
                    _remove(path)
