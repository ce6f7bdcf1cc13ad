"""Relative RMS error of two outputs, with float32 and float16 tolerances.

Two libraries differ a little even if both are right: sums depend on the order of their terms.
"""

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


def some(array: Array) -> Array:
    """Return a copy of as many values of an output as are compared, in one dimension."""
    flat = array.reshape(-1)
    return flat[:: max(1, -(-flat.size // MOST))].copy()


def share(right: Array, other: Array) -> float:
    """Return the root mean square of a difference over that of what is right.

    Infinite where one of the numbers is, or is none; 1 for any difference to nothing but zeros.
    """
    wanted = right.astype(np.float64)
    apart = np.abs(wanted - other.astype(np.float64))
    if not apart.size:
        return 0.0
    if not np.isfinite(apart).all():
        return float("inf")
    size = float(np.sqrt(np.square(wanted).mean()))
    return float(np.sqrt(np.square(apart).mean())) / size if size else float(apart.max() > 0)
