"""Hand-made statistics of a cell: level, spread, quantiles and texture in dB, per polarisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from scipy import ndimage

from sarcast.encoders.base import Strip, encode_cells, make_grid
from sarcast.encoders.filters import Despeckle, despeckled
from sarcast.runtime.settings import Settings
from sarcast.sar.decibel import to_db
from sarcast.values import Features, Stack

Group = Literal["mean", "spread", "quantiles", "texture"]
_GROUPS: tuple[Group, ...] = ("mean", "spread", "quantiles", "texture")
_FEW = 8


class Statistics(Settings):
    """Level of a cell averaged in power, and how its pixels scatter around it."""

    patch: int | None = Field(None, ge=2)
    """Side of a cell, pixels; by pixel size when not given."""
    stride: int | None = Field(None, ge=1)
    """Step between cells, pixels; cells lie side by side when not given."""
    groups: tuple[Group, ...] | None = None
    """Which statistics; when not given, the mean alone for cells under 8 px, whose few pixels tell nothing
    more, and all for larger ones."""
    despeckle: Despeckle = "none"
    """Speckle filter before the statistics."""
    strength_db: float = Field(2.5, gt=0)
    """Strength of the total-variation filter, dB."""
    size: int = Field(3, ge=3)
    """Window of the boxcar and Lee filters, pixels."""
    looks: float = Field(4.0, gt=0)
    """Looks the Lee filter assumes."""
    quantiles: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (0.1, 0.9)
    """Which quantiles of the pixels' dB values."""
    min_valid: float = Field(0.9, gt=0, le=1)
    """Share of a cell's pixels that must be valid."""

    def encode(self, stack: Stack, times: Sequence[int] | None = None) -> Features:
        """Features (time, row, col, band x statistic), dB; spread and texture as dB of a variance ratio."""
        grid = make_grid(stack, self.patch, self.stride)
        scales = [s for s in (1, 2, 4, 8) if 2 * s <= grid.patch]
        groups = self.groups or (("mean",) if grid.patch < _FEW else _GROUPS)
        names = [f"{band.lower()}_{name}" for band in stack.bands for name in self._names(groups, scales)]
        return encode_cells(
            stack,
            grid,
            lambda strip: np.concatenate(
                [self._band(strip, p, groups, scales) for p in strip.power], axis=-1
            ),
            names=names,
            encoder="statistics",
            halo=32 if self.despeckle == "total_variation" else 16,
            min_valid=self.min_valid,
            times=times,
        )

    def _names(self, groups: Sequence[Group], scales: Sequence[int]) -> list[str]:
        every: dict[Group, list[str]] = {
            "mean": ["mean"],
            "spread": ["spread"],
            "quantiles": [f"q{round(100 * q):02d}" for q in self.quantiles],
            "texture": [f"texture_{s}px" for s in scales],
        }
        return [name for group in groups for name in every[group]]

    def _band(
        self, strip: Strip, power: np.ndarray, groups: Sequence[Group], scales: Sequence[int]
    ) -> np.ndarray:
        power = self._filtered(power, strip.valid)
        db = to_db(power)
        makers: dict[Group, Callable[[], list[np.ndarray]]] = {
            "mean": lambda: [to_db(strip.mean(power, strip.valid))],
            "spread": lambda: [_spread(strip, db)],
            "quantiles": lambda: _quantiles(strip, db, self.quantiles),
            "texture": lambda: _texture(strip, power, scales),
        }
        return np.stack([part for group in groups for part in makers[group]()], axis=-1).astype(np.float32)

    def _filtered(self, power: np.ndarray, valid: np.ndarray) -> np.ndarray:
        return despeckled(
            power, valid, self.despeckle, size=self.size, looks=self.looks, strength_db=self.strength_db
        )


def _spread(strip: Strip, db: np.ndarray) -> np.ndarray:
    """10 log10 of the variance of the pixels' dB values (floor 0.01 dB squared)."""
    mean = strip.mean(db, strip.valid)
    square = strip.mean(db * db, strip.valid)
    return to_db(square - mean * mean, floor=1e-2)


def _quantiles(strip: Strip, db: np.ndarray, which: Sequence[float]) -> list[np.ndarray]:
    """Quantiles of the valid pixels' dB values, linear between order statistics."""
    pixels = np.sort(np.where(strip.windows(strip.valid), strip.windows(db), np.inf), axis=-1)
    count = strip.windows(strip.valid).sum(-1)
    found = []
    for q in which:
        at = q * np.maximum(count - 1, 0)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, np.maximum(count - 1, 0))
        a = np.take_along_axis(pixels, low[..., None], -1)[..., 0]
        b = np.take_along_axis(pixels, high[..., None], -1)[..., 0]
        a, b = np.where(count > 0, a, 0), np.where(count > 0, b, 0)
        found.append(a + (at - low) * (b - a))
    return found


def _texture(strip: Strip, power: np.ndarray, scales: Sequence[int]) -> list[np.ndarray]:
    """Energy between one averaging scale and the next, 10 log10 of dB squared: octaves of texture."""
    found = []
    fine = to_db(power)
    for scale in scales:
        coarse = to_db(_average(power, strip.valid, 2 * scale))
        found.append(to_db(strip.mean((fine - coarse) ** 2, strip.valid), floor=1e-2))
        fine = coarse
    return found


def _average(power: np.ndarray, valid: np.ndarray, size: int) -> np.ndarray:
    """Mean power of the valid pixels in a moving window."""
    total = ndimage.uniform_filter(power.astype(np.float64), size, mode="constant")
    share = ndimage.uniform_filter(valid.astype(np.float64), size, mode="constant")
    return np.divide(total, share, out=np.zeros_like(total), where=share > 1e-9)
