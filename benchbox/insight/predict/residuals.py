"""Residuals: what a kernel takes beside what its physics say, learned from alignment and sizes.

Boosted trees by scikit-learn where that is installed, else nearest neighbours by numpy alone. Both
are kept as plain numbers: what is read back from a file is no code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Method = Literal["boosting", "nearest neighbours", "physics"]

LEAST = 80  # examples of a kind, without which nothing is learned of it
LONGEST = 1.0  # of a logarithm that is added
TREES, DEPTH, RATE = 60, 3, 0.1
NEIGHBOURS, NEAR = 9, 0.3


def best_method() -> Method:
    """Boosting where scikit-learn is installed."""
    return "boosting" if find_spec("sklearn") else "nearest neighbours"


@dataclass(frozen=True, slots=True)
class Trees:
    """Boosted trees: of each its nodes' features, thresholds, children and values."""

    start: float
    trees: Sequence[Sequence[Sequence[float]]]

    def of(self, features: Floats) -> Floats:
        """The residual of each row."""
        total = np.full(len(features), self.start)
        rows = np.arange(len(features))
        for feature, threshold, left, right, value in self.trees:
            columns, children = np.array(feature, int), (np.array(left, int), np.array(right, int))
            limits, at = np.array(threshold), np.zeros(len(features), int)
            for _ in range(DEPTH):
                column = columns[at]
                goes_left = features[rows, column] <= limits[at]
                inner = children[0][at] >= 0
                at = np.where(inner, np.where(goes_left, children[0][at], children[1][at]), at)
            total += RATE * np.array(value)[at]
        return total


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Examples, whose residuals count the more the nearer they are."""

    spreads: Sequence[float]
    examples: Sequence[Sequence[float]]
    residuals: Sequence[float]

    def of(self, features: Floats) -> Floats:
        """The residual of each row."""
        known, residuals = np.array(self.examples), np.array(self.residuals)
        result = np.zeros(len(features))
        for row, each in enumerate(features / np.array(self.spreads)):
            distances = np.abs(known - each).sum(1)
            near = np.argsort(distances)[:NEIGHBOURS]
            weights = 1 / (distances[near] + NEAR) ** 2
            result[row] = (weights * residuals[near]).sum() / (weights.sum() + 0.05)
        return result


Residuals = Trees | Neighbours


def learn(features: Floats, residuals: Floats, weights: Floats, method: Method) -> Residuals | None:
    """Learn residuals; None for few examples, or where physics are to stand alone."""
    if len(features) < LEAST or method == "physics":
        return None
    if method == "boosting":
        return _boosted(features, residuals, weights)
    spreads = features.std(0)
    spreads[spreads == 0] = 1e9
    return Neighbours(spreads.tolist(), (features / spreads).tolist(), residuals.tolist())


def _boosted(features: Floats, residuals: Floats, weights: Floats) -> Trees:
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(
        n_estimators=TREES, max_depth=DEPTH, learning_rate=RATE,
        subsample=0.7, min_samples_leaf=6, max_features=0.4, random_state=0,
    )  # fmt: skip
    model.fit(features.astype(np.float32), residuals, sample_weight=weights)
    trees = []
    for (each,) in model.estimators_:
        tree = each.tree_
        children = tree.children_left, tree.children_right
        columns = [np.maximum(tree.feature, 0), tree.threshold, *children, tree.value.ravel()]
        trees.append([column.tolist() for column in columns])
    start = float(model.init_.predict(features[:1].astype(np.float32))[0])
    return Trees(start, trees)


def from_json(plain: dict[str, Any] | None) -> Residuals | None:
    """Residuals as they were written."""
    if plain is None:
        return None
    return Trees(**plain) if "trees" in plain else Neighbours(**plain)
