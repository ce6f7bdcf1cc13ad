"""Shapes as they are typed: `x=1x3x224x224:int64`."""

import re
from typing import get_args

from benchbox.errors import UsageError
from benchbox.specs.model import DType, TensorSpec


def shape(text: str, option: str = "--shape ") -> TensorSpec:
    """Parse `x=1x3x224x224` or `ids=1x128:int64` as an input; raises UsageError otherwise."""
    match = re.fullmatch(r"(.+)=((?:\d{1,12}(?:x\d{1,12})*)|scalar)(?::(\w+))?", text.strip())
    if match is None:
        raise UsageError(f"{option}{text}: write name=1x3x224x224, with :int64 or such behind it")
    sizes = () if match[2] == "scalar" else tuple(int(size) for size in match[2].split("x"))
    dtype = match[3] or "float32"
    if dtype not in get_args(DType):
        raise UsageError(f"{option}{text}: {dtype} is none of {', '.join(get_args(DType))}")
    if 0 in sizes:
        raise UsageError(f"{option}{text}: a size must be positive")
    return TensorSpec(match[1], sizes, dtype)
