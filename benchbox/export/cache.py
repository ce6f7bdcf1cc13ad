"""Content-addressed cache of graphs: one key per case, entries written atomically."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchbox import agent, costs, host
from benchbox.errors import StorageError
from benchbox.export import source_digest
from benchbox.export.graph import MODEL, OPSET, SEED, Graph
from benchbox.specs import Builder, Case, OnnxFile, onnx_file

FACTS = "graph.json"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
ABANDONED_S = 3600.0  # an unfinished entry this old belongs to a process that is gone
LIBRARIES = ("torch", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu")


def folder() -> Path:
    """The folder of the cached graphs."""
    return host.cache_folder() / "graphs"


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
            source |= {"network": case.source.network, "weights": case.source.weights_sha256}
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
    """Return the graph kept under `key`, None where there is none or its file is not intact."""
    entry = folder() / key
    try:
        facts = json.loads((entry / FACTS).read_text())
        path = entry / MODEL
        if isinstance(case.source, OnnxFile) and not case.halved:
            path = case.source.path
        graph = Graph.of(path, facts)
        return graph if digest(path, graph.beside) == graph.sha256 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def digest(path: Path, beside: Sequence[str] = ()) -> str:
    """Return the sha256 of an .onnx file; of it and the files `beside` it where it has any."""
    own = host.sha256(path)
    if not beside:
        return own
    parts = [own, *(host.sha256(path.parent / name) for name in beside)]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


@contextlib.contextmanager
def new_entry(key: str) -> Iterator[Path]:
    """A folder to fill that becomes the entry of `key` when the block ends without an error.

    The move is atomic: a process that dies leaves no half entry, and of two that make the same
    entry one wins and the other's work is dropped. Raises StorageError when the cache cannot be
    written.
    """
    parent = folder()
    try:
        parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix="new-", dir=parent))
    except OSError as error:
        raise _unwritable(parent, error) from None
    try:
        yield fresh
        _sync(fresh)
        _publish(fresh, parent / key)
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


def _same(fresh: Path, entry: Path) -> bool:
    """Whether an entry is intact and has the same graph as the fresh one."""
    try:
        new, old = (json.loads((place / FACTS).read_text()) for place in (fresh, entry))
        if new["sha256"] != old["sha256"]:
            return False
        built = (fresh / MODEL).exists()
        return not built or digest(entry / MODEL, old["beside"]) == old["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _sync(folder: Path) -> None:
    for path in [*folder.iterdir(), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _publish(fresh: Path, entry: Path) -> None:
    if _same(fresh, entry):
        return  # another process was first; what it made is as good
    try:
        fresh.rename(entry)
    except OSError:  # what is there is broken, or came this moment
        stale = fresh.with_name(f"{fresh.name}-old")
        with contextlib.suppress(OSError):
            entry.rename(stale)
        with contextlib.suppress(OSError):
            fresh.rename(entry)
        shutil.rmtree(stale, ignore_errors=True)


def sweep() -> None:
    """Remove what processes that were killed left unfinished."""
    for path in folder().glob("new-*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(path, ignore_errors=True)
