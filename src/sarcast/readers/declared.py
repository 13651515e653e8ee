"""Does what the caller declares of a GeoTIFF fit its pixels? Decided on a sample; a contradiction raises."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sarcast.errors import ProductError
from sarcast.readers.pixels import is_nodata, read_power, read_stored
from sarcast.sar.looks import equivalent_looks
from sarcast.values import SceneFile

SAMPLE_WINDOWS = 3
"""Windows along each axis."""
SAMPLE_SIDE = 256
"""Pixels."""
BLOCK = 8
"""Side of the blocks whose power is averaged before levels are compared."""
DB_LIMIT = 150.0
"""No backscatter is further than this from 0 dB."""
DB_LEAST_SPREAD = 3.0
"""dB between the 1st and 99th percentile: speckle alone spreads more, down to some forty looks."""
CALIBRATED_LIMIT = 100.0
"""Median of calibrated power: no scene is brighter than 20 dB as a whole."""
LOOKS_FACTOR = 2.0
"""Measured and declared looks may differ by this: amplitude taken as power is about 4 times off."""


Sample = tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]
"""For some windows: stored numbers, linear power and validity, each (y, x)."""


def sample(file: SceneFile) -> Sample:
    """Windows spread over a raster: all of a small one."""
    starts = [_starts(side) for side in file.shape]
    found = []
    for top in starts[0]:
        for left in starts[1]:
            window = (
                (top, min(top + SAMPLE_SIDE, file.shape[0])),
                (left, min(left + SAMPLE_SIDE, file.shape[1])),
            )
            found.append((read_stored(file, window), *read_power(file, window)))
    return tuple(found)


def check_unit(pixels: Sample, file: SceneFile, *, calibrated: bool) -> None:
    """The stored numbers can be what they are declared to be.

    Linear (amplitude, power): no negative number; calibrated power has a median under 20 dB. dB: within 150
    dB of 0; some number is negative, as backscatter of natural scenes is, unless it is uncalibrated, and then
    the numbers spread by 3 dB or more. A sample without a valid pixel passes: nothing contradicts.

    Raises:
        ProductError: They cannot.
    """
    scaled = np.concatenate([_known(stored, file) for stored, _, _ in pixels]) * file.scale
    if not scaled.size:
        return
    if file.unit == "db":
        _check_db(scaled, file, calibrated=calibrated)
        return
    negative = float((scaled < 0).mean())
    if negative > 0:
        looks_like = "dB" if negative > 0.5 else "dB, or a nodata value that was not declared"
        raise ProductError(
            f"expected linear {file.unit}, as declared, found {100 * negative:.1f} % negative numbers "
            f"({looks_like}?), in {file.path}"
        )
    levels = _levels(pixels)
    median = float(np.median(levels)) if levels.size else 0.0
    if calibrated and median > CALIBRATED_LIMIT:
        raise ProductError(
            f"expected calibrated {file.unit}, as declared, found a median power of {median:.3g} "
            f"(raw numbers, or amplitude?), in {file.path}"
        )


def check_polarisations(samples: Mapping[str, Sample], where: str) -> None:
    """Cross-polarised backscatter is weaker than co-polarised.

    Raises:
        ProductError: The median of a cross-pol band lies above that of its co-pol band.
    """
    for cross in ("HV", "VH"):
        for co in ("HH", "VV"):
            if cross in samples and co in samples:
                low, high = _levels(samples[cross]), _levels(samples[co])
                if low.size and high.size and np.median(low) > np.median(high):
                    raise ProductError(
                        f"expected {cross} below {co}, found medians {np.median(low):.3g} and "
                        f"{np.median(high):.3g}: polarisations swapped?, in {where}"
                    )


def check_looks(pixels: Sample, declared: float | None, path: str) -> float | None:
    """Measured equivalent looks, None where not measurable.

    Raises:
        ProductError: Measured and declared looks differ by more than `LOOKS_FACTOR`.
    """
    found = [equivalent_looks(power, valid) for _, power, valid in pixels]
    known = [value for value in found if np.isfinite(value)]
    if not known:
        return None
    measured = round(float(np.median(known)), 2)
    if declared is not None and not 1 / LOOKS_FACTOR <= measured / declared <= LOOKS_FACTOR:
        raise ProductError(
            f"expected {declared:g} looks, as declared, found {measured:g} "
            f"(amplitude taken for power, or the other way? or leave looks undeclared), in {path}"
        )
    return measured


def _check_db(values: np.ndarray, file: SceneFile, *, calibrated: bool) -> None:
    extreme = float(values[np.abs(values).argmax()])
    if abs(extreme) > DB_LIMIT:
        raise ProductError(
            f"expected dB, as declared, found {extreme:g} (linear, or undeclared nodata?), in {file.path}"
        )
    low, high = (float(v) for v in np.quantile(values, (0.01, 0.99)))
    if values.min() >= 0 and (calibrated or high - low < DB_LEAST_SPREAD):
        raise ProductError(
            f"expected dB, as declared, found no negative number from {low:.3g} to {high:.3g} (linear?), "
            f"in {file.path}"
        )


def _known(stored: np.ndarray, file: SceneFile) -> np.ndarray:
    known: np.ndarray = stored[np.isfinite(stored) & ~is_nodata(stored, file.nodata)].astype(np.float64)
    return known


def _levels(pixels: Sample) -> np.ndarray:
    """Mean power of every wholly valid block."""
    found = []
    for _, power, valid in pixels:
        y, x = (side // BLOCK for side in power.shape)
        shape = (y, BLOCK, x, BLOCK)
        crop = (slice(y * BLOCK), slice(x * BLOCK))
        mean = power[crop].reshape(shape).mean(axis=(1, 3), dtype=np.float64)
        found.append(mean[valid[crop].reshape(shape).all(axis=(1, 3))])
    return np.concatenate(found)


def _starts(side: int) -> list[int]:
    if side <= SAMPLE_WINDOWS * SAMPLE_SIDE:
        return list(range(0, side, SAMPLE_SIDE))
    return [int(v) for v in np.linspace(0, side - SAMPLE_SIDE, SAMPLE_WINDOWS)]
