"""Multiply-accumulates of one operator, as the papers count them.

The convention is ShuffleNetV2's (arXiv 1807.11164, section 2): what counts is the multiplications
of data by weights or by other data that are summed up, in convolutions, matrix products and
recurrent layers. Biases, activations, normalisation, pooling, element-wise maths and all movement
of data are free. An operator that is in neither table below is never taken for free: it
raises Uncountable, which names it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from benchbox.costs import attention
from benchbox.costs.graph import GraphNode, Shape, Uncountable

_FREE_MATHS = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
    Ceil Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid
    HardSwish IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu
    Pow Reciprocal Relu RotaryEmbedding Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign
    Sqrt Sub Sum SwiGLU Swish Tan Tanh ThresholdedRelu Where Xor
"""
_FREE_REDUCTIONS = """
    ArgMax ArgMin AveragePool BatchNormalization CumProd CumSum GlobalAveragePool GlobalLpPool
    GlobalMaxPool GroupNormalization Hardmax InstanceNormalization LRN LayerNormalization LogSoftmax
    LpNormalization LpPool MaxPool MaxRoiPool MaxUnpool MeanVarianceNormalization
    NegativeLogLikelihoodLoss RMSNormalization ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
    ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare RoiAlign Softmax
    SoftmaxCrossEntropyLoss
"""
_FREE_MOVEMENT = """
    BitCast Cast CastLike CenterCropPad Col2Im Compress Concat ConcatFromSequence Constant
    ConstantOfShape DepthToSpace DequantizeLinear Dropout DynamicQuantizeLinear Expand EyeLike
    Flatten Gather GatherElements GatherND GridSample Identity NonMaxSuppression NonZero OneHot
    Optional OptionalGetElement OptionalHasElement Pad QuantizeLinear Range Reshape Resize
    ReverseSequence Scatter ScatterElements ScatterND SequenceAt SequenceConstruct SequenceEmpty
    SequenceErase SequenceInsert SequenceLength Shape Size Slice SpaceToDepth Split SplitToSequence
    Squeeze TensorScatter Tile TopK Transpose Trilu Unique Unsqueeze Upsample
"""
_FREE_SOURCES = """
    Bernoulli BlackmanWindow HammingWindow HannWindow Multinomial RandomNormal RandomNormalLike
    RandomUniform RandomUniformLike
"""
_FREE_CONTRIB = """
    BiasAdd BiasDropout BiasGelu BiasSoftmax BiasSplitGelu CropAndResize DequantizeLinear
    EmbedLayerNormalization ExpandDims FastGelu GatherBlockQuantized GatherND
    Gelu GridSample GroupNorm ImageScaler NhwcMaxPool Pad QEmbedLayerNormalization
    QLinearAdd QLinearAveragePool QLinearConcat QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul
    QLinearReduceMean QLinearSigmoid QLinearSoftmax QLinearWhere QuantizeLinear QuickGelu
    Range RotaryEmbedding SimplifiedLayerNormalization SkipGroupNorm SkipLayerNormalization
    SkipSimplifiedLayerNormalization Trilu Unique UnfoldTensor
"""

_FREE_BLOCKED = """
    AveragePool GlobalAveragePool GlobalMaxPool MaxPool ReorderInput ReorderOutput Upsample
"""

FREE = frozenset(
    f"{_FREE_MATHS} {_FREE_REDUCTIONS} {_FREE_MOVEMENT} {_FREE_SOURCES}".split()
) | frozenset(
    [
        *(f"com.microsoft:{name}" for name in _FREE_CONTRIB.split()),
        *(f"com.microsoft.nchwc:{name}" for name in _FREE_BLOCKED.split()),
    ]
)
"""Operators without multiply-accumulates: standard ones, and ONNX Runtime's commonest."""

_BRANCHES = 2


def macs(step: GraphNode) -> int:
    """The multiply-accumulates of `step`; raises Uncountable where it is unknown."""
    if is_free(step):
        return 0
    if step.bodies:
        raise Uncountable(f"{step.type} (has a body)")
    if step.type not in COUNTED:
        raise Uncountable(step.type)
    return COUNTED[step.type](step)


def is_free(step: GraphNode) -> bool:
    """Whether `step` has no multiply-accumulates, whichever branch an If takes."""
    if step.type != "If":
        return step.type in FREE
    if len(step.bodies) != _BRANCHES:
        raise step.malformed("it needs a then_branch and an else_branch")
    return all(is_free(inner) for body in step.bodies for inner in body.steps)


def _convolution(step: GraphNode, weight: int = 1) -> int:
    """Every output element sums over one kernel and the input channels of its group."""
    _, kernel = _convolved(step, weight)
    return math.prod(step.shape(step.output(0))) * math.prod(kernel[1:])


def _transposed_convolution(step: GraphNode) -> int:
    """Every input element is spread by one kernel over the output channels of its group."""
    data, kernel = _convolved(step, 1)
    return math.prod(data) * math.prod(kernel[1:])


def _convolved(step: GraphNode, weight: int) -> tuple[Shape, Shape]:
    groups = step.integer("group", 1)
    if groups < 1:
        raise step.malformed(f"group is {groups}")
    data, kernel = step.shape(step.input(0)), step.shape(step.input(weight))
    if len(data) != len(kernel) or len(data) < 3:
        raise step.malformed(f"{list(data)} cannot be convolved with {list(kernel)}")
    last = step.type == "com.microsoft:NhwcFusedConv" or step.integer("channels_last", 0)
    channels = data[-1 if last else 1]
    taken = kernel[0] if step.type == "ConvTranspose" else kernel[1] * groups
    if channels != taken or kernel[0] % groups:
        raise step.malformed(f"{channels} channels in {groups} groups, weights of {list(kernel)}")
    return data, kernel


def _gemm(step: GraphNode, right: int = 1) -> int:
    first, second = step.shape(step.input(0)), step.shape(step.input(right))
    if len(first) != 2 or len(second) != 2:
        raise step.malformed(f"{list(first)} and {list(second)} are not two matrices")
    rows, inner = reversed(first) if step.integer("transA", 0) else first
    other, columns = reversed(second) if step.integer("transB", 0) else second
    if inner != other:
        raise step.malformed(f"{list(first)} cannot be multiplied by {list(second)}")
    return rows * inner * columns


def _matmul(step: GraphNode, right: int = 1) -> int:
    """Every output element sums over the dimension that the two factors share."""
    first, second = step.shape(step.input(0)), step.shape(step.input(right))
    if not first or not second:
        raise step.malformed("a factor is a scalar")
    inner, other = first[_inner_of_left(step, first)], second[_inner_of_right(step, second)]
    if inner != other:
        raise step.malformed(f"{list(first)} cannot be multiplied by {list(second)}")
    return math.prod(step.shape(step.output(0))) * inner


def _inner_of_left(step: GraphNode, shape: Shape) -> int:
    if len(shape) == 1 or not step.integer("transA", 0):
        return -1
    return 0 if step.integer("transBatchA", 0) else -2


def _inner_of_right(step: GraphNode, shape: Shape) -> int:
    if len(shape) == 1 or step.integer("transB", 0):
        return -1
    return 0 if step.integer("transBatchB", 0) else -2


def _einsum(step: GraphNode) -> int:
    """Two operands meet once for every combination of all the indices; one is only moved."""
    terms = "".join(step.text("equation").split()).split("->")[0].split(",")
    if len(terms) != len(step.inputs):
        raise step.malformed(f"an equation of {len(terms)} operands for {len(step.inputs)}")
    if len(terms) > 2:
        raise Uncountable(f"{step.type} ({len(terms)} operands)")
    sizes: dict[str | int, int] = {}
    for at, term in enumerate(terms):
        shape = step.shape(step.input(at))
        for index, size in zip(_indices(step, term, len(shape)), shape, strict=True):
            if 1 not in (size, sizes.get(index, size)) and sizes.get(index, size) != size:
                raise step.malformed(f"index {index!r} is both {sizes[index]} and {size}")
            sizes[index] = size if sizes.get(index, 1) == 1 else sizes[index]
    return math.prod(sizes.values()) if len(terms) > 1 else 0


def _indices(step: GraphNode, term: str, rank: int) -> list[str | int]:
    """The index of each dimension: a letter, or a number for one that `...` stands for."""
    before, dots, after = term.partition("...")
    hidden = rank - len(before) - len(after)
    if hidden < 0 or (hidden and not dots):
        raise step.malformed(f"the equation's {term!r} does not fit {rank} dimensions")
    return [*before, *range(-hidden, 0), *after]


def _recurrent(step: GraphNode, gates: int) -> int:
    """Each step of each sequence meets gates * (input + hidden) * hidden weights a direction."""
    data, weights, recurrence = (step.shape(step.input(at)) for at in range(3))
    if not len(data) == len(weights) == len(recurrence) == 3:
        raise step.malformed("data and weights need three dimensions")
    directions, rows, hidden = recurrence
    if rows != gates * hidden or weights != (directions, rows, data[2]):
        raise step.malformed(f"{list(weights)} and {list(recurrence)} are not weights of it")
    return data[0] * data[1] * (math.prod(weights) + math.prod(recurrence))


def _dynamic_lstm(step: GraphNode) -> int:
    """An LSTM whose weights lie the other way round: directions, inputs, gates * hidden."""
    data, weights, recurrence = (step.shape(step.input(at)) for at in range(3))
    if not len(data) == len(weights) == len(recurrence) == 3:
        raise step.malformed("data and weights need three dimensions")
    return data[0] * data[1] * (math.prod(weights) + math.prod(recurrence))


def _packed_matmul(step: GraphNode) -> int:
    """A matrix product whose weights are packed below eight bits; K and N are their sizes."""
    return math.prod(step.shape(step.input(0))) * step.integer("N", 0)


COUNTED: dict[str, Callable[[GraphNode], int]] = {
    "Attention": attention.attention,
    "Conv": _convolution,
    "ConvInteger": _convolution,
    "ConvTranspose": _transposed_convolution,
    "DeformConv": _convolution,
    "Einsum": _einsum,
    "GRU": partial(_recurrent, gates=3),
    "Gemm": _gemm,
    "LSTM": partial(_recurrent, gates=4),
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearConv": partial(_convolution, weight=3),
    "QLinearMatMul": partial(_matmul, right=3),
    "RNN": partial(_recurrent, gates=1),
    "com.microsoft:Attention": attention.projected,
    "com.microsoft:ConvTransposeWithDynamicPads": _transposed_convolution,
    "com.microsoft:DynamicQuantizeLSTM": _dynamic_lstm,
    "com.microsoft:DynamicQuantizeMatMul": _matmul,
    "com.microsoft:FusedConv": _convolution,
    "com.microsoft:FusedGemm": _gemm,
    "com.microsoft:FusedMatMul": _matmul,
    "com.microsoft:GemmFastGelu": _matmul,
    "com.microsoft:GroupQueryAttention": attention.grouped_query,
    "com.microsoft:MatMulBnb4": _packed_matmul,
    "com.microsoft:MatMulInteger16": _matmul,
    "com.microsoft:MatMulIntegerToFloat": _matmul,
    "com.microsoft:MatMulNBits": _packed_matmul,
    "com.microsoft:MultiHeadAttention": attention.multi_head,
    "com.microsoft:NhwcFusedConv": _convolution,
    "com.microsoft:QAttention": partial(attention.projected, past=8),
    "com.microsoft:QGemm": partial(_gemm, right=3),
    "com.microsoft:QLinearConv": partial(_convolution, weight=3),
    "com.microsoft:TransposeMatMul": _matmul,
    "com.microsoft.nchwc:Conv": _convolution,
}
"""The rule of each operator that has multiply-accumulates."""
