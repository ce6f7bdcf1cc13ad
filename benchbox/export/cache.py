"""Content-addressed cache of graphs: a key for each case, and the facts under it."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchbox import agent, costs, host
from benchbox.errors import BenchboxError, CaseError, GraphError, StorageError
from benchbox.export import entries, reads, source_digest
from benchbox.export.graph import MODEL, OPSET, SEED, Graph
from benchbox.export.reads import Reads
from benchbox.networks import libraries
from benchbox.specs import Builder, Case, OnnxFile, onnx_file

FACTS = "graph.json"
MOST_MB = 16  # of the facts
# What reading facts that somebody else wrote may raise.
BROKEN = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
# A larger .onnx file is timed where it is, and hashed before and after each load: a copy would take
# longer than that, and room in the cache.
COPIED_BYTES = 256 << 20
LIBRARIES = ("torch", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu")


def keys(cases: Sequence[Case]) -> dict[str, str]:
    """The key of each case's graph by case key; sources that cases share are read once."""
    digest_of = cache(source_digest.digest)
    return {case.key: key(case, digest_of) for case in cases}


def key(case: Case, digest_of: Callable[[Builder], str] = source_digest.digest) -> str:
    """The key of a case's graph: a digest of all that decides its bytes and its verdict.

    Raises SpecError or GraphError when its source is not there.
    """
    inputs = [[t.name, t.shape, t.dtype, str(t.values or "")] for t in case.inputs]
    if isinstance(case.source, Builder):
        source = {"builder": case.source.reference, "text": digest_of(case.source)}
        if case.source.reference.startswith(libraries.MODELS):
            source |= {"library": libraries.identity(case.source.reference.rpartition(":")[2])}
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
    if case.conversion:
        parts["conversion"] = case.conversion
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _weights(source: Builder) -> str:
    """The sha256 of a checkpoint; raises CaseError where it is no more what was asked for."""
    assert source.weights is not None, "it has a checkpoint"
    if host.sha256(source.weights) != source.weights_sha256:
        raise CaseError(f"{source.weights.name}: it has changed since; run again")
    return source.weights_sha256


def settled(case: Case) -> Case:
    """The case with a copy in the cache as its .onnx file, whatever becomes of the file itself.

    Raises GraphError for a file that changes meanwhile, or that is known to be none, StorageError
    without room in the cache.
    """
    if isinstance(case.source, Builder):
        return case
    if case.source.fault:
        raise GraphError(case.source.fault)
    path = case.source.path
    beside = onnx_file.external_files(path)
    size = sum((path.parent / name).stat().st_size for name in (path.name, *beside))
    if size > COPIED_BYTES or FACTS in (path.name, *beside):
        return case

    def fill(fresh: Path) -> None:
        for name in (path.name, *beside):
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path.parent / name, fresh / name)

    copy = _copy(path.name, beside, digest(path, beside), fill) or path.parent
    return replace(case, source=OnnxFile(copy / path.name))


def kept(data: bytes, name: str) -> Path:
    """The path of an .onnx file in the cache that has these bytes, as `settled` would find it.

    Raises StorageError without room in the cache.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    copy = _copy(name, (), sha256, lambda fresh: (fresh / name).write_bytes(data))
    if copy is None:
        raise StorageError(f"{entries.copies()}: what is written there changes; run again")
    return copy / name


def _copy(
    name: str, beside: Sequence[str], sha256: str, fill: Callable[[Path], object]
) -> Path | None:
    """The folder of a copy in the cache, which `fill` makes; None where it is gone at once."""
    entry = hashlib.sha256(f"{sha256} {name}".encode(errors="surrogateescape")).hexdigest()

    def is_same(folder: Path) -> bool:
        return _is_whole(folder / name, beside, sha256)

    copy = next(filter(is_same, entries.places(entry, entries.copies())), None)
    if copy is None:
        with entries.new(entries.copies(), entry, lambda _, found: is_same(found)) as fresh:
            fill(fresh)
            if not is_same(fresh):
                raise GraphError(f"{name}: it changed while it was read; run again")
        copy = next(filter(is_same, entries.places(entry, entries.copies())), None)
    if copy is not None:
        with contextlib.suppress(OSError):
            os.utime(copy)
    return copy


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
            for entry in entries.places(expected, entries.graphs()):
                entries.remove(entry)
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
    given = [tensor.values for tensor in case.inputs if tensor.values and tensor.values.file]
    same = _is_whole(graph.path, graph.beside, graph.sha256)
    same = same and all(
        _is_whole(values.file, (), values.sha256) for values in given if values.file
    )
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
    lies = case.source.path if isinstance(case.source, OnnxFile) and not case.conversion else None
    for entry in entries.places(key, entries.graphs()):
        with contextlib.suppress(*BROKEN):
            graph, files = _read(entry, key, lies or entry / MODEL)
            source = case.source
            is_same = isinstance(source, OnnxFile) or reads.are_unchanged(files, source)
            if is_same and _is_intact(graph):
                return graph
    return None


def _is_intact(graph: Graph) -> bool:
    """Whether a graph's files are those that its facts are of; a wrong size is seen at once."""
    files = [graph.path, *(graph.path.parent / name for name in graph.beside)]
    is_sized = sum(file.stat().st_size for file in files) == graph.size_bytes
    return is_sized and digest(graph.path, graph.beside) == graph.sha256


def write_facts(entry: Path, key: str, graph: Graph, files: Reads | None = None) -> None:
    """Write the facts of a graph, and the `files` that its builder read, into its entry."""
    facts = {**graph.facts(), "observed": dict(graph.observed)}
    parts = {"facts": facts, "reads": files or {}}
    text = json.dumps({**parts, "sha256": _seal(key, parts)})
    (entry / FACTS).write_text(text)


def _read(entry: Path, key: str, path: Path) -> tuple[Graph, Reads]:
    """The graph at `path` by the facts of an entry, and what was read; raises one of BROKEN."""
    kept = json.loads(host.read_file(entry / FACTS, MOST_MB))
    if kept.pop("sha256") != _seal(key, kept):
        raise ValueError("facts of another graph, or changed ones")
    return Graph.of(path, kept["facts"]), kept["reads"]


def _seal(key: str, parts: Mapping[str, object]) -> str:
    """The digest of the facts of an entry and of their key."""
    return hashlib.sha256(json.dumps([key, parts], sort_keys=True).encode()).hexdigest()


def digest(path: Path, beside: Sequence[str] = ()) -> str:
    """Return the sha256 of an .onnx file; of it and the files `beside` it where it has any."""
    own = host.sha256(path)
    if not beside:
        return own
    parts = [own, *(host.sha256(path.parent / name) for name in beside)]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def new_entry(key: str) -> contextlib.AbstractContextManager[Path]:
    """A folder to fill with a graph, that becomes the entry of `key` as `entries.new` says."""
    return entries.new(entries.graphs(), key, partial(_same, key))


def _same(key: str, fresh: Path, entry: Path) -> bool:
    """Whether an entry is intact and has the same graph as the fresh one."""
    try:
        (new, files), (old, others) = (_read(each, key, each / MODEL) for each in (fresh, entry))
        if (new.sha256, files) != (old.sha256, others):
            return False
        return not new.path.exists() or _is_intact(old)
    except BROKEN:
        return False
