"""Gradients by ratio: logs of the ratio of mean brightness on two sides of a pixel.

Speckle multiplies, so a ratio of two means has the same false-alarm rate in dark and in bright clutter
(Touzi et al., 1988). The windows and the logarithm are those SAR-JEPA learns to predict (Li et al., 2024):
at radius k the left half holds columns -k..0 and the right half columns 0..k of a (2k+1) x (2k+1) window,
so that the centre line is in both; gx = ln(left / right), gy = ln(top / bottom), magnitude
sqrt(gx^2 + gy^2). One float64 integral image serves every radius; float32 would lose dark areas.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sarcast.errors import SettingsError, ShapeError

RADII = (5, 9, 13, 17)
"""The four radii of SAR-JEPA, pixels."""


def ratio_gradient(image: np.ndarray, *, radius: int, offset: float = 1e-2) -> np.ndarray:
    """Magnitude of the ratio gradient at one radius.

    Args:
        image: (..., y, x), not negative (amplitude, power or an image in [0, 1]); mirrored at its borders.
        radius: Half width of the window, pixels.
        offset: Added to every pixel first, in the image's unit; keeps the ratio finite.

    Returns:
        float32 (..., y, x), natural-log units, at least 0.

    Raises:
        ShapeError: The radius is larger than the image side - 1.
        SettingsError: A radius under 1, or an offset that is not positive.
    """
    return ratio_gradients(image, radii=(radius,), offset=offset)[0][..., 0, :, :]


def ratio_gradients(
    image: np.ndarray,
    *,
    radii: Sequence[int] = RADII,
    offset: float = 1e-2,
    valid: np.ndarray | None = None,
    share: float = 0.5,
) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes of the ratio gradient at several radii, over valid pixels only.

    Each half's mean is taken over its valid pixels; where all are valid this is the plain formula.

    Args:
        image: (..., y, x), as in `ratio_gradient`.
        radii: Half widths of the windows, pixels.
        offset: Added to every pixel first.
        valid: bool, shape of `image`; None means everywhere.
        share: A result is valid when its own pixel is and each of the four halves holds at least this share
            of valid pixels, in (0, 1].

    Returns:
        (magnitude, valid): float32 and bool (..., radius, y, x); magnitude is 0 where not valid.

    Raises:
        ShapeError: Shapes differ, or a radius is larger than the image side - 1.
        SettingsError: A radius under 1, an offset that is not positive, a share out of range.
    """
    _check(image, radii, offset, valid, share)
    shape = (*image.shape[:-2], len(radii), *image.shape[-2:])
    magnitude = np.zeros(shape, np.float32)
    seen = np.ones(shape, bool)
    for index in np.ndindex(image.shape[:-2]):
        summed = _Summed(image[index], max(radii), offset, None if valid is None else valid[index])
        for i, radius in enumerate(radii):
            gy, gx, ok = summed.components(radius, share)
            np.multiply(np.sqrt(gy * gy + gx * gx), ok, out=magnitude[(*index, i)], casting="same_kind")
            seen[(*index, i)] = ok
    return magnitude, seen


def ratio_components(
    image: np.ndarray,
    *,
    radius: int,
    offset: float = 1e-2,
    valid: np.ndarray | None = None,
    share: float = 0.5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The signed gradients at one radius: (gy, gx, valid), each (..., y, x).

    gy = ln(top / bottom), gx = ln(left / right), float32, 0 where not valid: positive where it is brighter
    towards smaller rows, or columns. Arguments and errors as in `ratio_gradients`.
    """
    _check(image, (radius,), offset, valid, share)
    gy, gx = np.zeros(image.shape, np.float32), np.zeros(image.shape, np.float32)
    seen = np.ones(image.shape, bool)
    for index in np.ndindex(image.shape[:-2]):
        summed = _Summed(image[index], radius, offset, None if valid is None else valid[index])
        y, x, ok = summed.components(radius, share)
        gy[index], gx[index], seen[index] = y * ok, x * ok, ok
    return gy, gx, seen


class _Summed:
    """Integral images of one padded image (and of its validity), from which every half window is read."""

    def __init__(self, image: np.ndarray, pad: int, offset: float, valid: np.ndarray | None) -> None:
        self.pad = pad
        self.valid = None if valid is None or valid.all() else valid
        shifted = image.astype(np.float64) + offset
        if self.valid is None:
            self.values, self.counts = _integral(shifted, pad), None
        else:
            self.values = _integral(np.where(self.valid, shifted, 0), pad)
            self.counts = _integral(self.valid.astype(np.float64), pad)

    def components(self, radius: int, share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray | bool]:
        """gy, gx float64 (y, x) and where they are valid (True: everywhere)."""
        top, bottom, left, right = _halves(self.values, radius, self.pad)
        if self.counts is None or self.valid is None:
            return np.log(top / bottom), np.log(left / right), True
        counts = _halves(self.counts, radius, self.pad)
        enough = share * (radius + 1) * (2 * radius + 1)
        ok = self.valid & np.logical_and.reduce([n >= enough - 1e-9 for n in counts])
        means = [
            np.divide(s, n, out=np.ones_like(s), where=ok)
            for s, n in zip((top, bottom, left, right), counts, strict=True)
        ]
        return np.log(means[0] / means[1]), np.log(means[2] / means[3]), ok


def _integral(image: np.ndarray, pad: int) -> np.ndarray:
    """Sums over all pixels above and to the left, of the image mirrored by `pad`; first row and column 0."""
    y, x = image.shape
    total = np.zeros((y + 2 * pad + 1, x + 2 * pad + 1))
    padded = np.pad(image, pad, mode="reflect")
    np.cumsum(padded, axis=0, out=total[1:, 1:])
    np.cumsum(total[1:, 1:], axis=1, out=total[1:, 1:])
    return total


def _halves(
    total: np.ndarray, radius: int, pad: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sums over the top, bottom, left and right half of the window of every pixel, centre line in both."""
    y, x = (side - 2 * pad - 1 for side in total.shape)
    low, here, high = pad - radius, pad, pad + radius + 1
    wide = total[:, high : high + x] - total[:, low : low + x]
    tall = total[high : high + y] - total[low : low + y]
    top = wide[here + 1 : here + 1 + y] - wide[low : low + y]
    bottom = wide[high : high + y] - wide[here : here + y]
    left = tall[:, here + 1 : here + 1 + x] - tall[:, low : low + x]
    right = tall[:, high : high + x] - tall[:, here : here + x]
    return top, bottom, left, right


def _check(
    image: np.ndarray, radii: Sequence[int], offset: float, valid: np.ndarray | None, share: float
) -> None:
    if image.ndim < 2 or (valid is not None and valid.shape != image.shape):
        found = (image.shape, None if valid is None else valid.shape)
        raise ShapeError(f"expected image and valid of one shape (..., y, x), found {found}")
    if not radii or min(radii) < 1 or not offset > 0 or not 0 < share <= 1:
        raise SettingsError(
            f"need radii >= 1, offset > 0 and 0 < share <= 1, got {tuple(radii)}, {offset}, {share}"
        )
    if max(radii) > min(image.shape[-2:]) - 1:
        raise ShapeError(
            f"expected a radius of at most the image side - 1, found radius {max(radii)}, "
            f"image {tuple(image.shape[-2:])}"
        )
