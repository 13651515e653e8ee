"""What may differ between two looks at one place without changing what it is: cut, flip, speckle, level."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.random import Generator
from pydantic import Field, model_validator

from sarcast.errors import ShapeError
from sarcast.runtime.settings import Settings


class Augment(Settings):
    """Changes drawn for every image each time it is seen, in linear power."""

    flips: Literal["none", "azimuth", "both"] = "azimuth"
    """azimuth: up and down, which on a north-up grid nearly keeps the look direction; both: left and right
    too, which turns shadow and layover round: only where there is no relief to see."""
    looks: float | None = Field(None, gt=0)
    """Multiply power by gamma speckle of this many looks (mean 1) on top of the image's own."""
    gain_db: float = Field(1.0, ge=0)
    """Each image's level moves by up to this much up or down, dB."""
    zoom: tuple[float, float] | None = None
    """Least and most of an image's area that is cut out and resampled to the training image, such as 0.2 1
    for chips (RandomResizedCrop). None: pixels keep their size, which speckle and texture depend on."""
    contrast: float = Field(0.0, ge=0, lt=1)
    """Amplitudes move away from each image's mean or towards it, by a factor of up to 1 plus or less this."""

    @model_validator(mode="after")
    def _shares(self) -> Augment:
        if self.zoom is not None and not 0 < self.zoom[0] <= self.zoom[1] <= 1:
            raise ValueError("zoom must be least and most of an area, over 0, up to 1")
        return self


def augment(
    power: np.ndarray, valid: np.ndarray, settings: Augment, *, crop: int, rng: Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Every image cut, flipped, speckled and its gain moved, each by draws of its own.

    Images of one place (axes between the first and y) share the cut, flip and gain, not the speckle.

    Args:
        power: (b, ..., y, x), linear.
        valid: bool (b, ..., y, x); its axes between may be others.
        settings: What is allowed.
        crop: Side of the result, pixels.
        rng: Source of all draws.

    Returns:
        (power, valid): (b, ..., crop, crop), float32 and bool.

    Raises:
        ShapeError: The images are smaller than `crop`.
    """
    b, (y, x) = len(power), power.shape[-2:]
    if crop > min(y, x):
        raise ShapeError(f"expected images of at least {crop} px a side, found {y} x {x}")
    cut = _resampled if settings.zoom else _cut
    found, ok = cut(power, valid, settings, crop, rng)
    own = (b, *(1 for _ in power.shape[1:]))
    factor = 10 ** (rng.uniform(-settings.gain_db, settings.gain_db, own) / 10)
    if settings.looks is not None:
        factor = factor * rng.gamma(settings.looks, 1 / settings.looks, found.shape)
    found = found * factor
    if settings.contrast:
        found = _contrast(found, ok, rng.uniform(1 - settings.contrast, 1 + settings.contrast, own))
    return found.astype(np.float32), ok


def _cut(
    power: np.ndarray, valid: np.ndarray, settings: Augment, crop: int, rng: Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Parts of the images, pixel for pixel, mirrored or not."""
    b, (y, x) = len(power), power.shape[-2:]
    tops, lefts = rng.integers(y - crop + 1, size=b), rng.integers(x - crop + 1, size=b)
    rows, cols = tops[:, None] + np.arange(crop), lefts[:, None] + np.arange(crop)
    rows, cols = _mirrored(rows, cols, settings, rng)
    found, ok = (_pixels(images, rows, cols) for images in (power, valid))
    return found, ok


def _resampled(
    power: np.ndarray, valid: np.ndarray, settings: Augment, crop: int, rng: Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Squares of some share of the images' area, bilinear in power; valid where all four neighbours are."""
    b, (y, x) = len(power), power.shape[-2:]
    least, most = settings.zoom or (1, 1)
    side = np.sqrt(rng.uniform(least, most, b)) * min(y, x)
    steps = (np.arange(crop) + 0.5) / crop
    rows, cols = (
        np.clip(
            rng.random(b)[:, None] * (length - side)[:, None] + steps * side[:, None] - 0.5, 0, length - 1
        )
        for length in (y, x)
    )
    rows, cols = _mirrored(rows, cols, settings, rng)
    top, left = rows.astype(int), cols.astype(int)
    low, right = np.minimum(top + 1, y - 1), np.minimum(left + 1, x - 1)
    down, across = rows - top, cols - left
    found, ok = np.zeros(()), np.ones((), bool)
    for some_rows, share in ((top, 1 - down), (low, down)):
        for some_cols, part in ((left, 1 - across), (right, across)):
            weight = share[:, :, None] * part[:, None, :]
            weight = weight.reshape(b, *(1 for _ in power.shape[1:-2]), crop, crop)
            found = found + weight * _pixels(power, some_rows, some_cols)
            ok = ok & _pixels(valid, some_rows, some_cols)
    return np.where(ok if ok.ndim == power.ndim else True, found, 0), np.asarray(ok)


def _mirrored(
    rows: np.ndarray, cols: np.ndarray, settings: Augment, rng: Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (b, crop) of rows and columns, those of some images in reverse."""
    down, across = rng.random((2, len(rows))) < 0.5
    if settings.flips != "none":
        rows = np.where(down[:, None], rows[:, ::-1], rows)
    if settings.flips == "both":
        cols = np.where(across[:, None], cols[:, ::-1], cols)
    return rows, cols


def _pixels(images: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """(b, ..., row, col) of images (b, ..., y, x) at rows and columns (b, crop) of each."""
    at = (np.arange(len(images))[:, None, None], rows[:, :, None], cols[:, None, :])
    return np.moveaxis(np.moveaxis(images, (-2, -1), (1, 2))[at], (1, 2), (-2, -1))


def _contrast(power: np.ndarray, valid: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Power whose amplitudes are `factor` times as far from their image's mean, at least 0."""
    ok = np.broadcast_to(valid, power.shape)
    amplitude = np.sqrt(power)
    count = np.maximum(ok.sum((-2, -1), keepdims=True), 1)
    mean = np.where(ok, amplitude, 0).sum((-2, -1), keepdims=True) / count
    return np.square(np.maximum(mean + factor * (amplitude - mean), 0))
