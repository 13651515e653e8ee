"""Vectors before a probe: every dim with mean 0 and spread 1 over the train role. No label is used."""

from __future__ import annotations

import numpy as np

SMALLEST = 1e-6


def standardised(
    learn: np.ndarray, judge: np.ndarray, *, together: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """(vector, dim) of both roles, by mean and spread of the first; `together`: one spread for all dims.

    The latter is for dims of one unit, such as pixels, of which dark and even ones tell little.
    """
    mean, spread = learn.mean(0), learn.std(0) + SMALLEST
    if together:
        spread = np.sqrt(np.mean(spread**2))
    return (learn - mean) / spread, (judge - mean) / spread
