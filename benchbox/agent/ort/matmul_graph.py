"""An ONNX graph of one matrix product, written byte by byte: the device has no onnx to build it.

Field numbers are those of onnx.proto3; every message here is small, and the graph has no weights.
"""

IR_VERSION, OPSET = 8, 13
FLOAT, FLOAT16 = 1, 10  # TensorProto.DataType
ELEMENTS = {"float32": FLOAT, "float16": FLOAT16}
LEFT, RIGHT, PRODUCT = "left", "right", "product"


def graph(size: int, element: int = FLOAT) -> bytes:
    """Return the model that multiplies two matrices of `size` by `size`, of float32 or float16."""
    node = _text(1, LEFT) + _text(1, RIGHT) + _text(2, PRODUCT) + _text(4, "MatMul")
    left, right, product = (_tensor(name, size, element) for name in (LEFT, RIGHT, PRODUCT))
    tensors = _field(11, left) + _field(11, right) + _field(12, product)
    body = _field(1, node) + _text(2, "gemm") + tensors
    return _number(1, IR_VERSION) + _field(8, _number(2, OPSET)) + _field(7, body)


def _tensor(name: str, size: int, element: int) -> bytes:
    """Return a ValueInfoProto."""
    dimension = _field(1, _number(1, size))
    kind = _field(1, _number(1, element) + _field(2, dimension + dimension))
    return _text(1, name) + _field(2, kind)


def _text(field: int, text: str) -> bytes:
    return _field(field, text.encode())


def _field(field: int, content: bytes) -> bytes:
    """Return a field whose content has a length: text, or a message."""
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    """Return a number seven bits at a time, the lowest first."""
    digits = []
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])
