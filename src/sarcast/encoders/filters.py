"""Speckle filters by name, for the encoders that look through one."""

from __future__ import annotations

from typing import Literal

import numpy as np

Despeckle = Literal["none", "boxcar", "lee", "total_variation"]


def despeckled(
    power: np.ndarray, valid: np.ndarray, how: Despeckle, *, size: int, looks: float, strength_db: float
) -> np.ndarray:
    """Power (y, x) after the filter `how` (sar/speckle.py says what the settings mean); 0 where not valid."""
    from sarcast.sar import speckle

    if how == "boxcar":
        return speckle.boxcar(power, valid, size=size)
    if how == "lee":
        return speckle.lee(power, valid, size=size, looks=looks)
    if how == "total_variation":
        return speckle.total_variation(power, valid, strength_db=strength_db)
    return power
