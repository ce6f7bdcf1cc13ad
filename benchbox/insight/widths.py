"""Widths of a graph's channels changed: what a sentence about channels says, made to be timed.

Shapes are carried forward through the graph: a convolution's new width follows from its old one,
what is concatenated, split, shuffled or added after it follows suit, and where two widths that are
to be added differ, the smaller one is made the larger. Weights are repeated, scaled so that sums
stay as large as they were. What a graph gives of an image stays as wide as its users expect it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from benchbox.errors import GraphError
from benchbox.insight.carried import Carried, MeetsError, Shape
from benchbox.insight.width_rules import carry

if TYPE_CHECKING:
    from onnx import ModelProto

ATTEMPTS = 30  # of widening further where widths meet that differ


def widened(
    model: ModelProto,
    inputs: Mapping[str, Sequence[int]],
    to: Mapping[int, int],
    named: Mapping[str, int] = MappingProxyType({}),
) -> tuple[ModelProto, dict[str, Shape]]:
    """A copy with other numbers of channels, by old number, and the shapes of its inputs.

    `named` are widths of single results.

    Raises GraphError for a graph with operators whose new shapes are not known.
    """
    widths, carried = dict(to), Carried(model, inputs, named)
    for _ in range(ATTEMPTS):
        carried.begin(widths)
        try:
            return _attempt(carried)
        except MeetsError as meeting:
            if widths.get(meeting.old) == meeting.new:
                break
            widths[meeting.old] = meeting.new
    raise GraphError("no widths fit all additions in it")


def _attempt(carried: Carried) -> tuple[ModelProto, dict[str, Shape]]:
    """Carry all shapes forward and write the model."""
    from onnx import numpy_helper

    graph = carried.model.graph
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            carried.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            continue
        try:
            carry(carried, node)
        except (ArithmeticError, LookupError, TypeError, ValueError):  # of an older opset, or odd
            name = node.name or node.output[0]
            raise GraphError(f"{name}: {node.op_type} of other channels is not known") from None
    graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in carried.changed.items()
    )
    graph.ClearField("value_info")
    for value in [*graph.input, *graph.output]:
        if shape := carried.new.get(value.name):
            for dim, size in zip(value.type.tensor_type.shape.dim, shape, strict=False):
                dim.Clear()
                dim.dim_value = size
    return carried.model, carried.inputs
