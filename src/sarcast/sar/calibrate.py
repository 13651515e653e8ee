"""From the numbers a product stores to linear power."""

from __future__ import annotations

import numpy as np

from sarcast.errors import SettingsError
from sarcast.values import UNITS, Unit


def to_power(stored: np.ndarray, *, unit: Unit, scale: float = 1.0) -> np.ndarray:
    """Linear power of stored numbers, exact to float32.

    amplitude: (scale * stored)^2; power: scale * stored; db: 10^(scale * stored / 10). A calibrated product
    gives sigma0 or gamma0, as its `scale` was made to.

    Args:
        stored: Any shape, integer or real numbers as read from the file.
        unit: What `scale * stored` is: amplitude, power (both linear) or dB of power.
        scale: The product's own factor, per file (Capella's `scale_factor`); positive.

    Returns:
        float32 of the same shape, computed in float64; inf where that is too large for float32. Numbers that
        mean "no data" are not known here: mask them by the product's own rule.

    Raises:
        SettingsError: `unit` is unknown or `scale` is not positive.
    """
    if unit not in UNITS:
        raise SettingsError(f"expected a unit in {UNITS}, found {unit!r}, in to_power")
    if not 0 < scale < np.inf:
        raise SettingsError(f"expected a positive scale, found {scale}, in to_power")
    with np.errstate(over="ignore"):
        scaled = np.multiply(stored, scale, dtype=np.float64)
        if unit == "amplitude":
            power = scaled * scaled
        elif unit == "power":
            power = scaled
        else:
            power = np.power(10.0, scaled / 10)
        return np.asarray(power, dtype=np.float32)
