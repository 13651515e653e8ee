"""Multi-scale ratio gradients of a cell: how sharp its edges are at each radius, blind to its level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from sarcast.encoders.base import Strip, encode_cells, make_grid
from sarcast.runtime.settings import Settings
from sarcast.sar.decibel import to_db
from sarcast.sar.gradient import ratio_gradients
from sarcast.values import Features, Stack


class Gradients(Settings):
    """Mean and spread of the log-ratio gradient magnitude (SAR-JEPA's target) over a cell, per radius."""

    patch: int | None = Field(None, ge=2)
    """Side of a cell, pixels; by pixel size when not given."""
    stride: int | None = Field(None, ge=1)
    """Step between cells, pixels; cells lie side by side when not given."""
    radii: tuple[Annotated[int, Field(ge=1)], ...] = Field((1, 2, 4, 8), min_length=1)
    """Radii of the gradient windows, pixels."""
    min_valid: float = Field(0.9, gt=0, le=1)
    """Share of a cell's pixels that must be valid."""

    def encode(self, stack: Stack, times: Sequence[int] | None = None) -> Features:
        """Features (time, row, col, band x radius x 2): 20 log10 of mean and root-mean-square magnitude."""
        names = [
            f"{band.lower()}_{name}_r{radius}"
            for band in stack.bands
            for radius in self.radii
            for name in ("gradient", "gradient_rms")
        ]
        return encode_cells(
            stack,
            make_grid(stack, self.patch, self.stride),
            self._vectors,
            names=names,
            encoder="gradients",
            halo=2 * max(self.radii) + 2,
            min_valid=self.min_valid,
            times=times,
        )

    def _vectors(self, strip: Strip) -> np.ndarray:
        parts = []
        for power in strip.power:
            magnitudes, known = ratio_gradients(
                np.sqrt(power), radii=self.radii, offset=1e-6, valid=strip.valid
            )
            for magnitude, seen in zip(magnitudes, known & strip.valid, strict=True):
                square = strip.mean(magnitude.astype(np.float64) ** 2, seen)
                enough = 2 * strip.total(seen) >= strip.patch**2
                level = to_db(strip.mean(magnitude, seen) ** 2), to_db(square)
                parts += [np.where(enough, value, np.nan) for value in level]
        return np.stack(parts, axis=-1).astype(np.float32)
