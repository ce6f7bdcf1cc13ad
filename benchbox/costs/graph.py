"""OnnxGraph, GraphNode and Tensor: an ONNX graph with inferred shapes, read into plain values."""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from benchbox.errors import GraphError

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, TypeProto

Shape = tuple[int, ...]

# Bits of an element, by TensorProto.DataType; a string (8) has no size.
_BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64}
_BITS |= {14: 64, 15: 128, 16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8}
_BITS |= {25: 2, 26: 2, 27: 6, 28: 6}
_STRING = 8
_FLOATING = frozenset({1, 10, 11, 14, 15, 16, 17, 18, 19, 20, 23, 24, 27, 28})

# Which input has the element type of the result, for ONNX Runtime's own operators, of which onnx
# has no schema: of most others the first.
_CONTRIB = "com.microsoft:"
_TYPE_GIVER = {
    f"{_CONTRIB}DequantizeLinear": 1,
    f"{_CONTRIB}DynamicQuantizeMatMul": 2,
    f"{_CONTRIB}EmbedLayerNormalization": 2,
    f"{_CONTRIB}GatherBlockQuantized": 2,
    f"{_CONTRIB}MatMulIntegerToFloat": 2,
    f"{_CONTRIB}QAttention": 3,
    f"{_CONTRIB}QEmbedLayerNormalization": 8,
    f"{_CONTRIB}QLinearConcat": 1,
    f"{_CONTRIB}QLinearConv": 7,
    f"{_CONTRIB}QLinearWhere": 1,
    f"{_CONTRIB}QuantizeLinear": 2,
}


class Uncountable(Exception):  # noqa: N818  (no error: a fact about the operator, its name)
    """An operator whose multiply-accumulates cannot be counted; the message names it."""


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """One value of a graph; two are the same only if they are the same object."""

    name: str
    shape: Shape | None
    dtype: int = 0  # a TensorProto.DataType; 0 when it is unknown
    constant: bool = False
    container: bool = False  # a sequence, map or optional, which has no shape

    @property
    def size(self) -> int | None:
        """Number of elements."""
        return None if self.shape is None else math.prod(self.shape)

    @property
    def nbytes(self) -> int | None:
        """Bytes with elements packed, which matters below eight bits."""
        if self.size is None or self.dtype not in _BITS:
            return None
        return (self.size * _BITS[self.dtype] + 7) // 8

    @property
    def floating(self) -> bool:
        """Whether the elements are floating-point (or complex) numbers."""
        return self.dtype in _FLOATING


@dataclass(frozen=True, slots=True)
class GraphNode:
    """One node with its tensors; None stands for an optional one that is left out."""

    type: str
    node: NodeProto
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor | None, ...]
    bodies: tuple[OnnxGraph, ...]

    def malformed(self, problem: str) -> GraphError:
        """The error that says what is wrong with this node."""
        return GraphError(f"{self.type!r} node {self.node.name!r}: {problem}")

    def input(self, index: int) -> Tensor:
        """The tensor at `index`, which the operator cannot do without."""
        return self._required(self.inputs, index, "input")

    def output(self, index: int) -> Tensor:
        """The result at `index`, which the operator cannot do without."""
        return self._required(self.outputs, index, "output")

    def shape(self, tensor: Tensor) -> Shape:
        """The shape of a tensor of this node; raises Uncountable where it is unknown."""
        if tensor.shape is None:
            raise Uncountable(f"{self.type} (shape of {tensor.name!r} unknown)")
        return tensor.shape

    def integers(self, name: str) -> list[int]:
        """A list of integers as an attribute, empty where there is none."""
        found = self._attribute(name)
        return [] if found is None else list(found.ints)

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        found = self._attribute(name)
        if found is None:
            return default
        if found.type != found.INT:
            raise self.malformed(f"attribute {name!r} is no integer")
        return found.i

    def text(self, name: str) -> str:
        """A string attribute, which the operator cannot do without."""
        found = self._attribute(name)
        if found is None or found.type != found.STRING:
            raise self.malformed(f"attribute {name!r} is missing, or no string")
        return found.s.decode(errors="replace")

    def _attribute(self, name: str) -> AttributeProto | None:
        return next((found for found in self.node.attribute if found.name == name), None)

    def _required(self, tensors: Sequence[Tensor | None], index: int, role: str) -> Tensor:
        found = tensors[index] if index < len(tensors) else None
        if found is None:
            raise self.malformed(f"{role} {index} is missing")
        return found


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """A graph, or the body of a control-flow operator."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    steps: tuple[GraphNode, ...]

    def walk(self) -> Iterator[GraphNode]:
        """Every step, those of bodies after the step that holds them."""
        for step in self.steps:
            yield step
            for body in step.bodies:
                yield from body.walk()


@dataclass(frozen=True, slots=True)
class _Scope:
    """Tensors of one graph by name, with those that it captures from the graphs around it."""

    tensors: ChainMap[str, Tensor]
    types: Mapping[str, TypeProto]
    observed: Mapping[str, Sequence[int]]

    def define(self, tensor: Tensor) -> Tensor:
        if tensor.name in self.tensors.maps[0]:
            raise GraphError(f"the graph is corrupt: {tensor.name!r} is defined twice")
        self.tensors[tensor.name] = tensor
        return tensor

    def find(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise GraphError(f"the graph is corrupt: {name!r} is used before anything makes it")
        return self.tensors[name]

    def variable(self, name: str, dtype: int = 0, constant: bool = False) -> Tensor:
        type_ = self.types.get(name)
        shape, dtype = (None, dtype) if type_ is None else _tensor_type(type_, dtype)
        if name in self.observed:
            shape = _checked(name, self.observed[name])
        return self.define(Tensor(name, shape, dtype, constant, _is_container(type_)))


def read(
    graph: GraphProto,
    observed: Mapping[str, Sequence[int]],
    outer: ChainMap[str, Tensor] | None = None,
) -> OnnxGraph:
    """Read `graph`; shapes in `observed` win over inferred ones.

    Raises GraphError where a tensor is used before it is made (which a cycle cannot avoid), or is
    made twice.
    """
    tensors = ChainMap[str, Tensor]() if outer is None else outer.new_child()
    types = {value.name: value.type for value in chain(graph.value_info, graph.output, graph.input)}
    scope = _Scope(tensors, types, observed)
    for constant in graph.initializer:
        scope.define(_constant(constant))
    inputs = tuple(
        scope.variable(value.name) for value in graph.input if value.name not in tensors.maps[0]
    )
    steps = tuple(_step(node, scope) for node in graph.node)
    return OnnxGraph(inputs, tuple(scope.find(value.name) for value in graph.output), steps)


def _constant(proto: TensorProto) -> Tensor:
    if proto.data_type not in _BITS and proto.data_type != _STRING:
        raise GraphError(
            f"the graph is corrupt: constant {proto.name!r} has element type {proto.data_type}"
        )
    return Tensor(proto.name, _checked(proto.name, proto.dims), proto.data_type, constant=True)


def _checked(name: str, dims: Sequence[int]) -> Shape:
    if any(size < 0 for size in dims):
        raise GraphError(f"{name!r} has a dimension below zero: {list(dims)}")
    return tuple(dims)


def _step(node: NodeProto, scope: _Scope) -> GraphNode:
    type_ = _type(node)
    inputs = tuple(scope.find(name) if name else None for name in node.input)
    bodies = tuple(
        read(body, {}, scope.tensors)
        for attribute in node.attribute
        for body in chain([attribute.g] if attribute.HasField("g") else [], attribute.graphs)
    )
    outputs = tuple(
        scope.variable(name, _declared_dtype(type_, index, inputs), type_ == "Constant")
        if name
        else None
        for index, name in enumerate(node.output)
    )
    return GraphNode(type_, node, inputs, outputs, bodies)


def _type(node: NodeProto) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}:{node.op_type}"


def _declared_dtype(type_: str, index: int, inputs: Sequence[Tensor | None]) -> int:
    """The element type that an output has by its operator's declaration alone.

    Inference stops at an operator that it does not know; element types must not, for shapes can be
    observed by running and element types cannot.
    """
    giver = _giver(type_, index, inputs)
    found = inputs[giver] if giver is not None and giver < len(inputs) else None
    return found.dtype if found else 0


def _giver(type_: str, index: int, inputs: Sequence[Tensor | None]) -> int | None:
    from onnx import defs

    if type_ == f"{_CONTRIB}QGemm":  # of the zero point of its result, a float without one
        return 8 if len(inputs) > 8 and inputs[8] else 1
    if type_.startswith("com.microsoft"):  # of the domain for blocked layouts, too
        return _TYPE_GIVER.get(type_, 0)
    if not defs.has(type_):
        return None
    schema = defs.get_schema(type_)
    if not schema.outputs:
        return None
    wanted = schema.outputs[min(index, len(schema.outputs) - 1)].type_str
    alike = (at for at, formal in enumerate(schema.inputs) if formal.type_str == wanted)
    return next(alike, None)


def _tensor_type(type_: TypeProto, dtype: int) -> tuple[Shape | None, int]:
    kind = type_.WhichOneof("value")
    if kind not in ("tensor_type", "sparse_tensor_type"):
        return None, dtype
    tensor = type_.tensor_type if kind == "tensor_type" else type_.sparse_tensor_type
    sizes = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim]
    known = tensor.HasField("shape") and all(size >= 0 for size in sizes)
    return (tuple(sizes) if known else None), tensor.elem_type or dtype


def _is_container(type_: TypeProto | None) -> bool:
    kind = type_.WhichOneof("value") if type_ else None
    return kind not in (None, "tensor_type", "sparse_tensor_type")
