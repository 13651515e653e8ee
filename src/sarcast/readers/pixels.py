"""Pixels of a scene's file as linear power and a validity mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sarcast.errors import ProductError, ShapeError
from sarcast.readers.gdal import open_raster
from sarcast.sar.calibrate import to_power
from sarcast.values import SceneFile

Window = tuple[tuple[int, int], tuple[int, int]]
"""((row0, row1), (col0, col1)), ends excluded."""


def read_power(file: SceneFile, window: Window | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Linear power of a file, calibrated as the product allows, exact to float32.

    amplitude: (scale * stored)^2; power: scale * stored; db: 10^(scale * stored / 10). A pixel is invalid
    where the stored number is NaN, infinite or `nodata`, where an amplitude or a power is negative, and where
    the power does not fit float32. Zero is a value unless it is `nodata`.

    Args:
        file: One raster of a scene.
        window: Pixels to read; None reads all.

    Returns:
        float32 power (y, x), 0 where invalid; bool valid (y, x).

    Raises:
        ProductError: The file is gone, has another size than when it was catalogued, or cannot be decoded.
        ShapeError: The window is empty or leaves the raster.
    """
    stored = read_stored(file, window)
    valid: np.ndarray = np.isfinite(stored) & ~is_nodata(stored, file.nodata)
    if file.unit != "db" and stored.dtype.kind != "u":
        valid &= stored >= 0
    with np.errstate(over="ignore"):
        power = to_power(np.where(valid, stored, 0), unit=file.unit, scale=file.scale)
    valid &= np.isfinite(power)
    power[~valid] = 0
    return power, valid


def read_stored(file: SceneFile, window: Window | None = None) -> np.ndarray:
    """Numbers as they are stored (y, x); see `read_power`."""
    (top, bottom), (left, right) = window or ((0, file.shape[0]), (0, file.shape[1]))
    if not (0 <= top < bottom <= file.shape[0] and 0 <= left < right <= file.shape[1]):
        raise ShapeError(f"expected a window inside {file.shape}, found {window}, in {file.path}")
    path = Path(file.path)
    _check_size(file, path)
    with open_raster(path) as dataset:
        if (dataset.height, dataset.width) != file.shape or file.index > dataset.count:
            raise ProductError(
                f"expected {file.shape} pixels and band {file.index}, as catalogued, found "
                f"{(dataset.height, dataset.width)} and {dataset.count} bands, in {path}"
            )
        stored: np.ndarray = dataset.read(file.index, window=((top, bottom), (left, right)))
    if stored.dtype.kind not in "uif":
        raise ProductError(f"expected real numbers, found {stored.dtype}, in {path}")
    return stored


def is_nodata(stored: np.ndarray, nodata: float | None) -> np.ndarray:
    """True where a stored number is `nodata`, in the precision it is stored in; nowhere for NaN or None."""
    if nodata is None or np.isnan(nodata):
        return np.zeros(stored.shape, dtype=bool)
    if stored.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.asarray(stored == np.float64(nodata).astype(stored.dtype))
    return np.asarray(stored == np.float64(nodata))


def _check_size(file: SceneFile, path: Path) -> None:
    try:
        size = path.stat().st_size
    except (OSError, ValueError):
        raise ProductError(f"expected the catalogued file, found nothing: {path}") from None
    if size != file.size:
        raise ProductError(f"expected {file.size} bytes, as catalogued, found {size}, in {path}")
