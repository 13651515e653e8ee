"""What a learned encoder must beat: the pixels themselves, and statistics of them, with no training."""

from __future__ import annotations

import numpy as np

LAGS = (1, 2, 4)
"""Pixels between the two of a difference."""
SMALLEST = 1e-12


def cell_edges(side: int, cells: int) -> np.ndarray:
    """First pixel of each of `cells` cells along a side; cells differ by a pixel where it does not divide."""
    return np.arange(min(cells, side)) * side // min(cells, side)


def cell_means(pixels: np.ndarray, valid: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Mean of the valid pixels of each cell, float32 (chip, row, col, channel); 0 where there are none.

    Args:
        pixels: (chip, channel, y, x), square.
        valid: bool (chip, y, x) or (chip, channel, y, x).
        edges: From `cell_edges`.
    """
    weight = np.broadcast_to(valid if valid.ndim == 4 else valid[:, None], pixels.shape)
    total, count = _sums(np.where(weight, pixels, 0), edges), _sums(weight, edges)
    means = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    return means.transpose(0, 2, 3, 1).astype(np.float32)


def cell_statistics(pixels: np.ndarray, valid: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Level, spread and texture (mean size of differences at `LAGS`, both ways) of each cell.

    Where there are several cells, the mean of each over 3 x 3 cells comes too, since an encoder sees its
    surroundings. Arguments as `cell_means`; float32 (chip, row, col, dim).
    """
    level = pixels.mean((2, 3), keepdims=True, dtype=np.float64)
    mean = cell_means(pixels - level, valid, edges)
    square = cell_means((pixels - level) ** 2, valid, edges)
    found = [cell_means(pixels, valid, edges), np.sqrt(np.maximum(square - mean**2, 0))]
    found += [cell_means(*_differences(pixels, valid, lag), edges) for lag in LAGS if lag < pixels.shape[-1]]
    statistics = np.concatenate(found, -1)
    if len(edges) == 1:
        return statistics
    from scipy.ndimage import uniform_filter

    around = uniform_filter(statistics, (1, 3, 3, 1), mode="nearest")
    return np.concatenate([statistics, around], -1)


def unit_chips(vectors: np.ndarray) -> np.ndarray:
    """(chip, dim), each chip's with mean 0 and norm 1: what is left without level and contrast."""
    centred = vectors - vectors.mean(1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), SMALLEST)


def _differences(pixels: np.ndarray, valid: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean size of the differences to the pixels `lag` right and below, and where both are valid."""
    found, known = np.zeros(pixels.shape), np.zeros(valid.shape, bool)
    here, right, below = pixels[..., :-lag, :-lag], pixels[..., :-lag, lag:], pixels[..., lag:, :-lag]
    found[..., :-lag, :-lag] = (np.abs(right - here) + np.abs(below - here)) / 2
    known[..., :-lag, :-lag] = valid[..., :-lag, :-lag] & valid[..., :-lag, lag:] & valid[..., lag:, :-lag]
    return found, known


def _sums(image: np.ndarray, edges: np.ndarray) -> np.ndarray:
    rows = np.add.reduceat(image, edges, axis=-2, dtype=np.float64)
    return np.asarray(np.add.reduceat(rows, edges, axis=-1))
