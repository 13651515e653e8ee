"""Many cells at once: how small a p-value must be for few of a date's discoveries to be false."""

from __future__ import annotations

import numpy as np

from sarcast.errors import ShapeError


def benjamini_hochberg(p: np.ndarray, *, fdr: float) -> float:
    """The p-value up to which everything is a discovery; 0 where nothing is.

    Of the discoveries, a share of at most `fdr` is false on average, where p-values are independent or depend
    on each other positively, as those of neighbouring cells do (Benjamini and Hochberg, 1995; Benjamini and
    Yekutieli, 2001).

    Args:
        p: Any shape, in (0, 1].
        fdr: In (0, 1).

    >>> benjamini_hochberg(np.array([0.001, 0.02, 0.03, 0.6]), fdr=0.05)
    0.03
    """
    if not 0 < fdr < 1:
        raise ShapeError(f"need 0 < fdr < 1, got {fdr}")
    ordered = np.sort(np.asarray(p, np.float64).ravel())
    passed = np.flatnonzero(ordered <= fdr * np.arange(1, len(ordered) + 1) / max(1, len(ordered)))
    return float(ordered[passed[-1]]) if len(passed) else 0.0


def benjamini_yekutieli(p: np.ndarray, *, fdr: float) -> float:
    """The same for p-values that depend on each other in any way: `fdr` over 1 + 1/2 + ... + 1/n."""
    return benjamini_hochberg(p, fdr=fdr / max(1.0, float((1 / np.arange(1, np.size(p) + 1)).sum())))
