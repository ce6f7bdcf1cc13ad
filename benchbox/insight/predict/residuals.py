"""Residuals: what a kernel takes beside what its physics say, learned from alignment and sizes.

They are a Gaussian process, by numpy alone, and kept as plain numbers: what is read back from a
file is no code.
"""

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST = 30  # examples of a kind, without which nothing is learned of it
LONGEST = 1.5  # of a logarithm that is learned from
REACH, NOISE = 1.0, 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """What each example says of others, the less, the further they are; far from all, nothing."""

    centre: Floats
    spreads: Floats
    examples: Floats
    weights: Floats

    def of(self, features: Floats) -> Floats:
        """The residual of each row, as a logarithm."""
        rows = (features - self.centre) / self.spreads
        return np.asarray(_likeness(rows, self.examples) @ self.weights)

    def to_json(self) -> dict[str, Any]:
        """The residuals as plain values."""
        return {each.name: getattr(self, each.name).tolist() for each in fields(self)}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Self:
        """The residuals that `to_json` wrote."""
        return cls(**{name: np.array(value, float) for name, value in plain.items()})


def learn(features: Floats, found: Floats, weights: Floats) -> Residuals:
    """Learn what was found of examples, the weightier ones more closely."""
    centre, spreads = features.mean(0), features.std(0)
    spreads[spreads < 1e-9] = 1e9  # of no use
    rows = (features - centre) / spreads
    noise = NOISE / np.clip(weights / weights.mean(), 0.05, 20)
    known = np.clip(found, -LONGEST, LONGEST)
    pulls = np.linalg.solve(_likeness(rows, rows) + np.diag(noise), known)
    return Residuals(centre, spreads, rows, np.asarray(pulls, float))


def _likeness(rows: Floats, others: Floats) -> Floats:
    """From 1 for the same to 0, by the distance of each row from each of the others."""
    squares = (rows**2).sum(1)[:, None] + (others**2).sum(1) - 2 * rows @ others.T
    return np.asarray(np.exp(-np.sqrt(np.maximum(0, squares) / rows.shape[1]) / REACH))
