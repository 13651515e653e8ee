"""Outlines of events: irregular blobs, turned rectangles and ships, as masks; and masks as geometry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox


def blob(size_px: tuple[float, float], *, roughness: float, rng: np.random.Generator) -> np.ndarray:
    """Star-shaped region about an ellipse of `size_px` (y, x), cut to its bounding box. bool (y, x)."""
    y, x = _grid(size_px)
    turn, wave = rng.uniform(0, 2 * np.pi), np.arange(2, 7)
    height = roughness * rng.normal(0, 1, wave.size) / wave
    phase = rng.uniform(0, 2 * np.pi, wave.size)
    angle = np.arctan2(y / size_px[0], x / size_px[1]) + turn
    reach = 1 + sum(h * np.cos(k * angle + p) for h, k, p in zip(height, wave, phase, strict=True))
    radius = np.hypot(2 * y / size_px[0], 2 * x / size_px[1])
    return _cut(radius <= np.clip(reach, 0.45, 1.25))


def rectangle(size_px: tuple[float, float], *, angle_rad: float) -> np.ndarray:
    """A turned rectangle whose bounding box is about `size_px` (y, x). bool (y, x)."""
    y, x = _grid(size_px)
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    fit = abs(c) + abs(s)
    u, v = (c * x + s * y) * fit, (c * y - s * x) * fit
    return _cut((np.abs(u) <= size_px[1] / 2) & (np.abs(v) <= size_px[0] / 2))


def hull(length_px: float, *, angle_rad: float) -> np.ndarray:
    """A ship seen from above with the water around it, twice as long as wide. bool (y, x)."""
    y, x = _grid((length_px, length_px))
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    u, v = c * x + s * y, c * y - s * x
    return _cut((2 * u / length_px) ** 2 + (2 * v / max(0.52 * length_px, 3)) ** 2 <= 1)


def outline(mask: np.ndarray, geobox: GeoBox) -> object:
    """Exact shapely (multi)polygon of the True pixels of `mask` (y, x), in the CRS of `geobox`."""
    import shapely

    runs = []
    for row in np.flatnonzero(mask.any(1)):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], mask[row].astype(np.int8), [0]])))
        runs += [(start, row, stop, row + 1) for start, stop in zip(edges[::2], edges[1::2], strict=True)]
    union = shapely.union_all([shapely.box(*run) for run in runs])
    a = geobox.transform
    return shapely.transform(
        shapely.normalize(union), lambda p: np.stack([a.a * p[:, 0] + a.c, a.e * p[:, 1] + a.f], axis=1)
    )


def _grid(size_px: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    half = [int(np.ceil(0.75 * side)) + 1 for side in size_px]
    y, x = np.mgrid[-half[0] : half[0] + 1, -half[1] : half[1] + 1]
    return y.astype(float), x.astype(float)


def _cut(mask: np.ndarray) -> np.ndarray:
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
