"""Strings as ONNX Runtime holds them, which it makes of no array: a constant of a graph is one."""

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

STRING, TENSOR, IR, OPSET = 8, 4, 8, 13  # of ONNX


def value(array: NDArray[np.generic]) -> ort.OrtValue:
    """Return an array of strings as the output of a graph that has nothing else."""
    session = ort.InferenceSession(_graph(array), providers=["CPUExecutionProvider"])
    (found,) = session.run_with_ort_values(["y"], {})
    return found


def _graph(array: NDArray[np.generic]) -> bytes:
    """The protobuf of a model of one Constant, by the numbers of ONNX's fields."""
    sizes = b"".join(_number(1, size) for size in array.shape)
    texts = b"".join(_bytes(6, str(text).encode()) for text in array.reshape(-1))
    tensor = sizes + _number(2, STRING) + texts
    attribute = _bytes(1, b"value") + _bytes(5, tensor) + _number(20, TENSOR)
    node = _bytes(2, b"y") + _bytes(4, b"Constant") + _bytes(5, attribute)
    output = _bytes(1, b"y") + _bytes(2, _bytes(1, _number(1, STRING)))
    graph = _bytes(1, node) + _bytes(2, b"strings") + _bytes(12, output)
    return _number(1, IR) + _bytes(7, graph) + _bytes(8, _number(2, OPSET))


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
