"""Seeded random input arrays: the same on every device, and never zeros."""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchbox.agent.stdio import Message, Refusal

FLOATS = ("float16", "float32", "float64")
BYTES = ("int8", "uint8")
WORDS = ("int16", "int32", "int64", "uint16", "uint32", "uint64")
DTYPES = (*FLOATS, *BYTES, *WORDS, "bool")
STRING = "string"  # which no module takes


def of(tensor: Message, seed: int) -> NDArray[np.generic]:
    """Return the array for an input as a request describes it."""
    values = tensor.get("values")
    return make(tensor["name"], tensor["shape"], tensor["dtype"], seed, values)


def make(
    name: str, shape: Sequence[int], dtype: str, seed: int, values: Message | None = None
) -> NDArray[np.generic]:
    """Return the array of `shape` for the input `name`.

    `values` are {"file": path of a .npy}, a {"number"} or a {"text"} that fills it, or spread
    {"below"} a bound. Without them floats are standard normal; 8-bit integers span their range, as
    pixels do; wider integers are 0 or 1, because as indices, lengths or masks these are the values
    that every graph accepts; strings are numbers of up to three digits. Raises Refusal for a dtype
    that is not in DTYPES.
    """
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    if values and "below" in values:
        return np.asarray(generator.integers(0, values["below"], shape)).astype(dtype)
    if values:
        return _given(values, shape, dtype)
    if dtype in FLOATS:
        return generator.standard_normal(shape, dtype=np.float32).astype(dtype, copy=False)
    if dtype in BYTES:
        info = np.iinfo(dtype)
        return _some(generator.integers(info.min, info.max, shape, dtype=dtype, endpoint=True))
    if dtype in WORDS or dtype == "bool":
        return _some(generator.integers(0, 2, shape).astype(dtype))
    if dtype == STRING:
        return np.asarray(generator.integers(0, 1000, shape)).astype(str).astype(object)
    raise Refusal(f"input {name!r} is of type {dtype}; benchbox can fill {', '.join(DTYPES)}")


def _given(values: Message, shape: Sequence[int], dtype: str) -> NDArray[np.generic]:
    kind = object if dtype == STRING else dtype
    if "file" not in values:
        return np.full(shape, values.get("text", values.get("number")), kind)
    array: NDArray[np.generic] = np.load(values["file"], allow_pickle=False)
    return np.ascontiguousarray(array.astype(kind, copy=False)).reshape(shape)


def _some(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the array with a 1 in front where chance made all of it zero: few values may be."""
    if array.size and not array.any():
        array.flat[0] = 1
    return array
