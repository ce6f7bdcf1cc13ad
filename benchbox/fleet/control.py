"""Control of a pool: a small case that all its devices time, so that they can be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from benchbox.export import Graph
from benchbox.fleet.chunks import Chunk, Made
from benchbox.fleet.results import Results
from benchbox.specs import Case


@dataclass(slots=True)
class Control:
    """The case that each device of a pool times once; none where none is chosen."""

    results: Results
    chosen: tuple[int, Case, Graph] | None = None  # with its place
    tried: set[str] = field(default_factory=set)  # devices that have had it, with a figure or not

    @property
    def key(self) -> str:
        """The key of the case, empty without one."""
        return self.chosen[1].key if self.chosen else ""

    @property
    def holders(self) -> Sequence[str]:
        """The devices that have timed it."""
        return self.results.holders(self.key, self.chosen[2].sha256) if self.chosen else ()

    def choose(self, cases: Sequence[Case], graphs: Made, places: Mapping[str, int]) -> None:
        """Choose one of a run's first cases that needs no other: the smallest, or as before."""
        known = [
            (-len(self.results.holders(case.key, graph.sha256)), graph.cost.macs, place)
            for place, case in enumerate(cases)
            if isinstance(graph := graphs[case.key], Graph) and case.is_reference
        ]
        if known and self.chosen is None:
            case = cases[min(known)[-1]]
            graph = graphs[case.key]
            assert isinstance(graph, Graph), "it is known"
            self.chosen = places[case.key], case, graph

    def added(self, chunk: Chunk, device: str) -> Chunk:
        """A chunk with the case, where its device has not had it."""
        if self.chosen is None or self.key in chunk.graphs:
            return chunk
        if device in self.tried or device in self.holders:
            return chunk
        place, case, graph = self.chosen
        return replace(
            chunk,
            cases=[case, *chunk.cases],
            graphs={case.key: graph, **chunk.graphs},
            places={case.key: place, **chunk.places},
        )

    def left(self, chunk: Chunk) -> Chunk | None:
        """What is left of a chunk: not the case, once a device has timed it."""
        if self.key not in chunk.wanted or not self.holders:
            return chunk
        others = {*chunk.wanted} - {self.key}
        return chunk.only(others) if others else None
