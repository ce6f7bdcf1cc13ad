"""Fit of latencies: how much of what they differ by follows from counts on paper."""

from collections.abc import Sequence

import numpy as np

SPARE = 3  # cases beyond the coefficients, without which any fit is good


def r_squared(counts: Sequence[Sequence[float]], latencies_s: Sequence[float]) -> float | None:
    """R2 of the logarithm of latencies by those of their counts, a row for each case.

    None where there are too few cases, a count is zero, or latencies do not differ.
    """
    rows = np.array(counts, float)
    times = np.array(latencies_s, float)
    if len(rows) < rows.shape[1] + 1 + SPARE or not (rows > 0).all() or not (times > 0).all():
        return None
    logs = np.log(times)
    design = np.column_stack([np.log(rows), np.ones(len(rows))])
    spread = float(((logs - logs.mean()) ** 2).sum())
    if spread < 1e-12:
        return None
    coefficients = np.linalg.lstsq(design, logs, rcond=None)[0]
    return 1 - float(((logs - design @ coefficients) ** 2).sum()) / spread
