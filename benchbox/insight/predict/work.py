"""Work: what an operator computes and moves, as the numbers that its time is predicted from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchbox.insight.predict.operators import Operator
from benchbox.insight.predict.shapes import Shape

BLOCK = 16  # channels
BYTES = 4  # of a float32
KERNELS = ("Conv", "FusedConv")
PRODUCTS = ("Gemm", "FusedGemm", "MatMul", "FusedMatMul")
RECURRENT = ("LSTM", "GRU", "RNN")
VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")
CHEAP = ("Relu", "Clip", "LeakyRelu", "HardSigmoid", "Abs", "Neg", "PRelu", "ThresholdedRelu")
FALLING_BACK = {  # kinds that are like others where a calibration has none of them
    "blocked pixel": "blocked pointwise",
    "blocked few": "blocked dense",
    "SkipLayerNormalization": "LayerNormalization",
}


@dataclass(frozen=True, slots=True)
class Work:
    """The work of one operator. `kind` is what it is compared with: kernels that are alike.

    `macs` are those that run, padding included; `each` is the input channels of a group.
    """

    kind: str
    macs: int = 0
    memory_bytes: int = 0
    weight_bytes: int = 0
    result_bytes: int = 0
    inputs: int = 1
    outputs: int = 1
    each: int = 1
    groups: int = 1
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    height: int = 1
    width: int = 1
    input_pixels: int = 1
    activation: str = ""
    adds: bool = False
    parts: int = 1

    @property
    def pixels(self) -> int:
        """The results of a channel."""
        return self.height * self.width


@dataclass(frozen=True, slots=True)
class NetworkWork:
    """The work of all operators of a graph."""

    works: Sequence[Work]

    @property
    def macs(self) -> int:
        """Multiply-accumulates, those of padding included."""
        return sum(each.macs for each in self.works)

    @property
    def memory_bytes(self) -> int:
        """What all operators read and write."""
        return sum(each.memory_bytes for each in self.works)

    @property
    def weight_bytes(self) -> int:
        """All weights."""
        return sum(each.weight_bytes for each in self.works)

    @property
    def footprint_bytes(self) -> int:
        """What a call needs at least of a cache: all weights, and the largest maps."""
        moved = [each.memory_bytes - each.weight_bytes for each in self.works]
        return self.weight_bytes + max(moved, default=0)


def of(operator: Operator) -> Work:
    """The work of an operator, of which nothing but its type may be known."""
    if not operator.result or not all(operator.result):
        return Work(f"{operator.type} of unknown shape")
    if operator.type in KERNELS and len(operator.data) == 4:
        return _convolution(operator)
    if operator.type in PRODUCTS:
        return _product(operator)
    return _other(operator)


def _size(shape: Shape | None) -> int:
    return BYTES * math.prod(shape) if shape else 0


def _convolution(op: Operator) -> Work:
    data, weights, result = op.data, op.inputs[1], op.result
    assert weights is not None, "its shape was inferred from them"
    groups = op.attributes.get("group", 1)
    pixels = result[2] * result[3]
    window = weights[2], weights[3]
    adds = len(op.inputs) > 3 and op.inputs[3] is not None
    return Work(
        kind=_kernel(op, groups, window, pixels),
        macs=pixels * result[1] * math.prod(weights[1:]),
        memory_bytes=_size(data) + _size(weights) + _size(result) * (1 + adds),
        weight_bytes=_size(weights),
        result_bytes=_size(result),
        inputs=data[1],
        outputs=result[1],
        each=weights[1],
        groups=groups,
        kernel=window,
        stride=max(op.attributes.get("strides") or [1]),
        height=result[2],
        width=result[3],
        input_pixels=data[2] * data[3],
        activation=op.attributes.get("activation", ""),
        adds=adds,
    )


def _kernel(op: Operator, groups: int, window: tuple[int, int], pixels: int) -> str:
    """The algorithm; those that are not in blocks are products of a group's channels."""
    weights = op.inputs[1]
    assert weights is not None, "a convolution's"
    layout = "blocked" if op.is_blocked else "plain"
    if groups > 1 and weights[1] == 1:
        return f"{layout} depthwise"
    if not op.is_blocked:
        return "plain dense"
    if op.data[1] < BLOCK and groups == 1:
        return "blocked few"
    if max(window) > 1 or groups > 1:
        return "blocked dense"
    return "blocked pixel" if pixels == 1 else "blocked pointwise"


def _product(op: Operator) -> Work:
    data, result = op.data, op.result
    depth = data[-2 if op.attributes.get("transA") else -1]
    rows = math.prod(result[:-1])
    is_known = len(op.constant) > 1 and op.constant[1]
    second = _size(op.inputs[1]) if len(op.inputs) > 1 else 0
    return Work(
        kind=("product" if is_known else "product of two") + (" of a row" if rows == 1 else ""),
        macs=math.prod(result) * depth,
        memory_bytes=_size(data) + second + _size(result),
        weight_bytes=second if is_known else 0,
        result_bytes=_size(result),
        inputs=depth,
        outputs=result[-1],
        each=depth,
        groups=1 if is_known else math.prod(result[:-2]),
        height=rows,
        activation=op.attributes.get("activation", ""),
        parts=1 + bool(op.attributes.get("transB")),
    )


def _other(op: Operator) -> Work:
    data, result = op.data, op.result
    known = [shape for shape in op.inputs if shape is not None]
    maps = [
        shape for shape, fixed in zip(op.inputs, op.constant, strict=True) if shape and not fixed
    ]
    moved = sum(map(_size, maps)) + sum(map(_size, op.outputs))
    is_map = len(data) == 4 == len(result)
    window = op.attributes.get("kernel_shape") or [1, 1]
    macs = _macs(op)
    weights = sum(map(_size, op.inputs)) - sum(map(_size, maps)) if macs else 0
    return Work(
        kind=_other_kind(op, known),
        macs=macs,
        memory_bytes=moved + weights,
        weight_bytes=weights,
        result_bytes=sum(map(_size, op.outputs)),
        inputs=data[1] if len(data) > 1 else 1,
        outputs=result[1] if len(result) > 1 else 1,
        kernel=(window[0], window[-1]),
        stride=max(op.attributes.get("strides") or [1]),
        height=result[2] if is_map else 1,
        width=result[3] if is_map else (result[-1] if result else 1),
        input_pixels=data[2] * data[3] if len(data) == 4 else 1,
        parts=max(len(maps), len(op.outputs)),
        each=_run(op),
    )


def _macs(op: Operator) -> int:
    """Those of convolutions along one axis or three and turned round, and of recurrent layers."""
    shapes = [shape or () for shape in op.inputs[1:]]
    if op.type in KERNELS:
        return math.prod(op.result) * math.prod(shapes[0][1:])
    if op.type == "ConvTranspose":
        return math.prod(op.data) * math.prod(shapes[0][1:])
    if op.type in RECURRENT:  # of each step weights of its input and of its state
        return math.prod(op.data[:2]) * sum(map(math.prod, shapes[:2]))
    return 0


def _run(op: Operator) -> int:
    """Elements that lie together in what is moved: more of them are copied at once."""
    data, axis = op.data, op.attributes.get("axis", 1)
    if op.type in ("Concat", "Split") and data:
        return math.prod(data[axis % len(data) :])
    if op.type == "Transpose" and data:
        order = list(op.attributes.get("perm") or range(len(data))[::-1])
        kept = len(data)
        while kept and order[kept - 1] == kept - 1:
            kept -= 1
        return math.prod(data[kept:])
    return data[-1] if data else 1


def _other_kind(op: Operator, known: Sequence[Shape]) -> str:
    kind = op.type
    if kind in ("Add", "Sub", "Mul", "Div", "Max", "Min"):
        kind = "sum" if kind in ("Add", "Sub") else "scale"
        alike = len({math.prod(each) for each in known}) == 1
        return kind if alike else f"{kind} of unlike"
    if kind in KERNELS:
        return f"Conv of {len(op.data) - 2}D"
    if kind in VIEWS:
        return "view"
    if kind in CHEAP:
        return "activation"
    if kind in ("Resize", "Upsample"):
        kind = "resize"
    return f"blocked {kind}" if op.is_blocked and not kind.startswith("Reorder") else kind
