"""Verification of a graph before it is timed: finite outputs that equal its nn.Module's."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from benchbox.errors import CaseError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

# Of ONNX Runtime's output against torch's: the root mean square of the differences, each relative
# to the value and the output's standard deviation. Single values of deep networks are ten times as
# far apart: 3e-4 was seen, where the root mean square was 2e-5.
TOLERANCE = 1e-4
SINGLE = 10

MOST_UNSEEN = 0.1  # of detections, of which only the score is compared

DECODED = "decoded"  # the `output_kind` of a detector whose first channels are boxes


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
    expected: Sequence["Array"],
    actual: Sequence["Array"],
    tolerance: float = TOLERANCE,
    kind: str = "",
) -> float:
    """Return the largest absolute difference; raises CaseError when it is beyond `tolerance`.

    Boxes and scores are compared apart where the `kind` says that they are decoded, and detections
    as sets of rows: rounding may swap two with equal scores.
    """
    import numpy as np

    largest = 0.0
    for index, whole, other in _pairs(expected, actual, kind):
        for one, two in _parts(whole, other, tolerance):
            apart = np.abs(one.astype(np.float64) - two.astype(np.float64))
            if not apart.size:
                continue
            largest = max(largest, float(apart.max()))
            off = _relative(apart, one)
            rms, most = np.sqrt(np.square(off).mean()), off.max()
            if not (rms <= tolerance and most <= SINGLE * tolerance):  # as with NaN
                raise CaseError(
                    f"output {index + 1}: ONNX Runtime differs from torch by {apart.max():.2g}, "
                    f"more than {tolerance:g} of its size; such a graph is not timed"
                )
    return largest


def half_difference(
    expected: Sequence["Array"], actual: Sequence["Array"], kind: str = ""
) -> float:
    """Return the largest absolute difference of float16 outputs to the `expected` ones.

    Raises CaseError when they are apart by more than benchbox.agent.ort.compare.HALF_TOLERANCE. Of
    detections only the scores are compared: float16 chooses others among those with like scores.
    """
    import numpy as np

    from benchbox.agent.ort import compare

    largest = 0.0
    for index, one, other in _pairs(expected, actual, kind):
        if compare.are_detections(one):
            one, other = one[..., compare.BOX], other[..., compare.BOX]
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


def unseen(
    expected: Sequence["Array"], actual: Sequence["Array"], tolerance: float = TOLERANCE
) -> Iterator[str]:
    """Yield a sentence for each output whose comparison sees little: detections that tie."""
    from benchbox.agent.ort import compare

    for index, (one, other) in enumerate(zip(expected, actual, strict=True)):
        if compare.are_detections(one):
            rows, few = one.shape[1], compare.matched(one, other, SINGLE * tolerance).unseen
            if few > MOST_UNSEEN * rows:
                yield (
                    f"of output {index + 1} {few} of {rows} detections tie with the last and are "
                    "others than torch's, so that only their scores are known to be right"
                )


def _parts(one: "Array", other: "Array", tolerance: float) -> "Sequence[tuple[Array, Array]]":
    from benchbox.agent.ort import compare

    if not compare.are_detections(one):
        return [(one, other)]
    return compare.matched(one, other, SINGLE * tolerance).pairs


def _relative(apart: "Array", one: "Array") -> "Array":
    """Differences relative to the values and their standard deviation; integers must be equal."""
    import numpy as np

    from benchbox.agent.ort import compare

    if one.dtype.kind != "f":
        return np.where(apart == 0, 0.0, np.inf)
    values = one.astype(np.float64)
    relative: Array = apart / (values.std() + np.abs(values) + compare.FLOOR)
    return relative


def _pairs(
    expected: Sequence["Array"], actual: Sequence["Array"], kind: str
) -> Iterator[tuple[int, "Array", "Array"]]:
    """Yield what is compared with what, with the index of its output."""
    from benchbox.agent.ort import compare

    _require_alike(expected, actual)
    for index, (one, other) in enumerate(zip(expected, actual, strict=True)):
        if kind == DECODED:
            yield index, one[:, : compare.BOX], other[:, : compare.BOX]
            yield index, one[:, compare.BOX :], other[:, compare.BOX :]
        else:
            yield index, one, other


def _require_alike(expected: Sequence["Array"], actual: Sequence["Array"]) -> None:
    if len(expected) != len(actual):
        raise CaseError(f"the module has {len(expected)} outputs, its graph has {len(actual)}")
    for index, (one, other) in enumerate(zip(expected, actual, strict=True)):
        if one.shape != other.shape:
            raise CaseError(f"output {index + 1} is {one.shape} in torch, {other.shape} in ORT")
