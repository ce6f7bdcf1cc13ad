"""The values of options, from text: `1%`, `90s`, `x=1x3x224x224:int64`."""

import re
from typing import get_args

from benchbox.errors import UsageError
from benchbox.specs.model import DType, TensorSpec

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


def share(text: str) -> float:
    """Return `1%` or `0.01` as 0.01; raises UsageError unless it lies between 0 and 1."""
    match = re.fullmatch(r"\s*(\d*\.?\d+)\s*(%?)\s*", text)
    value = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < value < 1:
        raise UsageError(f"--precision {text}: write a share such as 1% or 0.01")
    return value


def seconds(text: str) -> float:
    """Return `90s`, `5m`, `1h` or `90` in seconds; raises UsageError unless it is positive."""
    match = re.fullmatch(r"\s*(\d*\.?\d+)\s*(ms|s|m|h|)\s*", text)
    value = float(match[1]) * SECONDS[match[2]] if match else 0.0
    if value <= 0:
        raise UsageError(f"--max-time {text}: write it as 90s, 5m or 1h")
    return value


def shape(text: str) -> TensorSpec:
    """Return `x=1x3x224x224` or `ids=1x128:int64` as an input; raises UsageError otherwise."""
    match = re.fullmatch(r"(.+)=((?:\d+(?:x\d+)*)|scalar)(?::(\w+))?", text.strip())
    if match is None:
        raise UsageError(f"--shape {text}: write name=1x3x224x224, with :int64 or such behind it")
    sizes = () if match[2] == "scalar" else tuple(int(size) for size in match[2].split("x"))
    dtype = match[3] or "float32"
    if dtype not in get_args(DType):
        raise UsageError(f"--shape {text}: {dtype} is none of {', '.join(get_args(DType))}")
    if 0 in sizes:
        raise UsageError(f"--shape {text}: a size must be positive")
    return TensorSpec(match[1], sizes, dtype)
