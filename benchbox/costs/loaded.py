"""Graph as a runtime loads it: what depends on constants alone is computed, QDQ pairs are fused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from benchbox.costs.graph import GraphNode, OnnxGraph, Tensor

QUANTISING = frozenset({"QuantizeLinear", "com.microsoft:QuantizeLinear"})
DEQUANTISING = frozenset({"DequantizeLinear", "com.microsoft:DequantizeLinear"})

# Those that give something else in every call, whatever their inputs are.
_RANDOM = frozenset({"Bernoulli", "Multinomial", "RandomNormalLike", "RandomUniformLike"})
_SHAPES = frozenset({"Shape", "Size"})


def as_loaded(graph: OnnxGraph, is_fixed: Callable[[Tensor], bool]) -> OnnxGraph:
    """The graph without what no call computes.

    An operator whose inputs are all constants is computed when a runtime opens the graph, as is the
    Shape of a tensor whose shape `is_fixed` by then. A QuantizeLinear or DequantizeLinear is part
    of the operator that it follows or precedes, which then reads and writes the quantised tensor; a
    dynamically quantised product is one operator with what quantises its input and scales it.
    """
    return _dynamic(_fused(_folded(graph, is_fixed)))


def _folded(graph: OnnxGraph, is_fixed: Callable[[Tensor], bool]) -> OnnxGraph:
    computed: dict[Tensor, Tensor] = {}
    steps = []
    for step in graph.steps:
        step = _with(step, computed)
        if _is_folded(step) or (step.type in _SHAPES and is_fixed(step.input(0))):
            computed |= {each: replace(each, constant=True) for each in step.outputs if each}
        else:
            steps.append(step)
    outputs = tuple(computed.get(each, each) for each in graph.outputs)
    return OnnxGraph(graph.inputs, outputs, tuple(steps))


def _is_folded(step: GraphNode) -> bool:
    """Whether a step has constants alone as inputs; a quantised weight stays what it is."""
    if step.bodies or step.type in _RANDOM | DEQUANTISING:
        return False
    inputs = [tensor for tensor in step.inputs if tensor]
    return bool(inputs) and all(tensor.constant for tensor in inputs)


def _fused(graph: OnnxGraph) -> OnnxGraph:
    uses, kept = Counter(_uses(graph)), {*graph.outputs, *_captured(graph)}
    pairs = QUANTISING | DEQUANTISING
    made = {out for step in graph.steps if step.type not in pairs for out in step.outputs} - kept
    replaced: dict[Tensor, Tensor] = {}
    steps = []
    for step in graph.steps:
        if step.type in DEQUANTISING and step.output(0) not in kept:
            replaced[step.output(0)] = step.input(0)
        elif step.type in QUANTISING and step.input(0) in made and uses[step.input(0)] == 1:
            replaced[step.input(0)] = step.output(0)
        else:
            steps.append(step)
    return replace(graph, steps=tuple(_with(step, replaced) for step in steps))


def _dynamic(graph: OnnxGraph) -> OnnxGraph:
    """The graph with each MatMulInteger and what quantises and scales for it as one step."""
    products = [step for step in graph.steps if step.type == "MatMulInteger"]
    around = _Around(graph) if products else None
    fused: dict[int, GraphNode | None] = {}
    for step in products:
        assert around is not None, "there are products"
        parts = around.scaling(step)
        if not parts:
            continue
        inputs = [*step.inputs, *(t for part in parts for t in part.inputs if t and t.constant)]
        if quantiser := around.quantiser(step):
            inputs[0] = quantiser.input(0)
            fused[id(quantiser)] = None
        fused |= {id(part): None for part in parts}
        fused[id(step)] = replace(step, inputs=tuple(inputs), outputs=parts[-1].outputs)
    steps = [fused.get(id(step), step) for step in graph.steps]
    return replace(graph, steps=tuple(step for step in steps if step))


class _Around:
    """The steps before and after a product in a graph."""

    def __init__(self, graph: OnnxGraph) -> None:
        self._uses, self._kept = Counter(_uses(graph)), {*graph.outputs, *_captured(graph)}
        self._reader = {t: step for step in graph.steps for t in step.inputs if t}
        self._maker = {t: step for step in graph.steps for t in step.outputs if t}

    def _is_own(self, tensor: Tensor) -> bool:
        """Whether one step alone reads a tensor."""
        return tensor not in self._kept and self._uses[tensor] == 1

    def _after(self, step: GraphNode | None, kind: str) -> GraphNode | None:
        found = self._reader[step.output(0)] if step and self._is_own(step.output(0)) else None
        return found if found and found.type == kind else None

    def scaling(self, step: GraphNode) -> list[GraphNode]:
        """The Cast, the product of scales, that with it, and a bias; none where one is missing."""
        cast = self._after(step, "Cast")
        scaled = self._after(cast, "Mul")
        makers = [self._maker[t] for t in scaled.inputs if t in self._maker] if scaled else []
        scale = next((made for made in makers if made is not cast), None)
        if not (cast and scaled and scale) or scale.type != "Mul":
            return []
        if not self._is_own(scale.output(0)):
            return []
        bias = self._after(scaled, "Add")
        is_fused = bias and any(tensor and tensor.constant for tensor in bias.inputs)
        return [cast, scale, scaled, *([bias] if bias and is_fused else [])]

    def quantiser(self, step: GraphNode) -> GraphNode | None:
        """The DynamicQuantizeLinear of an input that nothing else reads."""
        made = self._maker.get(step.input(0)) if self._is_own(step.input(0)) else None
        return made if made and made.type == "DynamicQuantizeLinear" else None


def _uses(graph: OnnxGraph) -> Iterator[Tensor]:
    yield from (tensor for step in graph.steps for tensor in step.inputs if tensor)


def _captured(graph: OnnxGraph) -> Iterator[Tensor]:
    for step in graph.steps:
        for body in step.bodies:
            yield from body.outputs
            yield from (tensor for inner in body.walk() for tensor in inner.inputs if tensor)


def _with(step: GraphNode, replaced: Mapping[Tensor, Tensor]) -> GraphNode:
    """The step with other tensors in the place of some."""

    def last(tensor: Tensor | None) -> Tensor | None:
        while tensor is not None and tensor in replaced:
            tensor = replaced[tensor]
        return tensor

    inputs, outputs = tuple(map(last, step.inputs)), tuple(map(last, step.outputs))
    return replace(step, inputs=inputs, outputs=outputs)
