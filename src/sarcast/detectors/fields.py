"""Fields over a map of cells that know which cells were seen: Gaussian averages, roughness, size."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

_FLOOR = 0.05


def averaged(
    values: np.ndarray, seen: np.ndarray, shape: tuple[int, int], *, sigma: float, unit: bool = True
) -> np.ndarray:
    """Gaussian average over the seen cells.

    Args:
        values: (cell, dim).
        seen: bool (cell,): cells that count.
        shape: (row, col) of the cells.
        sigma: Width of the Gaussian, cells; 0 leaves the values as they are.
        unit: Divide by the root of the sum of squared weights, so that independent values of unit variance
            stay so, also beside gaps and borders; else by the sum of weights, a mean.

    Returns:
        float32 (row, col, dim); 0 where not seen.
    """
    image = np.where(seen[:, None], values, 0).astype(np.float32).reshape(*shape, -1)
    if not sigma:
        return image
    known = seen.reshape(shape).astype(np.float32)
    total = gaussian_filter(image, (sigma, sigma, 0), mode="constant")
    if unit:
        weight = np.sqrt(gaussian_filter(known, sigma / np.sqrt(2), mode="constant")) / (
            2 * np.sqrt(np.pi) * sigma
        )
    else:
        weight = gaussian_filter(known, sigma, mode="constant")
    mean = total / np.maximum(weight, _FLOOR * float(weight.max(initial=0)) + 1e-12)[..., None]
    return np.where(seen.reshape(shape)[..., None], mean, 0).astype(np.float32)


def roughness(z: np.ndarray, seen: np.ndarray, shape: tuple[int, int], *, sigma: float) -> np.ndarray:
    """Logarithm of the squared distance from the local mean, float32 (cell, dim).

    Args:
        z: (cell, dim) standardised deviations.
        seen: bool (cell,).
        shape: (row, col) of the cells.
        sigma: Width of the local mean, cells; 0 takes the distance from 0.
    """
    left = z
    if sigma:
        left = z - averaged(z, seen, shape, sigma=sigma, unit=False).reshape(z.shape)
    return np.log(left**2 + 0.05).astype(np.float32)


def size(field: np.ndarray) -> np.ndarray:
    """Root mean square over the last axis."""
    return np.sqrt((field**2).mean(-1))
