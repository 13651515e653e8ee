"""Learned vectors are wide and repeat themselves: keep the directions in which places differ most.

A root mean square over hundreds of nearly equal features weighs what is repeated, not what matters. The
directions are the principal components of history, found on the site itself (docs/log.md has the figures).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sarcast.values import Features

WIDE = 32
"""More features than this are reduced unless a number of directions is given."""
KEPT = 16
"""Directions kept then."""
_ROWS = 65_536


def directions(features: Features, fit: np.ndarray, *, wanted: int | None) -> np.ndarray:
    """Principal components of the valid vectors of history, over all cells and dates.

    Args:
        features: Of any width.
        fit: bool (time,): history.
        wanted: How many; None: `KEPT` where there are more than `WIDE` features, else no reduction.

    Returns:
        float32 (dim, direction), orthonormal columns, the largest variance first and every column's largest
        entry positive; (dim, 0) for no reduction.
    """
    dim = features.values.shape[-1]
    count = (KEPT if dim > WIDE else 0) if wanted is None else wanted
    if not 0 < count < dim:
        return np.zeros((dim, 0), np.float32)
    total, square, seen = np.zeros(dim), np.zeros((dim, dim)), 0
    for t in np.flatnonzero(fit):
        vectors = features.values[t][features.valid[t]]
        for first in range(0, len(vectors), _ROWS):
            some = vectors[first : first + _ROWS].astype(np.float64)
            total += some.sum(0)
            square += some.T @ some
            seen += len(some)
    mean = total / max(seen, 1)
    _, vectors = np.linalg.eigh(square / max(seen, 1) - np.outer(mean, mean))
    kept = vectors[:, ::-1][:, :count]
    sign = np.sign(kept[np.abs(kept).argmax(0), np.arange(count)])
    return (kept * np.where(sign == 0, 1, sign)).astype(np.float32)


def along(features: Features, matrix: np.ndarray) -> Features:
    """The features along the directions of `matrix` (dim, direction); as they are where it has none."""
    if not matrix.shape[1]:
        return features
    values = np.where(features.valid[..., None], features.values, 0).astype(np.float32) @ matrix
    names = tuple(f"direction_{i}" for i in range(matrix.shape[1]))
    return replace(features, values=values, names=names)
