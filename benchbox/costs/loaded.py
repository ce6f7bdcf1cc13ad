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
    of the operator that it follows or precedes, which then reads and writes the quantised tensor.
    """
    return _fused(_folded(graph, is_fixed))


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
