"""How many directions a set of vectors really uses, and how alike they point. NumPy only."""

from __future__ import annotations

import numpy as np


def effective_rank(vectors: np.ndarray) -> float:
    """Exponential of the entropy of singular values of centred `vectors` (sample, dim); 1 if all are equal.

    RankMe (Garrido et al., 2023, arXiv 2210.02885), centred: a vector common to all counts for nothing.
    """
    centred = np.asarray(vectors, np.float64)
    centred = centred - centred.mean(0)
    values = np.linalg.svd(centred, compute_uv=False)
    total = values.sum()
    if not total > 0:
        return 1.0
    share = values[values > 0] / total
    return float(np.exp(-(share * np.log(share)).sum()))


def mean_cosine(vectors: np.ndarray) -> float:
    """Mean cosine of every vector (sample, dim) with every other, not centred: 1 if all point one way.

    Vectors of length 0 count as at right angles to all; of fewer than two vectors it is 1.
    """
    every = np.asarray(vectors, np.float64)
    unit = every / np.maximum(np.linalg.norm(every, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    n, own = len(unit), float(np.square(unit).sum())
    return (float(np.square(unit.sum(0)).sum()) - own) / (n * (n - 1)) if n > 1 else 1.0
