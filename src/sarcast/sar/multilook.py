"""Fewer, better pixels: the mean power of blocks of pixels."""

from __future__ import annotations

import numpy as np

from sarcast.errors import SettingsError, ShapeError


def multilook(
    power: np.ndarray, valid: np.ndarray, *, factor: tuple[int, int], share: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Mean power of whole blocks of `factor` pixels, over their valid pixels only.

    Blocks start at the first row and column; what is left over at the far edges and does not fill a block is
    dropped, so that every output pixel stands for the same ground area.

    Args:
        power: Linear power (..., y, x).
        valid: bool, same shape.
        factor: Block size (rows, cols), each at least 1.
        share: A block is valid when at least this share of its pixels is, in (0, 1].

    Returns:
        (power, valid): float32 and bool (..., y // rows, x // cols); power is 0 where not valid.

    Raises:
        ShapeError: Shapes differ, or no block fits.
        SettingsError: `factor` or `share` is out of range.
    """
    if power.shape != valid.shape or power.ndim < 2:
        raise ShapeError(
            f"expected power and valid of one shape (..., y, x), found {power.shape}, {valid.shape}"
        )
    rows, cols = factor
    if rows < 1 or cols < 1 or not 0 < share <= 1:
        raise SettingsError(f"need factor >= 1 and 0 < share <= 1, got factor={factor}, share={share}")
    y, x = power.shape[-2] // rows, power.shape[-1] // cols
    if not (y and x):
        raise ShapeError(f"no block of {factor} fits in an image of {power.shape[-2:]}")
    inside = (..., slice(0, y * rows), slice(0, x * cols))
    blocks = (*power.shape[:-2], y, rows, x, cols)
    counts = valid[inside].reshape(blocks).sum(axis=(-3, -1), dtype=np.float64)
    totals = np.sum(
        power[inside].reshape(blocks), axis=(-3, -1), dtype=np.float64, where=valid[inside].reshape(blocks)
    )
    enough = counts >= share * rows * cols
    mean = np.divide(totals, counts, out=np.zeros_like(totals), where=enough)
    return mean.astype(np.float32), enough
