"""How two series go together: Pearson's and Spearman's correlation, and the share a category explains."""

from __future__ import annotations

import numpy as np


def pearson(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's r of two series (n,); NaN when one of them is constant."""
    a, b = (np.asarray(one, np.float64) - np.mean(one, dtype=np.float64) for one in (first, second))
    scale = np.sqrt(np.square(a).sum() * np.square(b).sum())
    return float(np.clip((a * b).sum() / scale, -1, 1)) if scale > 0 else float("nan")


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rho of two series (n,), equal values sharing their mean rank; NaN when one is constant."""
    return pearson(ranks(first), ranks(second))


def eta_squared(values: np.ndarray, groups: np.ndarray) -> float:
    """Share of the variance of values (n,) between groups (n,); NaN with one group or no variance."""
    _, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    centred = np.asarray(values, np.float64) - np.mean(values, dtype=np.float64)
    total = np.square(centred).sum()
    if len(counts) < 2 or not total > 0:
        return float("nan")
    sums = np.bincount(index, weights=centred)
    return float((np.square(sums) / counts).sum() / total)


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, equal values sharing their mean rank: (n,) -> float64 (n,)."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[index])
