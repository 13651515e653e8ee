"""How many directions a set of vectors really uses. NumPy only."""

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
