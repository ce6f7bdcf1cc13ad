"""Graph of strings: ONNX Runtime makes a tensor of strings of no array, but of a constant."""

import numpy as np
from numpy.typing import NDArray

STRING, TENSOR, IR, OPSET = 8, 4, 8, 13  # of ONNX


def graph(array: NDArray[np.generic]) -> bytes:
    """The protobuf of a model whose one output `y` is an array of strings.

    It has one Constant, and is written by the numbers of ONNX's fields.
    """
    sizes = b"".join(_number(1, size) for size in array.shape)
    texts = b"".join(_bytes(6, str(text).encode()) for text in array.reshape(-1))
    tensor = sizes + _number(2, STRING) + texts
    attribute = _bytes(1, b"value") + _bytes(5, tensor) + _number(20, TENSOR)
    node = _bytes(2, b"y") + _bytes(4, b"Constant") + _bytes(5, attribute)
    output = _bytes(1, b"y") + _bytes(2, _bytes(1, _number(1, STRING)))
    whole = _bytes(1, node) + _bytes(2, b"strings") + _bytes(12, output)
    return _number(1, IR) + _bytes(7, whole) + _bytes(8, _number(2, OPSET))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    head = []
    while value > 0x7F:
        head.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*head, value])
