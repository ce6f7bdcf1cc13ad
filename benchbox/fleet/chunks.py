"""Chunks of a run: cases that one device times in one task, prepared while others are timed."""

import queue
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, count
from typing import Generic, TypeVar

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
AHEAD = 64  # chunks that are ready before they are asked for; parts that are read before those
BATCHES = 16, 128  # cases whose graphs are made at once: at first, and at most

making = threading.Lock()  # what several targets time is made once

Part = Sequence[Case]  # what one device times in one task
Made = Mapping[str, Graph | CaseError]
Make = Callable[[Sequence[BlockSpec], Sequence[Case], Progress], Made]


@dataclass(slots=True)
class Chunk:
    """Cases to be timed on one device; `wanted` are those for whose sake it is.

    `places` are theirs in the order in which they came. `losses` counts the devices that failed or
    left while they had it. What `is_kept` stays where it is timed next, even by a device that
    drifts; what had no call or failed on a device, `before`, goes to another and is kept as it is
    then.
    """

    cases: Sequence[Case]
    graphs: Made
    wanted: Collection[str]
    places: Mapping[str, int]
    losses: int = 0
    is_kept: bool = False
    before: str = ""

    def only(self, wanted: Collection[str]) -> "Chunk":
        """The chunk with some of its wanted cases, and their references."""
        needed = {*wanted, *(reference_key(case) for case in self.cases if case.key in wanted)}
        cases = [case for case in self.cases if case.key in needed]
        graphs = {case.key: self.graphs[case.key] for case in cases}
        return replace(self, cases=cases, graphs=graphs, wanted=wanted)

    def split(self) -> "list[Chunk]":
        """A chunk for each case, where none is compared with another."""
        if not all(case.is_reference for case in self.cases):
            return [self]
        return [self.only({case.key}) for case in self.cases if case.key in self.wanted]

    def rest(self, timed: Collection[str], device: str) -> "Chunk | None":
        """What a device has not `timed`, with its references; None the second time."""
        left = {*self.wanted}.difference(timed)
        return replace(self.only(left), before=device) if left and not self.before else None


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
    batches: Iterable[Sequence[Part]],
    done: Collection[tuple[str, str]],
    progress: Progress,
    make: Make | None = None,
    made: Callable[[Part, Made, Mapping[str, int]], None] | None = None,
    least: int = 1,
) -> Iterator[Chunk]:
    """Yield parts with their graphs and `least` cases each, without what is `done`.

    That is by key and sha256. Graphs are prepared here, or as `make` does; `made` hears of those of
    each part, and of the places of its cases.
    """
    seen: dict[str, int] = {}
    for batch in batches:
        members = list({case.key: case for part in batch for case in part}.values())
        with making:
            graphs = (make or prepare)(request.specs, members, progress)
        for part in _joined(batch, least):
            wanted = {case.key for case in part} - seen.keys()
            wanted -= {key for key in wanted if (key, sha256_of(graphs[key])) in done}
            places = {case.key: seen.setdefault(case.key, len(seen)) for case in part}
            if made is not None:
                made(part, graphs, places)
            if not wanted:
                continue
            chunk = Chunk(part, {case.key: graphs[case.key] for case in part}, wanted, places)
            yield chunk if request.plan.margin is not None else chunk.only(wanted)


def _joined(parts: Sequence[Part], least: int) -> Iterator[Part]:
    """Yield parts joined to `least` cases each, as far as they go."""
    joined: list[Case] = []
    for part in parts:
        joined += part
        if len(joined) >= least:
            yield joined
            joined = []
    if joined:
        yield joined


class Ahead(Generic[T]):
    """Items that a thread takes ahead of whoever takes them here; `ready` is called at each."""

    def __init__(self, items: Iterable[T], ready: Callable[[], None]) -> None:
        self._items, self._ready = items, ready
        self._queue: queue.Queue[T] = queue.Queue(AHEAD)
        self.is_over = False  # whether all are taken
        self.error: BaseException | None = None
        # A daemon: Ctrl-C waits for no export.
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        try:
            for item in self._items:
                self._queue.put(item)
                self._ready()
        except BaseException as error:  # it is raised where items are taken
            self.error = error
        self.is_over = True
        self._ready()

    def next(self) -> T | None:
        """The next item, None where none is ready."""
        with suppress(queue.Empty):
            return self._queue.get_nowait()
        return None

    @property
    def count(self) -> int:
        """How many are ready."""
        return self._queue.qsize()

    @property
    def is_done(self) -> bool:
        """Whether no item is left, nor will be."""
        return self.is_over and not self.count


class Preparation(Ahead[Chunk]):
    """Chunks that are made of parts as these come; `chunks` yields those of batches of parts."""

    def __init__(
        self,
        parts: Iterable[Part],
        chunks: Callable[[Iterator[Sequence[Part]]], Iterator[Chunk]],
        ready: Callable[[], None],
    ) -> None:
        self._changed = threading.Event()
        self._parts = Ahead(parts, self._changed.set)
        super().__init__(chunks(self._batches()), ready)

    def next(self) -> Chunk | None:
        """The next chunk, None where none is ready."""
        found = super().next()
        self._changed.set()
        return found

    def _batches(self) -> Iterator[Sequence[Part]]:
        """Yield batches of parts, ever larger ones; where no chunk is ready, what is there."""
        first, most = BATCHES
        batch: list[Part] = []
        sizes = (min(most, first << n) for n in count())
        size = next(sizes)
        while batch or not self._parts.is_done:
            self._changed.clear()
            while (is_small := sum(map(len, batch)) < size) and (part := self._parts.next()):
                batch.append(part)
            if batch and not (is_small and self.count and not self._parts.is_done):
                yield batch
                batch, size = [], next(sizes)
            else:
                self._changed.wait()
        if self._parts.error is not None:
            raise self._parts.error


def sha256_of(graph: Graph | CaseError) -> str:
    """The sha256 of a graph, empty where there is none."""
    return graph.sha256 if isinstance(graph, Graph) else ""
