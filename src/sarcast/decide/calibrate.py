"""From scores to p-values: how often would history itself have scored as high?

The bulk of history's own (left-out) residual scores is used as it is; above its 95 % point a generalised
Pareto tail is fitted by probability-weighted moments (Hosking and Wallis, 1987), its shape shrunk towards an
exponential tail as if 100 exceedances of that shape had been seen before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sarcast.errors import DataError, ShapeError

_BULK = 1000
_PRIOR = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class Null:
    """The distribution of scores when nothing happened."""

    quantiles: np.ndarray
    """float64, ascending: scores at `levels`."""
    levels: np.ndarray
    """float64 in [0, 1): cumulative probability of `quantiles`."""
    threshold: float
    """Score where the fitted tail begins."""
    tail: float
    """Share of history above `threshold`."""
    scale: float
    """Of the generalised Pareto tail."""
    shape: float
    """Of the generalised Pareto tail; 0 is exponential."""
    count: int
    """How many residual scores it was learned from."""

    def __post_init__(self) -> None:
        if not (self.scale > 0 and 0 < self.tail < 1):
            raise ShapeError(f"Null needs scale > 0 and 0 < tail < 1, got {self.scale} and {self.tail}")

    def p_value(self, scores: np.ndarray) -> np.ndarray:
        """float64, shape of `scores`: chance of a score at least as high, in (0, 1]; never exactly 0."""
        scores = np.asarray(scores, np.float64)
        bulk = 1 - np.interp(scores, self.quantiles, self.levels)
        over = np.maximum(scores - self.threshold, 0) / self.scale
        if abs(self.shape) < 1e-6:
            survival = np.exp(-over)
        else:
            survival = np.maximum(1 + self.shape * over, 1e-12) ** (-1 / self.shape)
        return np.clip(np.where(scores > self.threshold, self.tail * survival, bulk), 1e-30, 1.0)

    def score_at(self, p: float) -> float:
        """The score whose p-value is `p`."""
        if p >= self.tail:
            return float(np.interp(1 - p, self.levels, self.quantiles))
        ratio = p / self.tail
        if abs(self.shape) < 1e-6:
            return self.threshold - self.scale * float(np.log(ratio))
        return self.threshold + self.scale * (ratio**-self.shape - 1) / self.shape


def learn_null(residuals: np.ndarray, *, tail: float = 0.05) -> Null:
    """The null distribution from history's own scores.

    Args:
        residuals: Any shape, finite: scores of history by what left it out.
        tail: Share of history the tail is fitted to.

    Raises:
        DataError: Fewer than 100 residuals, or all alike, or all of the highest ones.
    """
    seen = np.sort(np.asarray(residuals, np.float64).ravel())
    if len(seen) < 100:
        raise DataError(f"expected at least 100 scores of history to calibrate on, found {len(seen)}")
    if seen[0] == seen[-1]:
        raise DataError(f"expected history's scores to differ, found {len(seen)} times {seen[0]:.3g}")
    levels = np.linspace(0, 1 - tail, min(_BULK, len(seen)))
    quantiles = np.quantile(seen, levels)
    start = float(quantiles[-1])
    if not (seen > start).any():
        raise DataError(
            f"expected history's highest scores to differ, found {(seen == start).sum()} times {start:.3g}"
        )
    scale, shape = _pareto(seen[seen > start] - start)
    return Null(
        quantiles=quantiles,
        levels=levels,
        threshold=start,
        tail=float(1 - levels[-1]),
        scale=scale,
        shape=shape,
        count=len(seen),
    )


def _pareto(excess: np.ndarray) -> tuple[float, float]:
    """(scale, shape) of a generalised Pareto distribution by weighted moments, shape shrunk."""
    n = len(excess)
    mean = float(excess.mean())
    rank = (np.arange(1, n + 1) - 0.35) / n
    weighted = float(((1 - rank) * np.sort(excess)).mean())
    raw = 2 - mean / max(mean - 2 * weighted, 1e-12) if mean > 2 * weighted else 0.0
    shape = float(np.clip(raw * n / (n + _PRIOR), -0.4, 0.4))
    return max(mean * (1 - shape), 1e-12), shape
