"""Images read from their files at every step: more of them than memory holds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sarcast.readers.labelled_chips import LabelledChips
from sarcast.readers.seasonal_tiles import read_seasons
from sarcast.sar.channels import bands_of
from sarcast.sar.numbers import Unit, to_power
from sarcast.sar.seasons import CHANNELS
from sarcast.train.chips import power_of

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
        """
        with ThreadPoolExecutor(READERS) as pool:
            found = list(pool.map(lambda i: power_of(read_seasons(self.paths[i])), some))
        return np.stack([power for power, _ in found]), np.stack([valid for _, valid in found])


@dataclass(frozen=True, kw_only=True, eq=False)
class ChipImages:
    """Chips of one channel, or of named ones, as `Chips`, but on disk."""

    chips: LabelledChips
    unit: Unit
    """Of their numbers."""
    bands: tuple[str, ...] = ()
    dated: bool = False

    def __len__(self) -> int:
        return len(self.chips)

    def take(self, some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(power, valid) of chips by number, float32 and bool (chip, y, x), with `bands` (chip, band, y, x).

        Raises:
            ProductError: A file cannot be read.
        """
        values, valid = self.chips[some].pixels()
        power = to_power(values, valid, self.unit)
        return (power, valid) if self.bands else (power[:, 0], valid[:, 0])
