"""Seasonal tiles read from their files at every step: more of them than memory holds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sarcast.readers.seasonal_tiles import read_seasons
from sarcast.sar.channels import bands_of
from sarcast.sar.seasons import CHANNELS
from sarcast.train.chips import of_seasons

READERS = 8
"""Files read at once."""


@dataclass(frozen=True, kw_only=True)
class TileImages:
    """Whole tiles, as `Chips` of VV and VH of every season, but on disk."""

    paths: tuple[Path, ...]
    """All of one size."""
    bands: tuple[str, ...] = bands_of(CHANNELS)
    dated: bool = False

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(power, valid) of tiles by number, float32 and bool (tile, band, y, x).

        Raises:
            ProductError: A file cannot be read.
            ShapeError: Tiles have different sizes.
        """
        with ThreadPoolExecutor(READERS) as pool:
            tiles = list(pool.map(read_seasons, (self.paths[i] for i in some)))
        found = of_seasons(tiles)
        return found.power, found.valid
