"""Every pixel by itself: its level in dB per polarisation after a speckle filter, at full resolution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from sarcast.encoders.base import Strip, encode_cells, make_grid
from sarcast.encoders.filters import Despeckle, despeckled
from sarcast.runtime.settings import Settings
from sarcast.sar.decibel import to_db
from sarcast.values import Features, Stack


class Pixels(Settings):
    """Level of the despeckled image; one pixel is one cell unless asked otherwise."""

    patch: int = Field(1, ge=1)
    """Side of a cell, pixels: the filtered power is averaged over it."""
    stride: int | None = Field(None, ge=1)
    """Step between cells, pixels; cells lie side by side when not given."""
    despeckle: Despeckle = "total_variation"
    """Speckle filter."""
    strength_db: float = Field(2.5, gt=0)
    """Strength of the total-variation filter, dB."""
    size: int = Field(3, ge=3)
    """Window of the boxcar and Lee filters, pixels."""
    looks: float = Field(4.0, gt=0)
    """Looks the Lee filter assumes."""
    min_valid: float = Field(0.9, gt=0, le=1)
    """Share of a cell's pixels that must be valid."""

    def encode(self, stack: Stack, times: Sequence[int] | None = None) -> Features:
        """Features (time, row, col, band), dB of power."""
        return encode_cells(
            stack,
            make_grid(stack, self.patch, self.stride),
            self._levels,
            names=[f"{band.lower()}_mean" for band in stack.bands],
            encoder="pixels",
            halo=32 if self.despeckle == "total_variation" else 16,
            min_valid=self.min_valid,
            times=times,
        )

    def _levels(self, strip: Strip) -> np.ndarray:
        found = [
            to_db(
                strip.mean(
                    despeckled(
                        power,
                        strip.valid,
                        self.despeckle,
                        size=self.size,
                        looks=self.looks,
                        strength_db=self.strength_db,
                    ),
                    strip.valid,
                )
            )
            for power in strip.power
        ]
        return np.stack(found, axis=-1).astype(np.float32)
