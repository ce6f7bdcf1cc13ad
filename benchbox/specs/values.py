"""Values of inputs that a user gives: .npy files, numbers, texts; checked for shape and type."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchbox import host
from benchbox.errors import UsageError
from benchbox.specs.model import Case, TensorSpec, Values

MOST_BYTES = 1 << 31
WORDS = {"true": 1, "false": 0}


def parse(value: str | float, option: str, folder: Path = Path()) -> Values:
    """Parse `ids.npy`, `16000` or a text; raises UsageError for a file that cannot be read.

    Its message begins with `option`.
    """
    text = str(value).strip()
    if text.lower().endswith(".npy"):
        return from_file(folder / Path(text).expanduser(), option)
    found: float | None = WORDS.get(text.lower())
    for kind in (int, float):
        if found is None:
            with contextlib.suppress(ValueError, OverflowError):
                found = kind(text)
    number = found if found is not None and math.isfinite(found) else None
    return Values(number=number, text=str(value))


def from_file(path: Path, option: str) -> Values:
    """The values of a .npy file; raises UsageError for one that numpy cannot read."""
    import numpy as np

    try:
        if problem := host.why_no_file(path):
            raise UsageError(f"{option}: {path}: {problem}")
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{option}: {path}: it is larger than 2 GiB")
        if host.is_lfs_pointer(path):
            raise UsageError(f"{option}: {path}: {host.LFS_ADVICE}")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        shape, dtype = array.shape, "string" if array.dtype.kind == "U" else array.dtype.name
        return Values(path.resolve(), host.sha256(path), shape, dtype)
    except (OSError, ValueError, EOFError, AttributeError) as error:
        what = getattr(error, "strerror", None) or "not a .npy file of numbers"
        raise UsageError(f"{option}: {path}: {what}; write it with numpy.save") from None


def with_values(cases: Sequence[Case], values: Mapping[str, Values]) -> list[Case]:
    """Return the cases with these values of their inputs, each checked for shape and type.

    Raises UsageError for values that do not fit, and for an input that no case has.
    """
    names = dict.fromkeys(tensor.name for case in cases for tensor in case.inputs)
    if unknown := next((name for name in values if name not in names), None):
        raise UsageError(f"--input {unknown}: no such input; there are {', '.join(names)}")
    return [
        replace(case, inputs=tuple(filled(t, values.get(t.name), "--input") for t in case.inputs))
        for case in cases
    ]


def filled(tensor: TensorSpec, values: Values | None, option: str) -> TensorSpec:
    """Return the input with values, or as it is without; raises UsageError unless they fit."""
    if values is None:
        return tensor
    where = f"{option} {tensor.name}"
    if values.file is None:
        is_text = tensor.dtype == "string"
        values = replace(values, number=None) if is_text else _number(tensor, values, where)
    elif values.dtype != tensor.dtype:
        raise UsageError(
            f"{where}: {values.file.name} is of type {values.dtype}, the input of {tensor.dtype}; "
            f"save it as array.astype({tensor.dtype.replace('string', 'str')!r})"
        )
    elif values.shape != tensor.shape:
        found, wanted = (_sizes(each) for each in (values.shape, tensor.shape))
        raise UsageError(f"{where}: {values.file.name} is {found}, the input {wanted}")
    return replace(tensor, values=values)


def _number(tensor: TensorSpec, values: Values, where: str) -> Values:
    """A number that fills an input; raises UsageError for none, and for one of another type."""
    import numpy as np

    value, text = values.number, values.text
    if value is None:
        raise UsageError(
            f"{where}: {text!r} is neither a .npy file, as numpy.save writes, nor a number such as "
            "16000"
        )
    dtype = np.dtype(tensor.dtype)
    if dtype.kind == "b":
        is_kind, high = value in (0, 1), 1.0
    elif dtype.kind in "iu":
        is_kind, high = value == int(value), np.iinfo(dtype).max
    else:
        is_kind, high = True, float(np.finfo(dtype).max)
    low = np.iinfo(dtype).min if dtype.kind in "iu" else -high
    if not is_kind or not low <= value <= high:
        raise UsageError(f"{where}: {value:g} is no {tensor.dtype}")
    return replace(values, text=None)


def _sizes(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "a scalar"
