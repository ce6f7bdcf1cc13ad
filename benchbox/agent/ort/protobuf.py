"""Protobuf fields, written byte by byte: a device has no onnx to build a graph with."""


def field(place: int, content: bytes) -> bytes:
    """Return a field whose content has a length: text, or a message."""
    return _varint(place << 3 | 2) + _varint(len(content)) + content


def number(place: int, value: int) -> bytes:
    """Return a field that is a whole number."""
    return _varint(place << 3) + _varint(value)


def _varint(value: int) -> bytes:
    """Return a number seven bits at a time, the lowest first."""
    digits = []
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])
