"""Fit of coefficients that are not negative, so that the logarithms of sums are those of times."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
STEPS = 80
LOWEST, HIGHEST = -16.0, 20.0  # logarithms; the lowest is as good as nothing


def fit_logarithm(
    amounts: Floats, times: Floats, weights: Floats, most: Floats | float = math.inf
) -> Floats:
    """Levenberg's and Marquardt's steps over the logarithms of coefficients of at most `most`."""
    largest = amounts.max(0)
    is_used = largest > 0
    scale = np.where(is_used, largest, 1.0)
    scaled, logs = amounts / scale, np.log(times)
    weights = weights / weights.mean()
    found = np.full(amounts.shape[1], math.log(float(np.median(times)) / amounts.shape[1]))
    highest = np.minimum(HIGHEST, np.log(most * scale))
    found, damping = np.minimum(found, highest), 1e-2

    def off(at: Floats) -> tuple[Floats, Floats, float]:
        sums = scaled @ np.exp(at) + 1e-6
        wrong = np.log(sums) - logs
        return sums, wrong, float((weights * wrong**2).sum())

    sums, wrong, cost = off(found)
    for _ in range(STEPS):
        slopes = scaled * np.exp(found) / sums[:, None]
        weighted = slopes * weights[:, None]
        curved = weighted.T @ slopes
        held = damping * np.diag(np.diag(curved) + 1e-3)
        step = np.linalg.solve(curved + held, -weighted.T @ wrong)
        then = np.clip(found + np.clip(step, -2, 2), LOWEST, highest)
        new_sums, new_wrong, new_cost = off(then)
        if new_cost < cost:
            is_done = cost - new_cost < 1e-6 * cost
            found, sums, wrong, cost = then, new_sums, new_wrong, new_cost
            damping = max(damping / 3, 1e-7)
            if is_done:
                break
        else:
            damping *= 4
            if damping > 1e8:
                break
    return np.asarray(np.exp(found) * is_used / scale)
