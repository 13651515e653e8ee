"""What the numbers of an image are, and the linear power they stand for."""

from __future__ import annotations

from typing import Literal

import numpy as np

Unit = Literal["picture", "db", "power", "amplitude"]
"""picture: 0 to 1, an amplitude in no unit, which networks are given as it is."""


def to_power(values: np.ndarray, valid: np.ndarray, unit: Unit) -> np.ndarray:
    """Linear power, float32, of the shape of `values`; 0 where not `valid`."""
    numbers = np.where(valid, values, 0).astype(np.float32)
    if unit == "power":
        return numbers
    power = 10 ** (numbers / 10) if unit == "db" else np.square(numbers)
    return np.where(valid, power, 0).astype(np.float32)
