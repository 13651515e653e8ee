"""Changes planted in real pixels: ellipses of another level, or of another texture at the same level.

Power in, power out, all bands alike. What is planted goes in before any speckle filter, so that it meets the
same processing as a real change would.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.special import gammaincinv, ndtr

from sarcast.errors import SettingsError
from sarcast.sar.speckle import boxcar

_TRIES = 2000


def ellipses(
    shape: tuple[int, int],
    *,
    rng: np.random.Generator,
    count: int = 5,
    share: float = 0.052,
    margin: int = 4,
    gap: int = 4,
) -> np.ndarray:
    """Random ellipses that do not touch: which event each pixel is in.

    Areas differ by up to a factor of three and add up to `share` of the image (to a pixel or so each, as a
    circle on a grid has), axes by up to 2.5, directions are any.

    Args:
        shape: (y, x), pixels.
        rng: Of every draw.
        count: Ellipses.
        share: Of the image's pixels, of all ellipses together.
        margin: Pixels to the image's border.
        gap: Pixels between ellipses.

    Returns:
        int64 (y, x): 0 to `count` - 1 inside an ellipse, -1 elsewhere.

    Raises:
        SettingsError: So much does not fit.
    """
    if count < 1 or not 0 < share < 1 or min(margin, gap) < 0:
        raise SettingsError(f"need count >= 1, 0 < share < 1 and margin, gap >= 0, got {count}, {share}")
    areas = rng.uniform(0.5, 1.5, count)
    areas *= share * shape[0] * shape[1] / areas.sum()
    events = np.full(shape, -1, np.int64)
    near = np.ones(shape, bool)
    near[margin : shape[0] - margin, margin : shape[1] - margin] = False
    for event in np.argsort(-areas):
        inside = _free(near, float(areas[event]), rng)
        if inside is None:
            raise SettingsError(
                f"expected room for {count} ellipses of {share:.1%} of {shape[0]} x {shape[1]} px, found none"
            )
        events[inside] = event
        near |= inside if not gap else ndimage.binary_dilation(inside, iterations=gap)
    return events


def change_level(power: np.ndarray, events: np.ndarray, *, change_db: float) -> np.ndarray:
    """Power scaled by `change_db` inside the events.

    Args:
        power: Linear power (band, y, x).
        events: int (y, x), -1 outside (`ellipses`).
        change_db: Decibels of power, any sign.

    Returns:
        Power, shape and type kept.
    """
    return np.where(events >= 0, power * power.dtype.type(10 ** (change_db / 10)), power)


def roughen(
    power: np.ndarray,
    events: np.ndarray,
    *,
    rng: np.random.Generator,
    variation: float = 0.7,
    correlation_px: float = 1.0,
) -> np.ndarray:
    """Texture added inside the events: power times a gamma field of mean 1, the same in all bands.

    The mean power of every event and band stays what it was, exactly.

    Args:
        power: Linear power (band, y, x).
        events: int (y, x), -1 outside.
        rng: Of the field.
        variation: Coefficient of variation of the gamma field, positive.
        correlation_px: Sigma of the Gaussian that the field is averaged with, pixels; 0 for none.

    Returns:
        Power, shape and type kept.

    Raises:
        SettingsError: `variation` is not positive, or `correlation_px` is negative.
    """
    if not variation > 0 or correlation_px < 0:
        raise SettingsError(
            f"need variation > 0 and correlation_px >= 0, got {variation} and {correlation_px}"
        )
    normal = ndimage.gaussian_filter(rng.normal(size=events.shape), correlation_px)
    looks = 1 / variation**2
    field = gammaincinv(looks, ndtr(normal / normal.std())) / looks
    return _at_same_mean(power * field, power, events)


def smoothen(power: np.ndarray, events: np.ndarray, *, size: int = 3) -> np.ndarray:
    """Texture (and speckle) taken out inside the events: each pixel is its own event's local mean.

    The mean power of every event and band stays what it was, exactly.

    Args:
        power: Linear power (band, y, x).
        events: int (y, x), -1 outside.
        size: Side of the averaging window, pixels, odd.

    Returns:
        Power, shape and type kept.
    """
    smooth = np.array(power)
    for event in _present(events):
        inside = np.broadcast_to(events == event, power.shape)
        smooth = np.where(inside, boxcar(power, inside, size=size), smooth)
    return _at_same_mean(smooth, power, events)


def _at_same_mean(changed: np.ndarray, power: np.ndarray, events: np.ndarray) -> np.ndarray:
    """`changed` inside the events, scaled so that each keeps its mean power in every band."""
    result = np.array(power)
    for event in _present(events):
        inside = events == event
        before, after = (p[:, inside].sum(1, dtype=np.float64) for p in (power, changed))
        factor = np.divide(before, after, out=np.ones_like(before), where=after > 0)
        result[:, inside] = changed[:, inside] * factor[:, None]
    return result


def _present(events: np.ndarray) -> np.ndarray:
    found = np.unique(events)
    return found[found >= 0]


def _free(taken: np.ndarray, area: float, rng: np.random.Generator) -> np.ndarray | None:
    """An ellipse on none of the `taken` pixels, bool (y, x); None where none was found."""
    for _ in range(_TRIES):
        inside = _ellipse(taken.shape, area, rng)
        if inside.any() and not (inside & taken).any():
            return inside
    return None


def _ellipse(shape: tuple[int, ...], area: float, rng: np.random.Generator) -> np.ndarray:
    """An ellipse of `area` pixels anywhere, axes and direction drawn: bool (y, x)."""
    ratio, angle = rng.uniform(1, 2.5), rng.uniform(0, np.pi)
    long = np.sqrt(area * ratio / np.pi)
    row, col = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
    y, x = np.arange(shape[0])[:, None] - row, np.arange(shape[1])[None, :] - col
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return np.asarray((along / long) ** 2 + (across * ratio / long) ** 2 <= 1)
