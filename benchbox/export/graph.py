"""Graph: a verified ONNX file with its cost, and the facts that the cache keeps of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchbox.costs import Cost
from benchbox.specs import TensorSpec, Values

MODEL = "model.onnx"
OPSET = 18  # the newest that torch's exporter writes without converting, and every ORT in use reads
SEED = 0  # of the weights and of the inputs that are compared


@dataclass(frozen=True, slots=True)
class Graph:
    """An ONNX file that ran once, and equals its nn.Module where it has one.

    `max_abs_error` is the largest difference between ONNX Runtime's output and torch's, None for a
    file that came without a module, and for a quantised graph; of a graph converted to float16,
    that to the float32 graph.
    `batch_norm` says what became of the module's batch norms: "folded" into convolutions, "kept",
    or "none" where there are none. `beside` names the files in the same folder that hold its
    external data. `observed` are shapes inside it that only a run could tell, by tensor.
    `made_up` maps inputs on whose made-up values the work depends to how these are made: by
    {"below": n}, {"number": n}, or {} for 0 and 1. `notes` are sentences on its outputs, `finite`
    tells whether these were: of other people's files they need not be.
    """

    path: Path
    sha256: str
    cost: Cost
    size_bytes: int
    opset: int
    batch_norm: str
    max_abs_error: float | None
    versions: Mapping[str, str]
    beside: Sequence[str] = ()
    observed: Mapping[str, Sequence[int]] = field(default_factory=dict)
    made_up: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    finite: bool = True

    def facts(self) -> dict[str, object]:
        """All fields but the path and the shapes observed, as JSON types."""
        return {
            "sha256": self.sha256,
            "cost": self.cost.to_json(),
            "size_bytes": self.size_bytes,
            "opset": self.opset,
            "batch_norm": self.batch_norm,
            "max_abs_error": self.max_abs_error,
            "versions": dict(self.versions),
            "beside": list(self.beside),
            "made_up": {name: dict(how) for name, how in self.made_up.items()},
            "notes": list(self.notes),
            "finite": self.finite,
        }

    def filled(self, inputs: Sequence[TensorSpec]) -> list[TensorSpec]:
        """The inputs with the values that are made up for this graph."""
        return [
            replace(each, values=Values(number=how.get("number"), below=how.get("below")))
            if each.values is None and (how := self.made_up.get(each.name))
            else each
            for each in inputs
        ]

    @classmethod
    def of(cls, path: Path, facts: Mapping[str, Any]) -> "Graph":
        """The graph at `path` from the facts that `facts` returned, and from shapes observed."""
        notes = tuple(facts["notes"])
        return cls(path, **{**facts, "cost": Cost.from_json(facts["cost"]), "notes": notes})
