"""Decibels: 10 log10 of power. A view for people and for additive models; averages are taken in power."""

from __future__ import annotations

import numpy as np


def to_db(power: np.ndarray, *, floor: float = 1e-6) -> np.ndarray:
    """10 log10 of power; values under `floor` are raised to it first.

    Args:
        power: Any shape, linear power (square of amplitude).
        floor: Smallest power shown, linear; the default is -60 dB.

    Returns:
        dB, same shape; float32 stays float32, anything else becomes float64.
    """
    db: np.ndarray = 10 * np.log10(np.maximum(_floating(power), floor))
    return db


def from_db(db: np.ndarray) -> np.ndarray:
    """Linear power of dB: 10^(db / 10); float32 stays float32, anything else becomes float64."""
    return np.power(10.0, _floating(db) / 10)


def _floating(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    return values if values.dtype == np.float32 else values.astype(np.float64)
