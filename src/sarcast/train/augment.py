"""What may differ between two looks at one place without changing what it is: cut, flip, speckle, gain."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.random import Generator
from pydantic import Field

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
    tops, lefts = rng.integers(y - crop + 1, size=b), rng.integers(x - crop + 1, size=b)
    rows, cols = tops[:, None] + np.arange(crop), lefts[:, None] + np.arange(crop)
    down, across = rng.random((2, b)) < 0.5
    if settings.flips != "none":
        rows = np.where(down[:, None], rows[:, ::-1], rows)
    if settings.flips == "both":
        cols = np.where(across[:, None], cols[:, ::-1], cols)
    at = (np.arange(b)[:, None, None], rows[:, :, None], cols[:, None, :])
    found, ok = (
        np.moveaxis(np.moveaxis(images, (-2, -1), (1, 2))[at], (1, 2), (-2, -1)) for images in (power, valid)
    )
    gain = (b, *(1 for _ in power.shape[1:]))
    factor = 10 ** (rng.uniform(-settings.gain_db, settings.gain_db, gain) / 10)
    if settings.looks is not None:
        factor = factor * rng.gamma(settings.looks, 1 / settings.looks, found.shape)
    return (found * factor).astype(np.float32), ok
