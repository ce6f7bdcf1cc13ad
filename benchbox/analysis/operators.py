"""Categories of operators, those of Figure 2 of ShuffleNetV2, 1807.11164.

The paper splits the run time of a network into convolution, data movement, element-wise operators,
channel shuffle and others. Depthwise convolutions are separate here, as they have few FLOPs
and wait for the memory, and so are matrix products and attention. Everything is decided by the type
of an operator and the shapes of its tensors, which a profile of the optimised graph has as well as
the file of the original one; attributes do not survive optimisation.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Category = Literal[
    "convolution", "depthwise", "matmul", "attention",
    "element-wise", "data movement", "shuffle", "other",
]  # fmt: skip
CATEGORIES: tuple[Category, ...] = get_args(Category)
Shape = Sequence[int] | None

# A convolution with a fused activation or addition stays a convolution. Where its weights are.
_CONVOLUTIONS = {
    "Conv": 1,
    "ConvInteger": 1,
    "ConvTranspose": 1,
    "ConvTransposeWithDynamicPads": 1,
    "DeformConv": 1,
    "FusedConv": 1,
    "NhwcConv": 1,
    "NhwcFusedConv": 1,
    "QLinearConv": 3,
    "QLinearConvTranspose": 3,
}
_CHANNELS_LAST = frozenset({"NhwcConv", "NhwcFusedConv"})
# There are ever more of them, named after what they compute.
_MATMUL = re.compile(r"MatMul|Gemm(?!a)|^Einsum$")
_ATTENTION = re.compile(r"Attention|BiasSoftmax")
# Every element of the result depends on the elements at its own place.
_ELEMENT_WISE = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BatchNormalization BiasGelu BitShift BitwiseAnd
    BitwiseNot BitwiseOr BitwiseXor Ceil Celu Clip Cos Cosh DequantizeLinear Div Dropout
    DynamicQuantizeLinear Elu Equal Erf Exp FastGelu Floor Gelu Greater GreaterOrEqual HardSigmoid
    HardSwish IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu
    Pow QLinearAdd QLinearLeakyRelu QLinearMul QLinearSigmoid QLinearWhere QuantizeLinear QuickGelu
    Reciprocal
    Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh
    ThresholdedRelu Where Xor
"""
# Elements are copied, put elsewhere, or only seen in another shape or type. ReorderInput and
# ReorderOutput are ONNX Runtime's, to and from a layout in blocks of channels (NCHWc).
_DATA_MOVEMENT = """
    Cast CastLike CenterCropPad Compress Concat Constant ConstantOfShape DepthToSpace Expand Flatten
    Gather GatherElements GatherND Identity MemcpyFromHost MemcpyToHost Pad QLinearConcat
    ReorderInput ReorderOutput Reshape Resize ReverseSequence Scatter ScatterElements ScatterND
    Shape Size Slice SpaceToDepth Split Squeeze Tile Transpose Unsqueeze Upsample
"""
# Of the rest: pooling, reductions, softmax, normalisation, recurrent layers.
OPERATORS: Mapping[str, Category] = {
    **dict.fromkeys(_CONVOLUTIONS, "convolution"),
    **dict.fromkeys(_ELEMENT_WISE.split(), "element-wise"),
    **dict.fromkeys(_DATA_MOVEMENT.split(), "data movement"),
}
LAYOUT = frozenset({"ReorderInput", "ReorderOutput"})
QUANTISATION = frozenset({"DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"})


@dataclass(frozen=True, slots=True)
class Operation:
    """One node: its operator's type without a domain, and its tensors' shapes, where known."""

    type: str
    inputs: Sequence[Shape] = ()
    outputs: Sequence[Shape] = ()

    def input(self, index: int) -> Sequence[int]:
        """The shape of an input; empty where it is not there or not known."""
        return (self.inputs[index] or ()) if index < len(self.inputs) else ()

    def output(self) -> Sequence[int]:
        """The shape of the first result; empty where it is not there or not known."""
        return (self.outputs[0] or ()) if self.outputs else ()


def classify(operations: Sequence[Operation]) -> list[Category]:
    """The category of each operation; they must be in an order in which they can run."""
    shuffles = {index for found in _shuffles(operations) for index in found}
    return [
        "shuffle" if index in shuffles else _category(operation)
        for index, operation in enumerate(operations)
    ]


def kind(operation: Operation) -> Category:
    """The category of an operation by its type alone, which convolutions of all groups share."""
    if _ATTENTION.search(operation.type):
        return "attention"
    return "matmul" if _MATMUL.search(operation.type) else OPERATORS.get(operation.type, "other")


def kernel(operation: Operation) -> Sequence[int]:
    """The size of a convolution's kernel, empty for what is none."""
    return weights(operation)[2:]


def weights(operation: Operation) -> Sequence[int]:
    """The shape of a convolution's weights, empty for what is none."""
    return operation.input(_CONVOLUTIONS.get(operation.type, len(operation.inputs)))


def _category(operation: Operation) -> Category:
    return "depthwise" if _is_depthwise(operation) else kind(operation)


def _is_depthwise(operation: Operation) -> bool:
    """Whether each filter sees one channel of several: as many groups as channels."""
    if operation.type not in _CONVOLUTIONS:
        return False
    data, weights = operation.input(0), operation.input(_CONVOLUTIONS[operation.type])
    if len(data) < 3 or len(weights) != len(data):
        return False
    channels = data[-1 if operation.type in _CHANNELS_LAST else 1]
    if "Transpose" in operation.type:  # whose weights are (channels, results a group, ...)
        return channels > 1 and list(operation.output()[1:2]) == [channels * weights[1]]
    return channels > 1 and weights[1] == 1


def _shuffles(operations: Sequence[Operation]) -> Iterator[tuple[int, int, int]]:
    """Yield the Reshape, Transpose and Reshape of every channel shuffle.

    Which belong together shows in their shapes: what is reshaped has to be made before it is
    transposed, so that the nearest fitting one is meant.
    """
    used: set[int] = set()
    for index, operation in enumerate(operations):
        if operation.type != "Transpose":
            continue
        before = _nearest(operations, range(index - 1, -1, -1), used, made=operation.input(0))
        after = _nearest(operations, range(index + 1, len(operations)), used, of=operation.output())
        if before is None or after is None:
            continue
        if _deals_channels_out(operations[before].input(0), operation):
            used |= {before, after}
            yield before, index, after


def _nearest(
    operations: Sequence[Operation],
    indices: range,
    used: set[int],
    *,
    made: Sequence[int] = (),
    of: Sequence[int] = (),
) -> int | None:
    """The first unused Reshape that has `made` a shape, or is `of` one."""
    for index in indices:
        each = operations[index]
        if each.type == "Reshape" and index not in used:
            if made and list(each.output()) == list(made):
                return index
            if of and list(each.input(0)) == list(of):
                return index
    return None


def _deals_channels_out(image: Sequence[int], transpose: Operation) -> bool:
    """Whether two parts of the channels change places, and every plane stays as it is.

    `image` is (n, c, h, w), in any number of dimensions. The batch may be part of the first of the
    two, as where the halves that a shuffle leads to are what the second counts.
    """
    before, after = list(transpose.input(0)), list(transpose.output())
    if len(image) < 3 or len(before) != len(after):
        return False
    plane = math.prod(image[2:])
    return any(
        after == [*before[:at], before[at + 1], before[at], *before[at + 2 :]]
        and min(before[at], before[at + 1]) > 1
        and math.prod(before[at + 2 :]) == plane
        for at in range(len(before) - 1)
    )
