"""Graph of strings: ONNX Runtime makes a tensor of strings of no array, but of a constant."""

import numpy as np
from numpy.typing import NDArray

from benchbox.agent.ort.protobuf import field, number

STRING, TENSOR, IR, OPSET = 8, 4, 8, 13  # of ONNX


def graph(array: NDArray[np.generic]) -> bytes:
    """The protobuf of a model whose one output `y` is an array of strings.

    It has one Constant, and is written by the numbers of ONNX's fields.
    """
    sizes = b"".join(number(1, size) for size in array.shape)
    texts = b"".join(field(6, str(text).encode()) for text in array.reshape(-1))
    tensor = sizes + number(2, STRING) + texts
    attribute = field(1, b"value") + field(5, tensor) + number(20, TENSOR)
    node = field(2, b"y") + field(4, b"Constant") + field(5, attribute)
    output = field(1, b"y") + field(2, field(1, number(1, STRING)))
    whole = field(1, node) + field(2, b"strings") + field(12, output)
    return number(1, IR) + field(7, whole) + field(8, number(2, OPSET))
