"""Speckle: unit-mean gamma noise of L looks, and K-distributed clutter (gamma times gamma)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def speckle(
    shape: tuple[int, ...], *, looks: float, rng: np.random.Generator, oversampling: float = 1.0
) -> np.ndarray:
    """Multiplicative speckle of an intensity image: unit mean, variance 1 / looks, float32.

    Args:
        shape: Last two axes (y, x).
        looks: Equivalent number of looks, > 0.
        rng: Source of randomness.
        oversampling: Pixels per resolution cell. At 1 pixels are independent and the marginal is exactly
            gamma; over 1, looks are summed from low-passed complex noise, so neighbours correlate (looks are
            rounded to a whole number then).
    """
    if oversampling <= 1:
        return rng.standard_gamma(looks, size=shape, dtype=np.float32) / np.float32(looks)
    count = max(1, round(looks))
    total = np.zeros(shape, np.float32)
    sigma = (0,) * (len(shape) - 2) + (0.42 * oversampling,) * 2
    for _ in range(2 * count):
        part = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap")
        total += part**2
    impulse = np.zeros(shape[-2:], np.float32)
    impulse[shape[-2] // 2, shape[-1] // 2] = 1
    energy = float((ndimage.gaussian_filter(impulse, sigma[-2:], mode="wrap") ** 2).sum())
    return total / np.float32(2 * count * energy)


def point_speckle(
    noise: np.ndarray, share: np.ndarray, *, looks: float, rng: np.random.Generator
) -> np.ndarray:
    """`noise` redrawn where a steady point makes up `share` of the power: a Rician mixture's variance.

    The intensity of a steady scatterer in speckle has the variance (1 - share**2) / looks of the total,
    kept here by a gamma of that many looks.

    Args:
        noise: Unit-mean speckle of `looks` looks.
        share: Power of points over total power, 0 to 1, of the same shape.
        looks: Equivalent number of looks.
        rng: Source of randomness.
    """
    where = share > 0.1
    order = looks / np.maximum(1 - share[where].astype(np.float64) ** 2, 1e-3)
    noise = noise.copy()
    noise[where] = rng.standard_gamma(order) / order
    return noise


def k_clutter(shape: tuple[int, ...], *, looks: float, order: float, rng: np.random.Generator) -> np.ndarray:
    """K-distributed intensity of unit mean: variance (1 + 1/order)(1 + 1/looks) - 1, float32.

    Args:
        shape: Any shape.
        looks: Equivalent number of looks of the speckle.
        order: Shape of the gamma texture; infinite order is pure speckle.
        rng: Source of randomness.
    """
    texture = rng.standard_gamma(order, size=shape, dtype=np.float32) / np.float32(order)
    return np.asarray(texture * speckle(shape, looks=looks, rng=rng))
