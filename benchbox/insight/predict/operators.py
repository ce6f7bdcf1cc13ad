"""Operators of an optimised graph, read with their shapes without running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from benchbox.errors import CaseError
from benchbox.insight.predict import shapes
from benchbox.insight.predict.shapes import BLOCKS, FLOAT, Shape, Tensors

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

READ = frozenset(
    (
        *("activation", "allowzero", "auto_pad", "axes", "axis", "ceil_mode", "channels"),
        *("channels_last", "dilations", "group", "keepdims", "kernel_shape", "pads", "perm"),
        *("scales", "shape", "split", "strides", "transA", "transB"),
    )
)  # attributes that decide a shape or what a kernel does


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator as it runs: a shape is None where it is not known or an input is left out.

    `constant` says of each input whether it is a weight, `attributes` has numbers and texts.
    """

    name: str
    type: str
    is_blocked: bool
    inputs: tuple[Shape | None, ...]
    outputs: tuple[Shape | None, ...]
    constant: tuple[bool, ...]
    attributes: Mapping[str, Any]

    def to_json(self) -> list[object]:
        """The operator as plain values."""
        return [*(getattr(self, each.name) for each in fields(self))]

    @classmethod
    def from_json(cls, plain: Sequence[Any]) -> Operator:
        """The operator that `to_json` wrote."""
        name, type_, is_blocked, inputs, outputs, constant, attributes = plain
        into, out = ([s and tuple(s) for s in each] for each in (inputs, outputs))
        return cls(name, type_, is_blocked, tuple(into), tuple(out), tuple(constant), attributes)

    @property
    def result(self) -> Shape:
        """The shape of the first result; empty where that is not known."""
        return (self.outputs[0] or ()) if self.outputs else ()

    @property
    def data(self) -> Shape:
        """The shape of the first input; empty where that is not known."""
        return (self.inputs[0] or ()) if self.inputs else ()


def read(model: ModelProto) -> list[Operator]:
    """The operators of an optimised graph, constants left out, in the order in which they run.

    Raises CaseError where one runs others, as a loop does.
    """
    scope = Tensors(model)
    return [_read(node, scope) for node in model.graph.node if node.op_type != "Constant"]


def _read(node: NodeProto, scope: Tensors) -> Operator:
    if any(each.type in (each.GRAPH, each.GRAPHS) for each in node.attribute):
        raise CaseError(f"its operator {node.op_type} runs a graph of its own, which is not read")
    attributes = {each.name: _value(each) for each in node.attribute if each.name in READ}
    inputs = tuple(scope.shapes.get(name) if name else None for name in node.input)
    outputs = shapes.of(node, inputs, attributes, scope)
    for name, shape in zip(node.output, outputs, strict=True):
        scope.shapes[name] = shape
        scope.types.setdefault(name, scope.types.get(next(iter(node.input), ""), FLOAT))
    return Operator(
        name=node.name,
        type=node.op_type,
        is_blocked=node.domain == BLOCKS,
        inputs=inputs,
        outputs=tuple(outputs),
        constant=tuple(name in scope.constants for name in node.input),
        attributes=attributes,
    )


def _value(attribute: Any) -> Any:  # noqa: ANN401 - numbers, lists of them and text
    if attribute.type in (attribute.INTS, attribute.FLOATS):
        return [*(attribute.ints or attribute.floats)]
    named = {attribute.INT: "i", attribute.FLOAT: "f"}.get(attribute.type)
    if named:
        return getattr(attribute, named)
    return attribute.s.decode(errors="replace") if attribute.type == attribute.STRING else None
