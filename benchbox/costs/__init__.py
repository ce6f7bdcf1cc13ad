"""Cost of an ONNX graph on paper: multiply-accumulates, weights and memory access."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from benchbox.costs.graph import GraphNode, OnnxGraph, Uncountable, read
from benchbox.costs.inference import infer, require_few_nodes
from benchbox.costs.loaded import as_loaded
from benchbox.costs.macs import macs
from benchbox.costs.memory import access_bytes, peak_bytes
from benchbox.costs.weights import weights
from benchbox.errors import GraphError

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Cost", "count", "of_steps", "require_few_nodes", "unknown_tensors"]


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of one inference by the papers' formulas, before anything is measured.

    `macs` is a lower bound unless `uncounted` is empty: it names each operator whose
    multiply-accumulates could not be counted. `memory_access_bytes` and `peak_activation_bytes`
    are None when some tensor's size is unknown. `table_params` are those in constants that are
    only added or multiplied. `params` may be those of a module, and `graph_params` its graph's.
    """

    macs: int
    params: int
    memory_access_bytes: int | None
    weight_bytes: int
    peak_activation_bytes: int | None
    ops: dict[str, int]
    uncounted: tuple[str, ...]
    table_params: int = 0
    graph_params: int | None = None

    @property
    def known_macs(self) -> int | None:
        """The multiply-accumulates, if all of them could be counted."""
        return None if self.uncounted else self.macs

    def to_json(self) -> dict[str, Any]:
        """The cost as plain values."""
        return asdict(self) | {"uncounted": list(self.uncounted)}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Cost:
        """The cost that `to_json` wrote."""
        return cls(**{**plain, "uncounted": tuple(plain["uncounted"])})


@contextmanager
def _refusing_corruption() -> Iterator[None]:
    """Raise GraphError for a name that is no UTF-8: protobuf decodes it only when it is read."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise GraphError(f"the model is corrupt: {error}") from error


@_refusing_corruption()
def count(
    model: ModelProto,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    tensor_shapes: Mapping[str, Sequence[int]] | None = None,
) -> Cost:
    """Count what `model` costs; raises GraphError if it is malformed.

    `input_shapes` gives dynamic inputs their dimensions; `tensor_shapes` are shapes observed by
    running, and win over inferred ones. Nothing of `model` changes, and its weights' bytes are not
    needed. Counting follows ShuffleNetV2 (arXiv 1807.11164, sections 2 and 3):

    - multiply-accumulates of convolutions, matrix products and recurrent layers count; all else is
      free, or named as uncounted (see `benchbox.costs.macs`);
    - a parameter is an element of a weight, each weight once (see `benchbox.costs.weights`);
    - memory access is each operator's inputs read and outputs written once, in bytes (see
      `benchbox.costs.memory`);
    - what is computed when the graph is opened costs nothing (see `benchbox.costs.loaded`).
    """
    graph, loaded = _loaded(model, input_shapes, tensor_shapes)
    total, uncounted = _macs(loaded)
    found = weights(graph)
    return Cost(
        macs=total,
        params=sum(weight.elements for weight in found),
        memory_access_bytes=access_bytes(loaded),
        weight_bytes=sum(weight.constant.nbytes or 0 for weight in found),
        peak_activation_bytes=peak_bytes(loaded),
        ops=_operators(graph),
        uncounted=uncounted,
        table_params=sum(weight.elements for weight in found if weight.is_table),
    )


@_refusing_corruption()
def of_steps(
    model: ModelProto,
    input_shapes: Mapping[str, Sequence[int]],
    tensor_shapes: Mapping[str, Sequence[int]],
) -> list[tuple[GraphNode, int | None, int | None]]:
    """Each step of a graph, those of bodies too, with its multiply-accumulates and memory access.

    They add up to what `count` says; None where they cannot be counted, 0 for what no call computes
    and for what an operator does with its bodies.
    """
    graph, loaded = _loaded(model, input_shapes, tensor_shapes)
    costs = {
        id(step.node): (_macs_of(step), access_bytes(OnnxGraph((), (), (step,))))
        for step in loaded.steps
    }
    return [(step, *costs.get(id(step.node), (0, 0))) for step in graph.walk()]


@_refusing_corruption()
def unknown_tensors(
    model: ModelProto, input_shapes: Mapping[str, Sequence[int]] | None = None
) -> list[str]:
    """Names of the main graph's tensors whose shapes cannot be inferred, in node order.

    Tensors inside of bodies and of functions are left out: nobody outside can observe them.
    """
    graph = _read(model, input_shapes, None)
    observable = {value.name for value in model.graph.input}.union(
        *(node.output for node in model.graph.node)
    )
    made = (tensor for step in graph.steps for tensor in step.outputs)
    return [
        tensor.name
        for tensor in (*graph.inputs, *made)
        if tensor and tensor.shape is None and not tensor.container and tensor.name in observable
    ]


def _has_fixed_inputs(model: ModelProto) -> bool:
    """Whether a runtime knows the size of every input when it opens the graph."""
    dims = (dim for value in model.graph.input for dim in value.type.tensor_type.shape.dim)
    return all(dim.HasField("dim_value") and dim.dim_value >= 0 for dim in dims)


def _read(
    model: ModelProto,
    input_shapes: Mapping[str, Sequence[int]] | None,
    tensor_shapes: Mapping[str, Sequence[int]] | None,
) -> OnnxGraph:
    return read(infer(model, input_shapes or {}).graph, tensor_shapes or {})


def _loaded(
    model: ModelProto,
    input_shapes: Mapping[str, Sequence[int]] | None,
    tensor_shapes: Mapping[str, Sequence[int]] | None,
) -> tuple[OnnxGraph, OnnxGraph]:
    """The graph of a model, and what a runtime makes of it when it loads it."""
    graph, observed = _read(model, input_shapes, tensor_shapes), tensor_shapes or {}
    is_fixed = _has_fixed_inputs(model)
    return graph, as_loaded(
        graph, lambda t: is_fixed and t.shape is not None and t.name not in observed
    )


def _macs_of(step: GraphNode) -> int | None:
    try:
        return macs(step)
    except Uncountable:
        return None


def _macs(graph: OnnxGraph) -> tuple[int, tuple[str, ...]]:
    """Sum over the main graph's steps; how often those of bodies run shows only at run time."""
    total, uncounted = 0, Counter[str]()
    for step in graph.steps:
        try:
            total += macs(step)
        except Uncountable as reason:
            uncounted[str(reason)] += 1
    names = (name if times == 1 else f"{name} x {times}" for name, times in uncounted.items())
    return total, tuple(sorted(names))


def _operators(graph: OnnxGraph) -> dict[str, int]:
    types = Counter(step.type for step in graph.walk() if step.type != "Constant")
    return dict(sorted(types.items()))
