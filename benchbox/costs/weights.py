"""Weights of a graph, told apart from its other constants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from benchbox.costs.graph import GraphNode, OnnxGraph, Tensor
from benchbox.costs.loaded import DEQUANTISING

# A constant seen through one of these is still the same constant.
_PASSING = DEQUANTISING | {
    "Cast",
    "CastLike",
    "Flatten",
    "Identity",
    "QuantizeLinear",
    "Reshape",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
    "com.microsoft:QuantizeLinear",
}

# A lone element in these is a factor or an offset that the formula has, nothing that was learnt.
_ARITHMETIC = """
    Add Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Pow Sub Sum Where
"""
_BINARY_MATHS = frozenset(_ARITHMETIC.split())

_ALL_BUT_FACTORS = frozenset({1, 2, 4, 5, 6, 7})
_ALL_BUT_FIRST = frozenset({1, 2, 3, 4})

# Inputs that hold statistics, limits, scales or states: constants that are no weights.
_NO_WEIGHT = {
    "Attention": frozenset({3, 4, 5, 6}),
    "BatchNormalization": frozenset({3, 4}),
    "Clip": frozenset({1, 2}),
    "ConvInteger": frozenset({2, 3}),
    "Dropout": frozenset({1, 2}),
    "GRU": frozenset({4, 5}),
    "LSTM": frozenset({4, 5, 6}),
    "MatMulInteger": frozenset({2, 3}),
    "NonMaxSuppression": frozenset({2, 3, 4}),
    "OneHot": frozenset({2}),
    "Pad": frozenset({1, 2, 3}),
    "QLinearConv": _ALL_BUT_FACTORS,
    "QLinearMatMul": _ALL_BUT_FACTORS,
    "RNN": frozenset({4, 5}),
    "Resize": frozenset({1, 2, 3}),
    "RotaryEmbedding": frozenset({1, 2}),
    "Upsample": frozenset({1}),
    "com.microsoft:Attention": frozenset({3, 4, 5, 6}),
    "com.microsoft:DynamicQuantizeLSTM": frozenset({4, 5, 6, 8, 9, 10, 11}),
    "com.microsoft:DynamicQuantizeMatMul": frozenset({2, 3}),
    "com.microsoft:GatherBlockQuantized": frozenset({2, 3}),
    "com.microsoft:GroupQueryAttention": frozenset({3, 4, 5, 6, 7, 8, 10}),
    "com.microsoft:MatMulBnb4": frozenset({2}),
    "com.microsoft:MatMulIntegerToFloat": frozenset({2, 3, 4, 5}),
    "com.microsoft:MatMulNBits": frozenset({2, 3, 4}),
    "com.microsoft:MultiHeadAttention": frozenset({4, 5, 6, 7}),
    "com.microsoft:QAttention": frozenset({3, 4, 5, 6, 7, 8}),
    "com.microsoft:QEmbedLayerNormalization": frozenset(range(7, 18)),
    "com.microsoft:QGemm": frozenset({1, 2, 4, 5, 7, 8}),
    "com.microsoft:QLinearAdd": _ALL_BUT_FACTORS,
    "com.microsoft:QLinearAveragePool": _ALL_BUT_FIRST,
    "com.microsoft:QLinearConv": _ALL_BUT_FACTORS,
    "com.microsoft:QLinearGlobalAveragePool": _ALL_BUT_FIRST,
    "com.microsoft:QLinearLeakyRelu": _ALL_BUT_FIRST,
    "com.microsoft:QLinearMul": _ALL_BUT_FACTORS,
    "com.microsoft:QLinearSigmoid": _ALL_BUT_FIRST,
    "com.microsoft:QLinearSoftmax": _ALL_BUT_FIRST,
    "com.microsoft:RotaryEmbedding": frozenset({2, 3}),
}

# Inputs where integers are weights without a DequantizeLinear between.
_INTEGER_WEIGHT = {
    "ConvInteger": frozenset({1}),
    "MatMulInteger": frozenset({0, 1}),
    "QLinearConv": frozenset({3, 8}),
    "QLinearMatMul": frozenset({0, 3}),
    "com.microsoft:DynamicQuantizeLSTM": frozenset({1, 2}),
    "com.microsoft:DynamicQuantizeMatMul": frozenset({1}),
    "com.microsoft:GatherBlockQuantized": frozenset({0}),
    "com.microsoft:MatMulBnb4": frozenset({1}),
    "com.microsoft:MatMulIntegerToFloat": frozenset({0, 1}),
    "com.microsoft:MatMulNBits": frozenset({1}),
    "com.microsoft:QAttention": frozenset({1}),
    "com.microsoft:QEmbedLayerNormalization": frozenset({2, 3, 4, 5, 6}),
    "com.microsoft:QGemm": frozenset({3, 6}),
    "com.microsoft:QLinearAdd": frozenset({0, 3}),
    "com.microsoft:QLinearConv": frozenset({3, 8}),
    "com.microsoft:QLinearMul": frozenset({0, 3}),
}
_NONE: frozenset[int] = frozenset()
_UINT8 = 2  # a TensorProto.DataType


@dataclass(frozen=True, slots=True)
class _View:
    """A constant as an operator receives it, and whether its values are real numbers by then."""

    constant: Tensor
    real: bool


@dataclass(frozen=True, slots=True)
class Weight:
    """A constant that plays the role of a weight, with its elements as they are once unpacked.

    A table is only ever added to, or multiplied with, an activation: position embeddings are
    learnt, anchor grids and masks are not, and a graph does not tell which it is.
    """

    constant: Tensor
    elements: int
    is_table: bool


def weights(graph: OnnxGraph) -> list[Weight]:
    """The constants that play the role of a weight, each once however often it is used.

    A weight is a floating-point constant of at least one dimension, or an integer one that is
    dequantised or feeds a quantised operator's weight. Running statistics of batch normalisation,
    limits, padding, quantisation scales and zero points, shapes, indices and lone elements of
    element-wise maths are none.
    """
    aliases: dict[Tensor, _View] = {}
    found: dict[Tensor, Weight] = {}
    scales: set[Tensor | None] = set()  # of activations, which are multiplied by those of weights
    for step in graph.walk():
        if step.type in _PASSING:
            _pass_on(step, aliases)
        elif step.type == "DynamicQuantizeLinear":
            scales.update(step.outputs)
        elif scales.isdisjoint(step.inputs) or step.type not in _BINARY_MATHS:
            for weight in _weights_of(step, aliases):
                earlier = found.get(weight.constant, weight)
                is_table = weight.is_table and earlier.is_table
                found[weight.constant] = replace(weight, is_table=is_table)
    return list(found.values())


def _view(tensor: Tensor | None, aliases: dict[Tensor, _View]) -> _View | None:
    if tensor is not None and tensor.constant:
        return _View(tensor, tensor.floating)
    return aliases.get(tensor) if tensor else None


def _pass_on(step: GraphNode, aliases: dict[Tensor, _View]) -> None:
    view = _view(step.input(0), aliases)
    if view:
        aliases[step.output(0)] = _View(view.constant, view.real or step.type in DEQUANTISING)


def _weights_of(step: GraphNode, aliases: dict[Tensor, _View]) -> Iterator[Weight]:
    for index, tensor in enumerate(step.inputs):
        view = _view(tensor, aliases)
        if view and _is_weight(step, index, view):
            sizes = view.constant.shape or ()
            is_table = step.type in _BINARY_MATHS and sum(size > 1 for size in sizes) > 1
            yield Weight(view.constant, _elements(step, index, view.constant), is_table)


def _elements(step: GraphNode, index: int, constant: Tensor) -> int:
    """How many elements a weight has, of which some operators pack several into a byte."""
    if step.type in ("com.microsoft:MatMulNBits", "com.microsoft:MatMulBnb4") and index == 1:
        return step.integer("K", 0) * step.integer("N", 0)
    if step.type == "com.microsoft:GatherBlockQuantized" and constant.dtype == _UINT8:
        return (constant.size or 0) * 8 // step.integer("bits", 4)
    return constant.size or 0


def _is_weight(step: GraphNode, index: int, view: _View) -> bool:
    shape = view.constant.shape
    if not shape or index in _NO_WEIGHT.get(step.type, _NONE):
        return False
    if view.constant.size == 1 and step.type in _BINARY_MATHS:
        return False
    return view.real or index in _INTEGER_WEIGHT.get(step.type, _NONE)
