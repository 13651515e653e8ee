"""The plain pixel statistics every map is compared with: log-ratio and z-score in dB, maximum over bands.

Mean and standard deviation of a pixel's own history, in dB, after whatever speckle filter the caller used;
nothing is centred on alike cells, at most on the frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

from sarcast.errors import DataError, ShapeError

_LEAST = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelHistory:
    """Sums over history's dates, so that any one date can be left out."""

    level: np.ndarray
    """float64 (time, band, y, x), dB; 0 where not valid."""
    valid: np.ndarray
    """bool (time, y, x)."""
    pooled: float
    """Share of the variance that is its local mean; the rest is the pixel's own."""
    window: int
    """Side of the window of that mean, pixels."""
    frame: bool = False
    """Every date, history's too, is first freed of what the whole frame did: the median over pixels of its
    deviation from the pixels' means, band by band."""

    def __post_init__(self) -> None:
        t, _, *image = self.level.shape
        if self.valid.shape != (t, *image):
            raise ShapeError(f"expected valid (time, y, x) of {self.level.shape}, found {self.valid.shape}")
        if t < _LEAST + 1:
            raise DataError(f"expected at least {_LEAST + 1} dates of history, found {t}")

    def z_score(
        self, level: np.ndarray, valid: np.ndarray, *, without: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """|level - mean| / standard deviation, the largest of the bands.

        Args:
            level: (band, y, x) of the date, dB.
            valid: bool (y, x) of the date.
            without: A date of history that is left out of mean and deviation.

        Returns:
            float64 (y, x), 0 where it cannot be told, and bool (y, x) where it can.
        """
        mean, variance, known = self._moments(without)
        seen = known & valid
        level = self._freed(level, mean, seen)
        own = variance
        if self.pooled:
            weight = uniform_filter(known.astype(float), self.window)
            local = uniform_filter(variance * known, (0, self.window, self.window))
            local = np.divide(local, weight, out=np.zeros_like(local), where=weight > 1e-9)
            own = self.pooled * local + (1 - self.pooled) * variance
        distance = np.abs(level - mean) / np.sqrt(np.maximum(own, 1e-12))
        return np.where(seen, distance.max(0), 0), seen

    def log_ratio(
        self, level: np.ndarray, valid: np.ndarray, *, without: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """|level - mean| in dB, the largest of the bands. Arguments and result as `z_score`."""
        mean, _, known = self._moments(without)
        seen = known & valid
        level = self._freed(level, mean, seen)
        return np.where(seen, np.abs(level - mean).max(0), 0), seen

    def _moments(self, without: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        kept = np.arange(len(self.level)) != (-1 if without is None else without)
        weight = self.valid[kept][:, None]
        count = weight.sum(0)
        level = self.level[kept]
        mean = (level * weight).sum(0) / np.maximum(count, 1)
        if self.frame:
            pairs = zip(level, self.valid[kept], strict=True)
            level = np.stack([self._freed(one, mean, seen) for one, seen in pairs])
            mean = (level * weight).sum(0) / np.maximum(count, 1)
        square = ((level - mean) ** 2 * weight).sum(0)
        return mean, square / np.maximum(count - 1, 1), count[0] >= _LEAST

    def _freed(self, level: np.ndarray, mean: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """The level (band, y, x) less the frame's median deviation, where that is asked for."""
        if not self.frame or not seen.any():
            return level
        common: np.ndarray = np.median((level - mean)[:, seen], axis=1)
        return level - common[:, None, None]
