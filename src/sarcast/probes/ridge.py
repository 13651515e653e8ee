"""Ridge regression on frozen vectors: min |y - b - x w|^2 + n strength |w|^2, strength by validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from sarcast.probes.draws import folds

STRENGTHS = tuple(10.0**power for power in range(3, -5, -1))
"""From the strongest to the weakest."""
FOLDS = 5


def ridge(
    x: np.ndarray, y: np.ndarray, judge: np.ndarray, *, groups: np.ndarray, rng: Generator
) -> np.ndarray:
    """A number for each vector of `judge`, float64 (vector,).

    The strength is the one of `STRENGTHS` with the least squared error on labelled vectors left out in folds:
    validation is paid for with labels, too.

    Args:
        x: Labelled vectors (vector, dim), standardised.
        y: Their numbers.
        judge: Vectors (vector, dim).
        groups: Of the labelled vectors: those of one are never on both sides of a fold.
        rng: Source of the folds.
    """
    fold = folds(groups, FOLDS, rng=rng)
    error = np.zeros(len(STRENGTHS))
    for one in range(int(fold.max()) + 1):
        kept, out = fold != one, fold == one
        if kept.any():
            guess = ridge_path(x[kept], y[kept], x[out], STRENGTHS)
            error += ((guess - y[out]) ** 2).sum(1)
    return ridge_path(x, y, judge, [STRENGTHS[int(np.argmin(error))]])[0]


def ridge_path(x: np.ndarray, y: np.ndarray, judge: np.ndarray, strengths: Sequence[float]) -> np.ndarray:
    """What ridge regression on (x, y) says of `judge` for each strength, float64 (strength, vector)."""
    x, y, judge = (np.asarray(one, np.float64) for one in (x, y, judge))
    mean, level = x.mean(0), y.mean()
    square, along, right = _axes(x - mean, y - level)
    asked = (judge - mean) @ right
    penalty = len(x) * np.asarray(strengths, np.float64)[:, None]
    return level + (along / (square + penalty)) @ asked.T


def _axes(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues of x'x, its eigenvectors' parts of x'y, and the eigenvectors (dim, axis).

    By singular values, or, much sooner where vectors are many, by x'x itself: the weakest penalty, n / 10^4,
    is far over what that costs in digits.
    """
    if len(x) > 2 * x.shape[1]:
        square, right = np.linalg.eigh(x.T @ x)
        return np.maximum(square, 0), right.T @ (x.T @ y), right
    left, size, right = np.linalg.svd(x, full_matrices=False)
    return size**2, size * (left.T @ y), right.T
