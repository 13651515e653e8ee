"""Complex pairs with a chosen temporal decorrelation, so that an estimate of coherence has a truth."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sarcast.errors import ShapeError
from sarcast.sar.simulate.land_cover import CLASS_NAMES


def complex_pair(
    power: np.ndarray,
    *,
    coherence: float | np.ndarray,
    rng: np.random.Generator,
    power_b: np.ndarray | None = None,
    phase_rad: float | np.ndarray = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Two single-look complex images, complex64 (y, x), circular Gaussian with the given correlation.

    E|a|^2 = power, E|b|^2 = power_b, E[a b*] = coherence sqrt(power power_b) exp(j phase_rad).

    Args:
        power: Mean power of the first image (and of the second, without `power_b`), float (y, x).
        coherence: 0 to 1, one number or a (y, x) map.
        rng: Source of randomness.
        power_b: Mean power of the second image.
        phase_rad: Interferometric phase of a relative to b, one number or a (y, x) map.

    Raises:
        ShapeError: `coherence` is not within 0 and 1.
    """
    gamma = np.asarray(coherence, np.float32)
    if gamma.min() < 0 or gamma.max() > 1:
        raise ShapeError(f"expected coherence within 0 and 1, found {gamma.min()} to {gamma.max()}")
    common, other = (_circular(power.shape, rng) for _ in range(2))
    turned = gamma * np.exp(-1j * np.asarray(phase_rad)).astype(np.complex64)
    a = np.sqrt(power) * common
    b = np.sqrt(power if power_b is None else power_b) * (turned * common + np.sqrt(1 - gamma**2) * other)
    return a.astype(np.complex64), b.astype(np.complex64)


def complex_series(
    power: np.ndarray, *, coherence: float | np.ndarray, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Single-look complex images of a series whose neighbours correlate by `coherence`; complex64 (y, x).

    A first-order process: the coherence of two dates is `coherence` to the power of the steps between them.

    Args:
        power: Mean power of each date, float (time, y, x).
        coherence: Of two dates in a row, 0 to 1: one number or a (y, x) map.
        rng: Source of randomness.
    """
    gamma = np.asarray(coherence, np.float32)
    if gamma.min() < 0 or gamma.max() > 1:
        raise ShapeError(f"expected coherence within 0 and 1, found {gamma.min()} to {gamma.max()}")
    state = _circular(power.shape[1:], rng)
    for index, level in enumerate(power):
        if index:
            state = gamma * state + np.sqrt(1 - gamma**2) * _circular(power.shape[1:], rng)
        yield (np.sqrt(level) * state).astype(np.complex64)


def class_coherence(land_cover: np.ndarray) -> np.ndarray:
    """Coherence of each pixel between two dates in a row, by land cover: float32 (y, x).

    Args:
        land_cover: uint8 (y, x), index into `CLASS_NAMES`.
    """
    by_name = {
        "water": 0.0, "tidal flat": 0.05, "bare soil": 0.7, "fields": 0.4, "grass": 0.35, "forest": 0.1,
        "urban": 0.85, "road": 0.75, "parking": 0.5, "lava": 0.8,
    }  # fmt: skip
    return np.array([by_name[name] for name in CLASS_NAMES], np.float32)[land_cover]


def _circular(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Circular complex Gaussian of unit power, complex64."""
    parts = rng.standard_normal((2, *shape), dtype=np.float32) * np.float32(np.sqrt(0.5))
    return np.asarray(parts[0] + 1j * parts[1], np.complex64)
