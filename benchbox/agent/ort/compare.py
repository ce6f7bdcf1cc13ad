"""Relative RMS error of two outputs, with float32 and float16 tolerances.

Two libraries differ a little even if both are right: sums depend on the order of their terms. The
detections of a network are compared as sets: two with like scores may swap places.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]

# Of an output's root mean square, for what computes in float32: two libraries are apart by less
# than a thousandth, what has nothing to do with the right output by 100% and more.
TOLERANCE = 0.01
# For what computes in float16, or rounds its factors to as many bits. Each value is rounded by 5e-4
# at most, which 131 graphs of benchbox with random weights let grow to 0.2 to 8%, most of all
# coordinate attention.
HALF_TOLERANCE = 0.2
MOST = 1 << 24  # values of an output that are compared, evenly spread

# A detection: the corners of a box, its score, its class. Graphs that end in them give the best.
BOX = 4
COLUMNS = 6
MOST_ROWS = 1000
FLOOR = 1e-6  # below which a value may be what is left of larger ones


@dataclass(frozen=True, slots=True)
class Matched:
    """Detections in pairs of arrays to be compared; of `unseen` rows only the score is."""

    pairs: list[tuple[Array, Array]]
    unseen: int


def some(array: Array) -> Array:
    """Return a copy of as many values of an output as are compared, in one dimension.

    Detections are copied as they are.
    """
    if are_detections(array):
        return array.copy()
    flat = array.reshape(-1)
    return flat[:: max(1, -(-flat.size // MOST))].copy()


def share(right: Array, other: Array, *, rounded: bool = False) -> float:
    """Return the root mean square of a difference over that of what is right.

    Infinite where one of the numbers is, or is none; 1 for any difference to nothing but zeros. Of
    detections it is the largest of boxes, scores and classes; where the other is `rounded` to
    fewer bits only scores are compared, for it chooses others among those with like scores.
    """
    other = other.reshape(right.shape)
    if not are_detections(right):
        return _share(right, other)
    if rounded:
        return _share(right[..., BOX], other[..., BOX])
    return max(_share(*pair) for pair in matched(right, other, TOLERANCE).pairs)


def are_detections(output: Array) -> bool:
    """Whether an output, (images, rows, 6), is rows of box, score and class, the best first."""
    if output.ndim != 3 or output.shape[2] != COLUMNS or output.dtype.kind != "f":
        return False
    return 1 < output.shape[1] <= MOST_ROWS and bool((np.diff(output[..., BOX], axis=1) <= 0).all())


def matched(one: Array, other: Array, tolerance: float) -> Matched:
    """Compare detections: scores by their rank, boxes and classes with the nearest, both ways."""
    pairs, unseen = [(one[..., BOX], other[..., BOX])], 0
    for a, b in zip(one, other, strict=True):
        for rows, others in ((a, b), (b, a)):
            own, like = _nearest(rows, others, tolerance)
            pairs += [(own[:, :BOX], like[:, :BOX]), (own[:, BOX + 1], like[:, BOX + 1])]
            unseen = max(unseen, len(rows) - len(own))
    return Matched(pairs, unseen)


def _nearest(rows: Array, others: Array, tolerance: float) -> tuple[Array, Array]:
    """The rows, and for each the nearest of the others.

    Rows that are not there are left out where their score ties with the last of the others: any of
    those that tie may be there.
    """
    wide, away = rows.astype(np.float64), others.astype(np.float64)
    apart = np.abs(wide[:, None] - away[None]) / (wide.std(0) + np.abs(wide)[:, None] + FLOOR)
    distance = apart.max(2)
    has_tie = (wide[:, BOX] <= away[-1, BOX]) | (apart[:, -1, BOX] <= tolerance)
    kept = ~(has_tie & (distance.min(1) > tolerance))
    return rows[kept], others[distance.argmin(1)][kept]


def _share(right: Array, other: Array) -> float:
    wanted = right.astype(np.float64)
    apart = np.abs(wanted - other.astype(np.float64))
    if not apart.size:
        return 0.0
    if not np.isfinite(apart).all():
        return float("inf")
    size = float(np.sqrt(np.square(wanted).mean()))
    return float(np.sqrt(np.square(apart).mean())) / size if size else float(apart.max() > 0)
