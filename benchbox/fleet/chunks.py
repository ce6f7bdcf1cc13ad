"""Chunks of a run: cases that one device times in one task, prepared a batch ahead."""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from benchbox.errors import CaseError
from benchbox.export import Graph
from benchbox.runner.memory_groups import reference_key
from benchbox.runner.prepare import prepare
from benchbox.runner.request import Request
from benchbox.runner.threads import Threads
from benchbox.specs import Case

MOST_CASES = 8  # of a task that need not be together
TASKS_EACH = 4  # of a device at least, so that all end at about the same time
BATCH = 64  # cases whose graphs are made at once, while earlier ones are timed

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Cases to be timed on one device; `wanted` are those for whose sake it is."""

    cases: Sequence[Case]
    graphs: Mapping[str, Graph | CaseError]
    wanted: Collection[str]


def groups(cases: Sequence[Case], devices: int, *, is_comparison: bool) -> list[list[Case]]:
    """The cases in parts, each with the references of its cases first.

    Those of a comparison stay together, as their rounds are mirrored.
    """
    size = max(1, min(MOST_CASES, -(-len(cases) // (TASKS_EACH * devices))))
    by_key = {case.key: case for case in cases}
    together: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        together.setdefault((case.spec, case.group), []).append(case)
    alone = list(chain.from_iterable(each for each in together.values() if len(each) == 1))
    parts = [alone[at : at + size] for at in range(0, len(alone), size)]
    for group in together.values():
        if len(group) == 1:
            continue
        if is_comparison:
            parts.append(group)
            continue
        first, others = by_key[reference_key(group[0])], [c for c in group if not c.is_reference]
        most = max(1, size - 1)
        parts += [[first, *others[at : at + most]] for at in range(0, len(others), most)]
    return parts


def prepared(
    request: Request,
    parts: Sequence[Sequence[Case]],
    done: Collection[tuple[str, str]],
    progress: Progress,
) -> Iterator[Chunk]:
    """Yield the parts with their graphs, without what is `done` by key and sha256."""
    seen: set[str] = set()
    batches = list(_batches(parts))
    ahead = [_Ahead(request, progress, batch) for batch in batches[:1]]
    for number, batch in enumerate(batches):
        graphs = ahead.pop().graphs()
        ahead += [_Ahead(request, progress, later) for later in batches[number + 1 : number + 2]]
        for part in batch:
            wanted = {case.key for case in part} - seen
            wanted -= {key for key in wanted if (key, _sha256(graphs[key])) in done}
            seen |= {case.key for case in part}
            if not wanted:
                continue
            needed = wanted | {reference_key(case) for case in part if case.key in wanted}
            if request.plan.margin is not None:
                needed = {case.key for case in part}
            cases = [case for case in part if case.key in needed]
            yield Chunk(cases, {case.key: graphs[case.key] for case in cases}, wanted)


class _Ahead:
    """The graphs of a batch, made in a thread that nobody waits for at the end of the program."""

    def __init__(
        self, request: Request, progress: Progress, batch: Sequence[Sequence[Case]]
    ) -> None:
        self._made: dict[str, Graph | CaseError] = {}
        self._threads = Threads(threading.Event())
        self._threads.begin(lambda: self._made.update(_make(request, progress, batch)))

    def graphs(self) -> dict[str, Graph | CaseError]:
        """Wait for the graphs; raises what making them raised."""
        self._threads.wait()
        return self._made


def _make(
    request: Request, progress: Progress, batch: Sequence[Sequence[Case]]
) -> dict[str, Graph | CaseError]:
    cases = list({case.key: case for part in batch for case in part}.values())
    return prepare(request.specs, cases, progress)


def _batches(parts: Sequence[Sequence[Case]]) -> Iterator[list[Sequence[Case]]]:
    batch: list[Sequence[Case]] = []
    count = 0
    for part in parts:
        batch.append(part)
        count += len(part)
        if count >= BATCH:
            yield batch
            batch, count = [], 0
    if batch:
        yield batch


def _sha256(graph: Graph | CaseError) -> str:
    return graph.sha256 if isinstance(graph, Graph) else ""
