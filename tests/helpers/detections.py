"""Detections as networks give them, and the same with two of each score in other places."""

import numpy as np
from numpy.typing import NDArray


def detections(count: int = 40) -> NDArray[np.float32]:
    """Rows of corners, score and class, the best first; each score is there twice."""
    rows = np.random.default_rng(0).uniform(0, 640, (1, count, 6))
    rows[..., 4] = 1 - np.arange(count) // 2 / 100
    rows[..., 5] = np.arange(count) % 7
    return rows.astype(np.float32)


def swapped(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rows, those with one score in each other's place."""
    return rows.reshape(1, -1, 2, 6)[:, :, ::-1].reshape(rows.shape)
