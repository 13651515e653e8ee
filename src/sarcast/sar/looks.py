"""Equivalent number of looks: mean^2 / variance of power over clutter that has no texture of its own."""

from __future__ import annotations

import numpy as np

from sarcast.errors import SettingsError, ShapeError

LEAST_WINDOWS = 30
"""Fewer whole windows than this and the looks are not measurable."""

_EDGES = np.linspace(np.log(1e-4), np.log(1e3), 3001)
_CENTRES = (_EDGES[1:] + _EDGES[:-1]) / 2
_KERNEL = 0.6
_RIVAL = 0.5


def equivalent_looks(power: np.ndarray, valid: np.ndarray | None = None, *, window: int = 9) -> float:
    """Looks of the most homogeneous clutter: the mode of mean^2 / variance over small windows.

    Texture, edges and point targets only lower mean^2 / variance, so the windows of plain clutter form the
    peak at its upper end. The density of log(variance / mean^2) over half-overlapping windows of n pixels is
    estimated with a kernel 0.6 times as wide as gamma speckle of L looks spreads it, sqrt(2 (1 + 1/L) / n);
    of its peaks at least half as high as the highest, the one with most looks is taken. Its bias in the
    logarithm, (0.45 + 4.1 / L) / n by simulation of gamma speckle (L from 0.5 to 30, n from 25 to 225), is
    taken off. Windows that hold an invalid pixel or no variance at all are left out.

    Pixels are taken as independent: resampling that correlates neighbours raises the figure.

    Args:
        power: Linear power (y, x).
        valid: bool (y, x); None means everywhere.
        window: Side of a window, pixels, at least 3.

    Returns:
        Looks; NaN when fewer than `LEAST_WINDOWS` windows can be used.

    Raises:
        ShapeError: `power` is not (y, x), or `valid` has another shape.
        SettingsError: `window` is under 3.
    """
    if power.ndim != 2 or (valid is not None and valid.shape != power.shape):
        found = (power.shape, None if valid is None else valid.shape)
        raise ShapeError(f"expected power and valid of one shape (y, x), found {found}")
    if window < 3:
        raise SettingsError(f"expected a window of at least 3 pixels, found {window}")
    half = window // 2
    spread = np.concatenate(
        [
            _spread(power[oy:, ox:], None if valid is None else valid[oy:, ox:], window)
            for oy in (0, half)
            for ox in (0, half)
        ]
    )
    if len(spread) < LEAST_WINDOWS:
        return float("nan")
    n = window * window
    mode = _mode(np.log(spread), n)
    return float(np.exp(-mode - (0.45 + 4.1 * np.exp(mode)) / n))


def _spread(power: np.ndarray, valid: np.ndarray | None, window: int) -> np.ndarray:
    """Speckle contrast, variance / mean^2, of every whole window that has one."""
    y, x = (side // window for side in power.shape)
    blocks = power[: y * window, : x * window].reshape(y, window, x, window)
    mean = blocks.mean(axis=(1, 3), dtype=np.float64)
    variance = blocks.var(axis=(1, 3), dtype=np.float64, ddof=1)
    usable = (mean > 0) & (variance > 0) & np.isfinite(variance)
    if valid is not None:
        usable &= valid[: y * window, : x * window].reshape(blocks.shape).all(axis=(1, 3))
    contrast: np.ndarray = variance[usable] / mean[usable] ** 2
    return contrast


def _mode(logs: np.ndarray, n: int) -> float:
    """Position of the lowest peak of the density among those at least half as high as the highest."""
    count = np.histogram(logs, _EDGES)[0]
    filled = np.flatnonzero(count)
    width = _KERNEL * np.sqrt(2 * (1 + np.minimum(np.exp(_CENTRES), 3)) / n)
    z = (_CENTRES[:, None] - _CENTRES[None, filled]) / width[:, None]
    density = (np.exp(-0.5 * z * z) @ count[filled]) / width
    inner = density[1:-1]
    peaks = 1 + np.flatnonzero(
        (inner >= density[:-2]) & (inner > density[2:]) & (inner >= _RIVAL * density.max())
    )
    if not len(peaks):
        return float(_CENTRES[density.argmax()])
    at = peaks[0]
    before, here, after = density[at - 1 : at + 2]
    return float(
        _CENTRES[at] + 0.5 * (before - after) / (before - 2 * here + after) * (_EDGES[1] - _EDGES[0])
    )
