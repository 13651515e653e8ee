"""What an estimate of coherence is worth: its bias, its significance, and the looks behind it.

With d the estimated and g the true coherence of L independent looks of circular Gaussian images, d^2 given a
count k is Beta(k + 1, L - 1), and k is negative binomial with L and g^2. So E(d) is the 3F2 of Touzi et al.
(1999, IEEE TGRS 37(1)) summed term by term, and P(d > x | g = 0) = (1 - x^2)^(L - 1).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import fft
from scipy.special import gammaln, xlog1py, xlogy

from sarcast.errors import DataError, SettingsError, ShapeError

_TABLE = 129
_HIGHEST = 0.99
"""Of the tabulated true coherence; above it mean and spread are taken as linear up to 1."""
_SAMPLE_PX = 1024
"""Side of the part, in the middle of the images, that the speckle's correlation is measured on."""


def expected_coherence(true: np.ndarray | float, looks: float) -> np.ndarray:
    """Mean of the estimate: E(d) for true coherence `true` in [0, 1] and `looks` independent looks (> 1)."""
    coherence, mean, _ = _table(round(_checked(looks), 2))
    return np.interp(true, coherence, mean)


def coherence_spread(true: np.ndarray | float, looks: float) -> np.ndarray:
    """Standard deviation of the estimate, as `expected_coherence`."""
    coherence, _, spread = _table(round(_checked(looks), 2))
    return np.interp(true, coherence, spread)


def unbiased_coherence(estimate: np.ndarray | float, looks: float) -> np.ndarray:
    """True coherence whose mean estimate is `estimate`; 0 where that is under the floor, E(d | 0).

    Correct averages rather than single estimates: the correction of one noisy estimate is clipped at 0.
    """
    coherence, mean, _ = _table(round(_checked(looks), 2))
    return np.interp(estimate, mean, coherence)


def coherence_p_value(estimate: np.ndarray | float, looks: float) -> np.ndarray:
    """Probability of an estimate as high where the true coherence is 0: (1 - d^2)^(L - 1)."""
    squared = np.clip(np.square(np.asarray(estimate, np.float64)), 0, 1)
    return np.asarray(np.exp(xlog1py(_checked(looks) - 1, -squared)))


def looks_of_floor(floor: float) -> float:
    """Looks at which coherence 0 is estimated as `floor` on average: the inverse of E(d | 0) in L."""
    looks = np.geomspace(1.01, 1e4, 2000)
    means = np.exp(gammaln(looks) + gammaln(1.5) - gammaln(looks + 0.5))
    return float(np.interp(-floor, -means, looks))


def effective_looks(
    a: np.ndarray, b: np.ndarray, *, window: tuple[int, int], valid: np.ndarray | None = None
) -> float:
    """Independent looks in a window of two oversampled images: N^2 / sum over pixel pairs of |r_a r_b|.

    r is the complex autocorrelation of the speckle. It is measured after each sample is divided by the root
    mean power around it, so that bright targets and texture do not pass for correlated speckle.

    Args:
        a: complex (y, x).
        b: complex (y, x).
        window: (rows, cols) of the estimator's window.
        valid: bool (y, x); None: everywhere. Samples that are 0 or not finite never count.

    Returns:
        Looks, from 1 to rows * cols.

    Raises:
        ShapeError: Shapes differ.
        DataError: Under four windows of valid pixels.
    """
    if a.shape != b.shape or a.ndim != 2 or (valid is not None and valid.shape != a.shape):
        raise ShapeError(f"expected two images of one shape (y, x), found {a.shape} and {b.shape}")
    middle = tuple(slice(max(0, (n - _SAMPLE_PX) // 2), (n + _SAMPLE_PX) // 2 + 1) for n in a.shape)
    a, b = a[middle], b[middle]
    seen = np.isfinite(a) & np.isfinite(b) & (a != 0) & (b != 0)
    if valid is not None:
        seen &= valid[middle]
    n = window[0] * window[1]
    if seen.sum() < 4 * n:
        raise DataError(f"expected {4 * n} valid pixels to count looks, found {int(seen.sum())}")
    shared = np.abs(_autocorrelation(a, seen, window)) * np.abs(_autocorrelation(b, seen, window))
    rows, cols = (side - np.abs(np.arange(1 - side, side)) for side in window)
    return float(np.clip(n**2 / (rows[:, None] * cols * shared).sum(), 1, n))


def _autocorrelation(image: np.ndarray, seen: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    """Complex correlation at every lag inside a window: (2 rows - 1, 2 cols - 1), 1 at its centre."""
    from scipy.ndimage import uniform_filter

    power = np.where(seen, np.abs(np.where(seen, image, 0)) ** 2, 0).astype(np.float32)
    share = uniform_filter(seen.astype(np.float32), 9)
    level = uniform_filter(power, 9) / np.maximum(share, 1e-6)
    flat = np.where(seen, image, 0) / np.sqrt(np.where(seen & (level > 0), level, 1))
    shape = [fft.next_fast_len(n + side) for n, side in zip(image.shape, window, strict=True)]
    total = fft.ifft2(np.abs(fft.fft2(flat, shape)) ** 2)
    pairs = fft.ifft2(np.abs(fft.fft2(seen.astype(np.float32), shape)) ** 2).real
    lags = np.ix_(*(np.arange(1 - side, side) for side in window))
    mean = total[lags] / np.maximum(pairs[lags], 1)
    return mean / mean[window[0] - 1, window[1] - 1].real


def _checked(looks: float) -> float:
    if not 1 < looks < np.inf:
        raise SettingsError(f"expected more than one look, found {looks}")
    return looks


@lru_cache(maxsize=64)
def _table(looks: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True coherence from 0 to 1, mean of its estimate, and the estimate's standard deviation."""
    coherence = np.tanh(np.linspace(0, np.arctanh(_HIGHEST), _TABLE))
    moments = np.array([_moments(g, looks) for g in coherence])
    mean, spread = moments[:, 0], np.sqrt(np.maximum(moments[:, 1] - moments[:, 0] ** 2, 0))
    return np.append(coherence, 1), np.append(mean, 1), np.append(spread, 0)


def _moments(true: float, looks: float) -> tuple[float, float]:
    """E(d) and E(d^2), summed over the negative binomial count."""
    squared = true**2
    middle, width = looks * squared / (1 - squared), np.sqrt(looks * squared) / (1 - squared)
    k = np.arange(max(0, int(middle - 9 * width)), int(middle + 12 * width) + 40)
    log = gammaln(looks + k) - gammaln(looks) - gammaln(k + 1) + xlog1py(looks, -squared) + xlogy(k, squared)
    weight = np.exp(log)
    weight /= weight.sum()
    mean = np.exp(gammaln(k + 1.5) + gammaln(k + looks) - gammaln(k + looks + 0.5) - gammaln(k + 1))
    return float(weight @ mean), float(weight @ ((k + 1) / (k + looks)))
