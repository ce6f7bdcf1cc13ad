"""Control of a pool: a small case that all its devices time, so that they can be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from benchbox.export import Graph
from benchbox.fleet.chunks import Chunk, Made
from benchbox.fleet.results import Results
from benchbox.runner.memory_groups import reference_key
from benchbox.specs import Case


@dataclass(slots=True)
class Control:
    """The case that all devices of a pool time; whoever resumes a run chooses the same."""

    case: Case | None = None
    graph: Graph | None = None
    place: int = 0
    devices: set[str] = field(default_factory=set)  # that have it, or had it before

    def choose(self, cases: Sequence[Case], graphs: Made, places: Mapping[str, int]) -> None:
        """Choose the smallest of a run's first cases that needs no other."""
        known = [
            (graph.cost.macs, places[case.key], case, graph)
            for case in cases
            if isinstance(graph := graphs[case.key], Graph) and reference_key(case) == case.key
        ]
        if known and self.case is None:
            _, self.place, self.case, self.graph = min(known, key=lambda each: each[:2])

    def added(self, chunk: Chunk, device: str, results: Results) -> Chunk:
        """A chunk with the case where its device has it not yet."""
        if self.case is None or self.graph is None or device in self.devices:
            return chunk
        self.devices.add(device)
        key = self.case.key
        if key in chunk.graphs or results.has(device, key, self.graph.sha256):
            return chunk
        return replace(
            chunk,
            cases=[self.case, *chunk.cases],
            graphs={key: self.graph, **chunk.graphs},
            places={key: self.place, **chunk.places},
        )
