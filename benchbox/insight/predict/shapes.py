"""Shapes of the results of operators, as far as they follow from those of the inputs.

ONNX Runtime writes an optimised graph down without the shapes of its tensors, and onnx knows
nothing of its operators in blocks of channels (NCHWc).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchbox.costs.stand_ins import stand_ins

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

Shape = tuple[int, ...]
BLOCKS = "com.microsoft.nchwc"  # the domain of operators in blocks of channels
SIZES = (16, 8)  # of a block, in channels
MOST_VALUES = 1024  # of a constant that decides a shape
FLOAT = 1  # a TensorProto.DataType


class Tensors:
    """What is known of the tensors of a graph so far, and how many channels a block has."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.shapes: dict[str, Shape | None] = {}
        self.types: dict[str, int] = {}
        self.constants: dict[str, TensorProto] = {}
        for constant in model.graph.initializer:
            self.constants[constant.name] = constant
            self.shapes[constant.name] = tuple(constant.dims)
            self.types[constant.name] = constant.data_type
        for value in model.graph.input:
            tensor = value.type.tensor_type
            self.shapes[value.name] = tuple(each.dim_value for each in tensor.shape.dim)
            self.types[value.name] = tensor.elem_type
        self.block = self._block()

    def _block(self) -> int:
        """The channels of a block: 16 with AVX-512, 8 with AVX2. Weights are padded to it."""
        padded: set[int] = set()
        for node in self.model.graph.node:
            if node.op_type == "Conv" and node.domain == BLOCKS:
                outputs, inputs, *_ = self.constants[node.input[1]].dims
                padded |= {outputs, inputs} if inputs >= max(SIZES) else {outputs}
        fitting = (size for size in SIZES if all(each % size == 0 for each in padded))
        return next(fitting, min(SIZES))

    def values(self, name: str) -> list[int]:
        """The integers of a small constant; empty for any other tensor."""
        from onnx import numpy_helper

        found = self.constants.get(name)
        if found is None or math.prod(found.dims) > MOST_VALUES:
            return []
        return [int(each) for each in np.atleast_1d(numpy_helper.to_array(found))]


def of(
    node: NodeProto,
    inputs: Sequence[Shape | None],
    attributes: Mapping[str, Any],
    scope: Tensors,
) -> list[Shape | None]:
    """The shapes of a node's results, None where they are not known."""
    count = len(node.output)
    try:
        if inputs and inputs[0] is not None and (rule := _rule(node)):
            found = rule(_Asked(node, inputs[0], inputs, attributes, scope))
            return [*found, *([None] * count)][:count]
        return _by_onnx(node, scope)
    except (IndexError, KeyError, TypeError, ValueError):
        return [None] * count


@dataclass(frozen=True, slots=True)
class _Asked:
    """A node whose result's shape is asked for."""

    node: NodeProto
    data: Shape
    inputs: Sequence[Shape | None]
    attributes: Mapping[str, Any]
    scope: Tensors

    def values(self, index: int, attribute: str) -> list[int]:
        """Integers that an input or, in older operators, an attribute has."""
        if attribute in self.attributes:
            return list(self.attributes[attribute])
        name = self.node.input[index] if index < len(self.node.input) else ""
        return self.scope.values(name)


_Rule = Callable[[_Asked], Sequence[Shape | None]]


def _rule(node: NodeProto) -> _Rule | None:
    if node.op_type in _ALIKE:
        return lambda asked: [asked.data] * len(node.output)
    return _BLOCKED.get(node.op_type) if node.domain == BLOCKS else _RULES.get(node.op_type)


def _conv(asked: _Asked) -> Sequence[Shape | None]:
    weights = asked.inputs[1]
    if weights is None:
        return [None]
    return [(asked.data[0], weights[0], *_window(asked, weights[2:]))]


def _pool(asked: _Asked) -> Sequence[Shape]:
    return [(*asked.data[:2], *_window(asked, asked.attributes["kernel_shape"]))]


def _window(asked: _Asked, kernel: Sequence[int]) -> Sequence[int]:
    """What a window that moves over a map gives."""
    named, count = asked.attributes, len(kernel)
    if named.get("auto_pad", "NOTSET") not in ("", "NOTSET", "VALID"):
        steps = named.get("strides") or [1] * count
        return [-(-size // step) for size, step in zip(asked.data[2:], steps, strict=True)]
    steps, holes = (named.get(name) or [1] * count for name in ("strides", "dilations"))
    pads = named.get("pads") or [0] * (2 * count)
    found = []
    for at, size in enumerate(asked.data[2:]):
        room = size + pads[at] + pads[count + at] - holes[at] * (kernel[at] - 1) - 1
        found.append((-(-room // steps[at]) if named.get("ceil_mode") else room // steps[at]) + 1)
    return found


def _global(asked: _Asked) -> Sequence[Shape]:
    return [(*asked.data[:2], *(1 for _ in asked.data[2:]))]


def _broadcast(asked: _Asked) -> Sequence[Shape | None]:
    if None in asked.inputs:
        return [None]
    return [np.broadcast_shapes(*asked.inputs)]  # type: ignore[arg-type]


def _gemm(asked: _Asked) -> Sequence[Shape | None]:
    left, right = asked.data, asked.inputs[1]
    if right is None:
        return [None]
    rows = left[1 if asked.attributes.get("transA") else 0]
    return [(rows, right[0 if asked.attributes.get("transB") else 1])]


def _matmul(asked: _Asked) -> Sequence[Shape | None]:
    left, right, named = asked.data, asked.inputs[1], asked.attributes
    if right is None or min(len(left), len(right)) < 2:
        return [None]
    rows = left[-1 if named.get("transA") else -2]
    columns = right[-2 if named.get("transB") else -1]
    return [(*np.broadcast_shapes(left[:-2], right[:-2]), rows, columns)]


def _concat(asked: _Asked) -> Sequence[Shape | None]:
    if None in asked.inputs:
        return [None]
    axis = asked.attributes["axis"] % len(asked.data)
    total = sum(each[axis] for each in asked.inputs if each)
    return [(*asked.data[:axis], total, *asked.data[axis + 1 :])]


def _split(asked: _Asked) -> Sequence[Shape]:
    axis = asked.attributes.get("axis", 0) % len(asked.data)
    count = len(asked.node.output)
    each = -(-asked.data[axis] // count)
    even = [min(each, asked.data[axis] - each * index) for index in range(count)]
    sizes = asked.values(1, "split") or even
    return [(*asked.data[:axis], size, *asked.data[axis + 1 :]) for size in sizes]


def _reshape(asked: _Asked) -> Sequence[Shape | None]:
    sizes = asked.values(1, "shape")
    if not sizes:
        return [None]
    if not asked.attributes.get("allowzero"):
        sizes = [asked.data[at] if size == 0 else size for at, size in enumerate(sizes)]
    known = math.prod(size for size in sizes if size != -1)
    rest = math.prod(asked.data) // max(1, known)
    return [tuple(rest if size == -1 else size for size in sizes)]


def _transpose(asked: _Asked) -> Sequence[Shape]:
    order = asked.attributes.get("perm") or range(len(asked.data))[::-1]
    return [tuple(asked.data[at] for at in order)]


def _flatten(asked: _Asked) -> Sequence[Shape]:
    axis = asked.attributes.get("axis", 1)
    return [(math.prod(asked.data[:axis]), math.prod(asked.data[axis:]))]


def _reduce(asked: _Asked) -> Sequence[Shape]:
    rank = len(asked.data)
    axes = {axis % rank for axis in asked.values(1, "axes")} or {*range(rank)}
    keeps = asked.attributes.get("keepdims", 1)
    sizes = [1 if at in axes else size for at, size in enumerate(asked.data)]
    return [tuple(size for at, size in enumerate(sizes) if keeps or at not in axes)]


def _reorder_input(asked: _Asked) -> Sequence[Shape]:
    data, block = asked.data, asked.scope.block
    if asked.attributes.get("channels_last"):
        data = (data[0], data[-1], *data[1:-1])
    return [(data[0], -(-data[1] // block) * block, *data[2:])]


def _reorder_output(asked: _Asked) -> Sequence[Shape]:
    data, channels = asked.data, asked.attributes["channels"]
    if asked.attributes.get("channels_last"):
        return [(data[0], *data[2:], channels)]
    return [(data[0], channels, *data[2:])]


def _upsample(asked: _Asked) -> Sequence[Shape]:
    scales = asked.attributes["scales"]
    return [tuple(size * int(by) for size, by in zip(asked.data, scales, strict=True))]


def _by_onnx(node: NodeProto, scope: Tensors) -> list[Shape | None]:
    """The shapes of an operator that there is no rule for, by onnx's own inference."""
    from onnx import defs, helper, shape_inference

    (node, *others) = stand_ins(node, scope.model.graph) or [node]
    versions = {each.domain: each.version for each in scope.model.opset_import}
    if others or not defs.has(node.op_type, versions.get(node.domain, 1), node.domain):
        return [None] * len(node.output)
    schema = defs.get_schema(node.op_type, versions.get(node.domain, 1), node.domain)
    types = {
        name: helper.make_tensor_type_proto(scope.types.get(name, FLOAT), shape)
        for name in node.input
        if (shape := scope.shapes.get(name)) is not None
    }
    known = {name: scope.constants[name] for name in node.input if name in scope.constants}
    try:
        found = shape_inference.infer_node_outputs(
            schema, node, types, known, opset_imports=list(scope.model.opset_import)
        )
    except Exception:  # onnx's C++ does not say which types it raises
        return [None] * len(node.output)
    for name, made in found.items():
        scope.types[name] = made.tensor_type.elem_type
    return [_shape(found.get(name)) for name in node.output]


def _shape(made: Any) -> Shape | None:  # noqa: ANN401 - a TypeProto, or None
    if made is None or not made.tensor_type.HasField("shape"):
        return None
    dims = made.tensor_type.shape.dim
    return tuple(each.dim_value for each in dims) if all(d.dim_value for d in dims) else None


_ALIKE = frozenset(
    (
        *("Abs", "BatchNormalization", "BiasGelu", "Celu", "Clip", "Dropout", "Elu", "Erf", "Exp"),
        *("FastGelu", "Floor", "Gelu", "GroupNormalization", "HardSigmoid", "HardSwish"),
        *("Identity", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Log", "Mish"),
        *("Neg", "PRelu", "QuickGelu", "Relu", "Selu", "Sigmoid", "SimplifiedLayerNormalization"),
        *("SkipLayerNormalization", "Softmax", "Softplus", "Sqrt", "Tanh", "ThresholdedRelu"),
    )
)
_RULES: Mapping[str, _Rule] = {
    **dict.fromkeys(("Conv", "FusedConv"), _conv),
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _global),
    **dict.fromkeys(
        ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "BiasAdd"), _broadcast
    ),
    **dict.fromkeys(("Gemm", "FusedGemm"), _gemm),
    **dict.fromkeys(("MatMul", "FusedMatMul"), _matmul),
    **dict.fromkeys(("ReduceMean", "ReduceMax", "ReduceSum", "ReduceMin", "ReduceL2"), _reduce),
    "Concat": _concat,
    "Split": _split,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Flatten": _flatten,
}
_BLOCKED: Mapping[str, _Rule] = {
    "Conv": _conv,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalMaxPool": _global,
    "GlobalAveragePool": _global,
    "ReorderInput": _reorder_input,
    "ReorderOutput": _reorder_output,
    "Upsample": _upsample,
}
