"""Chunks of a run: cases that one device times in one task, prepared while others are timed."""

import queue
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, count, repeat
from typing import TypeVar

from benchbox.errors import CaseError
from benchbox.export import Graph
from benchbox.export.prepare import Progress
from benchbox.runner.memory_groups import reference_key
from benchbox.runner.prepare import prepare
from benchbox.runner.request import Request
from benchbox.specs import BlockSpec, Case

T = TypeVar("T")
MOST_CASES = 8  # of a task that need not be together
STREAMED = 4  # of a task where nobody knows how many there will be, so that all end soon
TASKS_EACH = 2  # of a device at least are left, so that all end at about the same time
AHEAD = 64  # chunks that are ready before they are asked for
BATCHES = 64, 512  # cases whose graphs are made at once: the first, and most

making = threading.Lock()  # what several targets time is made once

Made = Mapping[str, Graph | CaseError]
Make = Callable[[Sequence[BlockSpec], Sequence[Case], Progress], Made]


@dataclass(slots=True)
class Chunk:
    """Cases to be timed on one device; `wanted` are those for whose sake it is.

    `places` are theirs in the order in which they came. `losses` counts the devices that failed or
    left while they had it. What `is_kept` stays where it is timed next, even by a device that
    drifts; what had no call on a device, `before`, goes to another and is kept as it is then.
    """

    cases: Sequence[Case]
    graphs: Made
    wanted: Collection[str]
    places: Mapping[str, int]
    losses: int = 0
    is_kept: bool = False
    before: str = ""

    def split(self) -> "list[Chunk]":
        """A chunk for each case, where none is compared with another."""
        if not all(case.is_reference for case in self.cases):
            return [self]
        return [
            replace(self, cases=[case], graphs={case.key: self.graphs[case.key]})
            for case in self.cases
        ]

    def rest(self, timed: Collection[str], device: str) -> "Chunk | None":
        """What had no call on a device, with its references; None the second time."""
        if self.before:
            return None
        left = {case.key for case in self.cases if case.key in self.wanted} - {*timed}
        needed = left | {reference_key(case) for case in self.cases if case.key in left}
        cases = [case for case in self.cases if case.key in needed]
        graphs = {case.key: self.graphs[case.key] for case in cases}
        return (
            replace(self, cases=cases, graphs=graphs, wanted=left, before=device) if left else None
        )


def groups(cases: Sequence[Case], devices: int, *, is_comparison: bool) -> list[list[Case]]:
    """The cases in parts, each with the references of its cases first.

    Those of a comparison stay together, as their rounds are mirrored.
    """
    by_key = {case.key: case for case in cases}
    together: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        together.setdefault((case.spec, case.group), []).append(case)
    alone = list(chain.from_iterable(each for each in together.values() if len(each) == 1))
    parts = _shared(alone, devices, 1)
    for group in together.values():
        if len(group) == 1:
            continue
        if is_comparison:
            parts.append(group)
            continue
        first, others = by_key[reference_key(group[0])], [c for c in group if not c.is_reference]
        parts += [[first, *part] for part in _shared(others, devices, 2)]
    return parts


def streamed(cases: Iterator[Case]) -> Iterator[list[Case]]:
    """Yield cases that are compared with none in parts, as they come."""
    yield from _packed(cases, repeat(STREAMED), lambda _: 1)


def _shared(cases: Sequence[Case], devices: int, least: int) -> list[list[Case]]:
    """Cases in parts that get smaller to the end."""
    parts, at = list[list[Case]](), 0
    while at < len(cases):
        size = max(least, min(MOST_CASES, -(-(len(cases) - at) // (TASKS_EACH * devices))))
        parts.append(list(cases[at : at + size]))
        at += size
    return parts


def prepared(
    request: Request,
    parts: Iterable[Sequence[Case]],
    done: Collection[tuple[str, str]],
    progress: Progress,
    make: Make | None = None,
    made: Callable[[Sequence[Case], Made], None] | None = None,
) -> Iterator[Chunk]:
    """Yield the parts with their graphs, without what is `done` by key and sha256.

    Graphs are prepared here, or as `make` does; `made` hears of those of each batch.
    """
    seen: dict[str, int] = {}
    for batch in _batches(parts):
        members = list({case.key: case for part in batch for case in part}.values())
        with making:
            graphs = (make or prepare)(request.specs, members, progress)
        if made is not None:
            made(members, graphs)
        for part in batch:
            wanted = {case.key for case in part} - seen.keys()
            wanted -= {key for key in wanted if (key, sha256_of(graphs[key])) in done}
            places = {case.key: seen.setdefault(case.key, len(seen)) for case in part}
            if not wanted:
                continue
            needed = wanted | {reference_key(case) for case in part if case.key in wanted}
            if request.plan.margin is not None:
                needed = {case.key for case in part}
            cases = [case for case in part if case.key in needed]
            yield Chunk(cases, {case.key: graphs[case.key] for case in cases}, wanted, places)


class Preparation:
    """Chunks that a thread makes ahead of those that are taken; `ready` is called at each."""

    def __init__(self, chunks: Iterator[Chunk], ready: Callable[[], None]) -> None:
        self._chunks, self._ready = chunks, ready
        self._ahead: queue.Queue[Chunk] = queue.Queue(AHEAD)
        self.is_over = False  # whether all are made
        self.error: BaseException | None = None
        # A daemon: Ctrl-C waits for no export.
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        try:
            for chunk in self._chunks:
                self._ahead.put(chunk)
                self._ready()
        except BaseException as error:  # it is raised where chunks are taken
            self.error = error
        self.is_over = True
        self._ready()

    def next(self) -> Chunk | None:
        """The next chunk, None where none is ready."""
        with suppress(queue.Empty):
            return self._ahead.get_nowait()
        return None

    @property
    def count(self) -> int:
        """How many are ready."""
        return self._ahead.qsize()

    @property
    def is_done(self) -> bool:
        """Whether no chunk is left, nor will be."""
        return self.is_over and not self.count


def _batches(parts: Iterable[Sequence[Case]]) -> Iterator[list[Sequence[Case]]]:
    """Batches of parts: small at first, so that devices need not wait; then ever larger."""
    first, most = BATCHES
    return _packed(parts, (min(most, first << n) for n in count()), len)


def _packed(
    items: Iterable[T], sizes: Iterator[int], size: Callable[[T], int]
) -> Iterator[list[T]]:
    """Yield items in packs of these sizes at least; what comes before an error is not lost."""
    pack, failure, wanted = list[T](), None, next(sizes)
    try:
        for item in items:
            pack.append(item)
            if sum(map(size, pack)) >= wanted:
                yield pack
                pack, wanted = [], next(sizes)
    except Exception as error:  # it is raised once those before it are taken
        failure = error
    if pack:
        yield pack
    if failure is not None:
        raise failure


def sha256_of(graph: Graph | CaseError) -> str:
    """The sha256 of a graph, empty where there is none."""
    return graph.sha256 if isinstance(graph, Graph) else ""
