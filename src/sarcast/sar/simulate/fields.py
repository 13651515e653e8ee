"""Random fields: smooth Gaussian fields, and textures with a gamma marginal made from them."""

from __future__ import annotations

import numpy as np
from scipy import ndimage, special

_NORMAL = np.linspace(-4.5, 4.5, 721)


def smooth_field(shape: tuple[int, int], *, scale_px: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian random field of zero mean and unit variance, float32 (y, x).

    Args:
        shape: (rows, cols).
        scale_px: Standard deviation of the smoothing kernel, pixels; the field is drawn on a coarser grid
            when that is large.
        rng: Source of randomness.
    """
    step = max(1, int(scale_px // 3))
    margin = 2
    coarse = tuple(int(np.ceil(side / step)) + 2 * margin + 1 for side in shape)
    field = rng.standard_normal(coarse, dtype=np.float32)
    if scale_px > 0:
        field = ndimage.gaussian_filter(field, scale_px / step, mode="wrap")
    if step > 1:
        rows, cols = (np.arange(side, dtype=np.float32) / step + margin for side in shape)
        field = ndimage.map_coordinates(field, np.meshgrid(rows, cols, indexing="ij"), order=3)
    else:
        field = field[margin : margin + shape[0], margin : margin + shape[1]]
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-6), np.float32)


def gamma_texture(
    shape: tuple[int, int], *, variation: float, scale_px: float, rng: np.random.Generator
) -> np.ndarray:
    """Positive multiplicative texture of unit mean with a gamma marginal, float32 (y, x).

    The marginal is reached from a Gaussian field through its distribution function, so the spatial
    correlation is about that of the Gaussian field.

    Args:
        shape: (rows, cols).
        variation: Coefficient of variation (standard deviation over mean); 0 gives ones.
        scale_px: Correlation scale, pixels (0: white).
        rng: Source of randomness.
    """
    if variation <= 0:
        return np.ones(shape, np.float32)
    order = 1 / variation**2
    quantiles = special.gammaincinv(order, special.ndtr(_NORMAL)) / order
    normal = smooth_field(shape, scale_px=scale_px, rng=rng)
    return np.asarray(np.interp(normal, _NORMAL, quantiles), np.float32)


def rotated(shape: tuple[int, int], angle_rad: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (along, across) in pixels, float32 (y, x), about the centre, turned by `angle_rad`."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    y, x = y - shape[0] / 2, x - shape[1] / 2
    c, s = np.float32(np.cos(angle_rad)), np.float32(np.sin(angle_rad))
    return c * x + s * y, c * y - s * x


def highest(field: np.ndarray, share: float, *, among: np.ndarray | None = None) -> np.ndarray:
    """True at the `share` (0 to 1) of pixels where `field` is highest, of those in `among` (y, x)."""
    if among is None:
        among = np.ones(field.shape, bool)
    wanted = round(share * field.size)
    if wanted <= 0 or not among.any():
        return np.zeros(field.shape, bool)
    values = field[among]
    wanted = min(wanted, values.size)
    limit = np.partition(values, values.size - wanted)[values.size - wanted]
    return np.asarray(among & (field >= limit))
