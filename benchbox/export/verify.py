"""Verification of a graph before it is timed: finite outputs that equal its nn.Module's."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchbox.errors import CaseError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

TOLERANCE = 1e-4  # relative and absolute, of ONNX Runtime's output against torch's


def check_finite(outputs: Sequence["Array"], where: str = "") -> None:
    """Raise CaseError, with how many and `where`, when a value of an output is NaN or infinite."""
    import numpy as np

    for index, output in enumerate(outputs):
        if getattr(output, "dtype", None) is not None and output.dtype.kind == "f":
            bad = int(np.size(output) - np.isfinite(output).sum())
            if bad:
                raise CaseError(
                    f"output {index + 1} is not finite{where}: {bad} of {output.size} values are "
                    "NaN or infinite; such a graph is not timed"
                )


def difference(
    expected: Sequence["Array"], actual: Sequence["Array"], tolerance: float = TOLERANCE
) -> float:
    """Return the largest absolute difference; raises CaseError when it is beyond `tolerance`."""
    import numpy as np

    _require_alike(expected, actual)
    largest = 0.0
    for index, (one, other) in enumerate(zip(expected, actual, strict=True)):
        apart = np.abs(one.astype(np.float64) - other.astype(np.float64))
        if apart.size:
            largest = max(largest, float(apart.max()))
        if not np.allclose(other, one, rtol=tolerance, atol=tolerance):
            raise CaseError(
                f"output {index + 1}: ONNX Runtime differs from torch by {apart.max():.2g}, "
                f"more than {tolerance:g}; such a graph is not timed"
            )
    return largest


def half_difference(expected: Sequence["Array"], actual: Sequence["Array"]) -> float:
    """Return the largest absolute difference of float16 outputs to the `expected` ones.

    Raises CaseError when they are apart by more than benchbox.agent.ort.compare.HALF_TOLERANCE.
    """
    import numpy as np

    from benchbox.agent.ort import compare

    _require_alike(expected, actual)
    largest = 0.0
    for index, (one, other) in enumerate(zip(expected, actual, strict=True)):
        apart = np.abs(one.astype(np.float64) - other.astype(np.float64))
        if not apart.size:
            continue
        largest = max(largest, float(apart.max()))
        off = compare.share(one, other)
        if off > compare.HALF_TOLERANCE:
            raise CaseError(
                f"output {index + 1} in float16 is {off:.0%} off that in float32, more than "
                f"{compare.HALF_TOLERANCE:.0%}; such a graph is not timed"
            )
    return largest


def _require_alike(expected: Sequence["Array"], actual: Sequence["Array"]) -> None:
    if len(expected) != len(actual):
        raise CaseError(f"the module has {len(expected)} outputs, its graph has {len(actual)}")
    for index, (one, other) in enumerate(zip(expected, actual, strict=True)):
        if one.shape != other.shape:
            raise CaseError(f"output {index + 1} is {one.shape} in torch, {other.shape} in ORT")
