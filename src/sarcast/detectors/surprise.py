"""How seldom history scored as high, in powers of ten: puts scores of different units on one scale.

The bulk of history's own scores is used as it is; above its 99 % point the tail is taken as exponential, so
that a higher score is always a larger surprise. Calibrated p-values are made later, of the combined score
(decide/calibrate.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_BULK = 500
_TAIL = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class Surprise:
    """-log10 of the share of history's scores that were as high."""

    quantiles: np.ndarray
    """float64, ascending: scores at `_BULK` levels from 0 to 1 - tail."""
    excess: float
    """Mean of history's scores above the last quantile, less that quantile; positive."""

    @classmethod
    def learn(cls, scores: np.ndarray) -> Surprise:
        """From history's own scores, any shape, finite; with none, any score above 0 is a surprise."""
        seen = np.asarray(scores, np.float64).ravel()
        if not len(seen):
            return cls(quantiles=np.zeros(_BULK), excess=1.0)
        quantiles = np.quantile(seen, np.linspace(0, 1 - _TAIL, _BULK))
        over = seen[seen > quantiles[-1]] - quantiles[-1]
        return cls(quantiles=quantiles, excess=max(float(over.mean()) if len(over) else 0.0, 1e-6))

    def of(self, scores: np.ndarray) -> np.ndarray:
        """float32, shape of `scores`, 0 or more."""
        levels = np.linspace(0, 1 - _TAIL, _BULK)
        start = self.quantiles[-1]
        bulk = -np.log10(1 - np.interp(scores, self.quantiles, levels))
        tail = -np.log10(_TAIL) + np.maximum(scores - start, 0) / self.excess * np.log10(np.e)
        return np.where(scores > start, tail, bulk).astype(np.float32)
