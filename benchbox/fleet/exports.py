"""Exports of a fleet: graphs made by workers that have torch, for submitters that have not."""

import hashlib
import importlib.util
import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from benchbox import __version__, export, host
from benchbox.errors import BenchboxError, CaseError, DeviceError, SpecError, UsageError
from benchbox.export import Graph, source_digest
from benchbox.export.graph import MODEL
from benchbox.export.prepare import Progress
from benchbox.fleet import store, task
from benchbox.fleet.task import Text, Word
from benchbox.runner.prepare import matched
from benchbox.specs import BlockSpec, Builder, Case

NEEDED = "torch"
MOST_BYTES = 64 << 20  # of a builder's sources
BYTEWISE = "latin-1"  # a character for each byte: Python reads sources of any encoding
NOBODY = (
    "torch is not installed here, and no worker of the fleet exports graphs; "
    "`benchbox worker --role export` does, where torch is"
)
AT_HOME = (
    "an exporter has benchbox's networks and builders in files alone, no checkpoints and no values "
    "from files: install torch here"
)


class Exporters(Protocol):
    """The workers of a fleet that export graphs, as its scheduler reaches them."""

    def export(self, text: str, key: str) -> str:
        """Have a worker with that role do an export; raises DeviceError where none is."""

    def call(self, host: str, function: Callable[..., Any], *args: object) -> Any:  # noqa: ANN401
        """Call a function on the host of a worker."""


@dataclass(frozen=True, slots=True)
class Export:
    """Cases to be exported, and the sources of their builder where it is a file, by name."""

    cases: Sequence[Case]
    start: str = ""  # of the sources, the builder's
    sources: Mapping[str, str] = field(default_factory=dict)
    benchbox: Word = __version__


@dataclass(frozen=True, slots=True)
class Exported:
    """The graphs of cases, or why they have none; and the worker whose host keeps them.

    A failure may be one of a builder, which is the same anywhere.
    """

    graphs: Mapping[str, Graph | Text] = field(default_factory=dict)
    worker: Text = ""
    failure: Text = ""
    is_of_spec: bool = False


def is_needed() -> bool:
    """Whether this machine cannot export graphs itself."""
    return importlib.util.find_spec(NEEDED) is None


def prepare(
    exporters: Exporters, specs: Sequence[BlockSpec], cases: Sequence[Case], progress: Progress
) -> dict[str, Graph | CaseError]:
    """Each case's graph, or why it has none: of builders from exporters, fetched once by content.

    Raises SpecError as a preparation here does, and DeviceError where nobody exports.
    """
    found = export.prepare([c for c in cases if not isinstance(c.source, Builder)], progress)
    built = [case for case in cases if isinstance(case.source, Builder)]
    found |= {case.key: CaseError(AT_HOME) for case in built if not _can_travel(case)}
    for number, group in enumerate(groups := [*_by_sources(filter(_can_travel, built))]):
        progress(number, len(groups), group.cases[0].key)
        found |= _of(exporters, group)
    if groups:
        progress(len(groups), len(groups), "")
    return matched(specs, cases, {case.key: found[case.key] for case in cases})


def _can_travel(case: Case) -> bool:
    """Whether an exporter can have what a case is made of."""
    source = case.source
    if not isinstance(source, Builder) or source.weights or source.checkout:
        return False
    has_files = any(tensor.values and tensor.values.file for tensor in case.inputs)
    return not has_files and (source.path is not None or source_digest.is_own(source))


def _by_sources(cases: Iterable[Case]) -> Iterator[Export]:
    """The cases of each builder's sources, as they are sent."""
    by_file: dict[Path | None, list[Case]] = {}
    for case in cases:
        assert isinstance(case.source, Builder), "others are files"
        by_file.setdefault(case.source.path, []).append(case)
    for path, own in by_file.items():
        bare = [task.bare(case) for case in own]
        if path is None:
            yield Export(bare)
            continue
        assert isinstance(own[0].source, Builder), "others are files"
        sources = source_digest.sources(own[0].source)
        if sum(map(len, sources.values())) > MOST_BYTES:
            raise CaseError(f"{path.name}: its sources are too large to be sent to an exporter")
        texts = {
            PurePosixPath(Path(name)).as_posix(): data.decode(BYTEWISE)
            for name, data in sources.items()
        }
        yield Export(bare, path.name, texts)


def _of(exporters: Exporters, asked: Export) -> dict[str, Graph | CaseError]:
    text = task.dump(asked)
    key = f"benchbox-export-{hashlib.sha256(text.encode()).hexdigest()}"
    reply = task.parse(Exported, exporters.export(text, key))
    if reply.failure and reply.is_of_spec:
        raise SpecError(reply.failure)
    if reply.failure:
        raise DeviceError(f"an exporter of the fleet: {reply.failure}")
    if reply.graphs.keys() != {case.key for case in asked.cases}:
        raise DeviceError("an exporter of the fleet sent other graphs than were asked for")
    return {
        name: _fetched(exporters, reply.worker, graph)
        if isinstance(graph, Graph)
        else CaseError(graph)
        for name, graph in reply.graphs.items()
    }


def _fetched(exporters: Exporters, worker: str, graph: Graph) -> Graph:
    """A graph whose file this host has; it is checked by its sha256."""
    if store.lacking([graph.sha256]):
        token = secrets.token_hex(32)
        for name in (MODEL, *graph.beside):
            at = 0
            while data := exporters.call(worker, store.part, graph.sha256, name, at):
                store.receive([(graph.sha256, token, name, data)])
                at += len(data)
        store.receive((), [(graph.sha256, token, list(graph.beside))])
    return replace(graph, path=store.path(graph.sha256))


def perform(text: str) -> str:
    """Export the cases of a task on a worker; what goes wrong is in the reply."""
    from distributed import get_worker

    try:
        return task.dump(made(text, get_worker().address))
    except (BenchboxError, OSError) as error:
        is_of_spec = isinstance(error, SpecError)
        return task.dump(Exported(failure=str(error)[:4000], is_of_spec=is_of_spec))


def made(text: str, worker: str) -> Exported:
    """The graphs of a task, in the store of this host; raises a BenchboxError."""
    asked = task.parse(Export, text)
    task.require_version(asked.benchbox)
    names = [*asked.sources, asked.start] if asked.sources else []
    if not asked.cases or not all(map(task.is_inside, names)):
        raise UsageError("an export that is wrong: 'sources'" if asked.cases else "no cases")
    cases = list(asked.cases)
    if asked.sources:
        start = _placed(asked.sources) / asked.start
        cases = [replace(case, source=replace(case.source, path=start)) for case in cases]
    graphs = export.prepare(cases)
    for graph in graphs.values():
        if isinstance(graph, Graph):
            store.keep(graph.path, graph.sha256, graph.beside)
    return Exported({key: task.sent(graph) for key, graph in graphs.items()}, worker)


def _placed(sources: Mapping[str, str]) -> Path:
    """The folder of this host that has the sources of a builder."""
    digest = hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()
    folder = store.folder() / f"{digest}-sources"
    for name, text in sources.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        host.write(folder / name, text.encode(BYTEWISE))
    return folder
