"""ONNX graphs of one operator.

Field numbers are those of onnx.proto3; every message here is small, and no graph has weights.
"""

from collections.abc import Sequence
from itertools import pairwise

from benchbox.agent.ort.protobuf import field, number

IR_VERSION, OPSET = 8, 13
FLOAT, UINT8, INT8, INT32, FLOAT16 = 1, 2, 3, 6, 10  # TensorProto.DataType
ELEMENTS = {"float32": FLOAT, "float16": FLOAT16, "int8": INT8}
LEFT, RIGHT, PRODUCT = "left", "right", "product"


def graph(size: int, element: int = FLOAT) -> bytes:
    """Return the model that multiplies two matrices of `size` by `size`, of one of ELEMENTS.

    Of int8 the left one is unsigned, as images are that a network of 8-bit integers is given.
    """
    whole = element == INT8
    left, result = (UINT8, INT32) if whole else (element, element)
    operator = "MatMulInteger" if whole else "MatMul"
    node = _text(1, LEFT) + _text(1, RIGHT) + _text(2, PRODUCT) + _text(4, operator)
    shape = (size, size)
    inputs = _tensor(LEFT, shape, left), _tensor(RIGHT, shape, element)
    return _model([node], inputs, _tensor(PRODUCT, shape, result))


def chain(nodes: int) -> bytes:
    """Return the model that negates one number so often: what a node costs that does nothing."""
    names = [LEFT, *map(str, range(1, nodes)), PRODUCT]
    steps = [_text(1, of) + _text(2, to) + _text(4, "Neg") for of, to in pairwise(names)]
    return _model(steps, [_tensor(LEFT, (1,), FLOAT)], _tensor(PRODUCT, (1,), FLOAT))


def _model(nodes: Sequence[bytes], inputs: Sequence[bytes], output: bytes) -> bytes:
    """Return a ModelProto of these nodes."""
    body = b"".join(field(1, node) for node in nodes) + _text(2, "gemm")
    tensors = b"".join(field(11, each) for each in inputs) + field(12, output)
    return number(1, IR_VERSION) + field(8, number(2, OPSET)) + field(7, body + tensors)


def _tensor(name: str, shape: Sequence[int], element: int) -> bytes:
    """Return a ValueInfoProto."""
    sizes = b"".join(field(1, number(1, size)) for size in shape)
    kind = field(1, number(1, element) + field(2, sizes))
    return _text(1, name) + field(2, kind)


def _text(place: int, text: str) -> bytes:
    return field(place, text.encode())
