"""How far two dates are shifted and how their levels differ, and whether that can be told at all.

Shift: weighted phase correlation of log-amplitude (Kuglin and Hines, 1975; weights of Hannan and Thomson,
1973; sub-pixel peak by a local Fourier sum, Guizar-Sicairos et al., 2008). Gain: mode of the dB difference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import fft
from scipy.ndimage import uniform_filter

from sarcast.errors import ShapeError

_LOW, _HIGH = 0.02, 0.16
"""Cycles per pixel: slower is weather, faster is speckle."""
_WHITEN = 0.5
"""0 is plain correlation, 1 pure phase correlation."""
_SIGNIFICANT = 6.0
"""Peak over the noise of the correlation surface, in its standard deviations."""
_SMALLEST_PX = 24
_FEWEST_CELLS = 16


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Where `moving` lies: moving(y, x) looks like reference(y - dy, x - dx)."""

    dy: float
    """Pixels, downward positive; 0 where not measurable."""
    dx: float
    """Pixels, rightward positive; 0 where not measurable."""
    correlation_before: float
    """Pearson's, of the smoothed log-amplitudes as they are."""
    correlation_after: float
    """The same with the shift taken out."""
    accepted: bool
    """Measurable, and taking it out improves the correlation."""
    measurable: bool
    """There is texture enough that the peak stands out of the noise."""

    @property
    def size_px(self) -> float:
        """Length of the shift, pixels."""
        return float(np.hypot(self.dy, self.dx))


@dataclass(frozen=True, kw_only=True)
class Gain:
    """How much brighter `moving` is than the reference, over the whole frame."""

    value_db: float
    """0 where not measurable."""
    spread_db: float
    """Robust standard deviation of the difference between cells."""
    measurable: bool
    """There are valid cells enough."""


def estimate_shift(
    reference: np.ndarray,
    moving: np.ndarray,
    valid: np.ndarray | None = None,
    *,
    upsample: int = 20,
    max_px: int = 8,
    significant: float = _SIGNIFICANT,
) -> Shift:
    """Sub-pixel shift between two log-amplitude images of one place.

    Args:
        reference: Log-amplitude or dB (y, x), any base.
        moving: The same place at another time, same shape and base.
        valid: bool (y, x), measured in both; None: everywhere.
        upsample: Steps per pixel of the sub-pixel search, before a parabola is laid through its peak.
        max_px: Largest shift looked for; a peak at this border is not measurable.
        significant: How far the peak must stand out, in standard deviations of the correlation surface away
            from it. Pure speckle stays under 5.

    Returns:
        The shift; where there is no texture (water, speckle, under 24 px or half the pixels valid),
        `measurable` is False and the shift 0.

    Raises:
        ShapeError: Shapes differ.
    """
    if reference.shape != moving.shape or reference.ndim != 2:
        raise ShapeError(f"expected two images of one shape, found {reference.shape} and {moving.shape}")
    seen = np.ones(reference.shape, dtype=bool) if valid is None else valid
    nothing = Shift(
        dy=0.0, dx=0.0, correlation_before=0.0, correlation_after=0.0, accepted=False, measurable=False
    )
    if min(reference.shape) < _SMALLEST_PX or seen.mean() < 0.5:
        return nothing
    before = _correlation(reference, moving, seen, (0.0, 0.0))
    found = _search(reference, moving, seen, max_px=max_px, upsample=upsample, significant=significant)
    if found is None:
        return replace(nothing, correlation_before=before, correlation_after=before)
    after = _correlation(reference, moving, seen, found)
    return Shift(
        dy=found[0],
        dx=found[1],
        correlation_before=before,
        correlation_after=after,
        accepted=after > before,
        measurable=True,
    )


def apply_shift(image: np.ndarray, shift_px: tuple[float, float]) -> np.ndarray:
    """Move an image's content by (dy, dx) pixels, by the Fourier shift theorem (periodic at the borders)."""
    rows, cols = fft.fftfreq(image.shape[0]), fft.rfftfreq(image.shape[1])
    phase = np.exp(-2j * np.pi * (rows[:, None] * shift_px[0] + cols[None, :] * shift_px[1]))
    moved: np.ndarray = fft.irfft2(fft.rfft2(image) * phase, s=image.shape)
    return moved.astype(image.dtype)


def estimate_gain_db(reference_db: np.ndarray, moving_db: np.ndarray, valid: np.ndarray) -> Gain:
    """Frame-wide level of `moving_db` against `reference_db`: the mode of their difference.

    The start is the middle of the shortest interval that holds half of the cells (the shorth), refined by
    Tukey's redescending mean around it, after smoothing over neighbours: cells of a local event, up to 40 %
    of the frame, weigh nothing.

    Args:
        reference_db: dB of multilooked power (y, x).
        moving_db: The same cells at another time.
        valid: bool (y, x), measured in both.

    Returns:
        The gain; not measurable with fewer than 16 valid cells.

    Raises:
        ShapeError: Shapes differ.
    """
    if not reference_db.shape == moving_db.shape == valid.shape:
        raise ShapeError(
            f"expected one shape, found {reference_db.shape}, {moving_db.shape} and {valid.shape}"
        )
    difference = np.sort(_smooth(np.where(valid, moving_db - reference_db, 0), valid)[valid])
    n = len(difference)
    if n < _FEWEST_CELLS:
        return Gain(value_db=0.0, spread_db=0.0, measurable=False)
    half = n // 2
    start = int(np.argmin(difference[half:] - difference[: n - half]))
    value = float(difference[start : start + half + 1].mean())
    width = max(float(difference[start + half] - difference[start]), 1e-6)
    for _ in range(20):
        z = (difference - value) / (1.5 * width)
        weight = np.where(np.abs(z) < 1, (1 - z**2) ** 2, 0)
        value = float((weight * difference).sum() / weight.sum())
    return Gain(value_db=value, spread_db=width / 1.349, measurable=True)


def _smooth(difference: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Mean over 5 x 5 valid cells, less on small frames: events are connected, noise is not."""
    size = int(np.clip(min(valid.shape) // 5, 1, 5)) | 1
    share = uniform_filter(valid.astype(np.float64), size)
    total = uniform_filter(np.where(valid, difference, 0).astype(np.float64), size)
    smooth: np.ndarray = np.divide(total, share, out=np.zeros_like(total), where=valid)
    return smooth


def _search(
    reference: np.ndarray,
    moving: np.ndarray,
    seen: np.ndarray,
    *,
    max_px: int,
    upsample: int,
    significant: float,
) -> tuple[float, float] | None:
    """Peak of the correlation, then three times more with the moving image's taper moved along.

    Two images cut by one fixed taper look less shifted than they are.
    """
    window = _window(seen, (0.0, 0.0))
    one, other = _clipped(reference, seen), _clipped(moving, seen)
    a = _tapered(one, seen, window)
    spectrum = _cross_spectrum(a, _tapered(other, seen, window))
    if not np.abs(spectrum).max() > 0:
        return None
    found = _peak(spectrum, window, max_px=max_px, significant=significant)
    for _ in range(3):
        if found is None or np.abs(found).max() >= max_px:
            return None
        b = _tapered(other, seen, _window(seen, found))
        spectrum = _likely_spectrum(a, b, found)
        for step in (1 / upsample, 0.1 / upsample):
            found = _refine(spectrum, seen.shape, found, step)
    return found


def _window(seen: np.ndarray, shift_px: tuple[float, float]) -> np.ndarray:
    """A Hann taper, moved by `shift_px`, that also fades out where pixels are missing."""
    rows, cols = (
        np.clip((np.arange(n) + 1 - by) / (n + 1), 0, 1) for n, by in zip(seen.shape, shift_px, strict=True)
    )
    hann = np.sin(np.pi * rows)[:, None] ** 2 * np.sin(np.pi * cols)[None, :] ** 2
    if seen.all():
        return hann
    fade: np.ndarray = np.where(seen, uniform_filter(seen.astype(np.float64), 7), 0)
    return hann * fade


def _clipped(image: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Around the median, bright targets held to 4 robust deviations, 0 where not seen."""
    values = image[seen].astype(np.float64)
    middle = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    return np.where(seen, np.clip(image - middle, -4 * spread, 4 * spread), 0.0)


def _tapered(clipped: np.ndarray, seen: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Zero mean under the window, tapered."""
    mean = float((clipped * window).sum() / window.sum())
    return np.where(seen, clipped - mean, 0.0) * window


def _cross_spectrum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Band-limited, partly whitened cross-spectrum (y, x // 2 + 1)."""
    cross = np.conj(fft.rfft2(a)) * fft.rfft2(b)
    f = np.hypot(fft.fftfreq(a.shape[0])[:, None], fft.rfftfreq(a.shape[1])[None, :])
    band = np.exp(-0.5 * (f / _HIGH) ** 2) * (1 - np.exp(-0.5 * (f / _LOW) ** 2))
    size = np.abs(cross)
    return cross * band / np.maximum(size, 1e-9 * size.max() + 1e-300) ** _WHITEN


def _likely_spectrum(a: np.ndarray, b: np.ndarray, shift_px: tuple[float, float]) -> np.ndarray:
    """Cross-spectrum weighted by what each frequency ring knows (Hannan and Thomson, 1973).

    With coherence c of a ring once `shift_px` is taken out, its weight is c^2 / (1 - c^2) over its power.
    """
    fa, fb = fft.rfft2(a), fft.rfft2(b)
    cross = np.conj(fa) * fb
    fy, fx = fft.fftfreq(a.shape[0])[:, None], fft.rfftfreq(a.shape[1])[None, :]
    f = np.hypot(fy, fx)
    ring = np.minimum((f * min(a.shape) / 2).astype(np.int64), min(a.shape) // 4)
    level = np.exp(2j * np.pi * (fy * shift_px[0] + fx * shift_px[1])) * cross
    mean = [np.bincount(ring.ravel(), v.ravel()) for v in (level.real, np.abs(fa) ** 2, np.abs(fb) ** 2)]
    power = np.sqrt(mean[1] * mean[2]) + 1e-300
    coherence = np.clip(mean[0] / power, 0, 0.99)
    weight = coherence**2 / (1 - coherence**2) / power * np.bincount(ring.ravel())
    weight[0] *= 0.5
    return cross * weight[ring] * (f < 0.4)


def _peak(
    spectrum: np.ndarray, window: np.ndarray, *, max_px: int, significant: float
) -> tuple[float, float] | None:
    """Whole-pixel (dy, dx) of the highest correlation within `max_px`, or None when it does not stand out.

    The noise at a lag goes with what the two tapers still share there, so it is divided out first.
    """
    shape = window.shape
    shared = fft.irfft2(np.abs(fft.rfft2(window**2)) ** 2, s=shape)
    shared /= shared[0, 0]
    surface = fft.irfft2(spectrum, s=shape) / np.sqrt(np.maximum(shared, 0.02))
    lags = np.arange(-max_px, max_px + 1)
    search = np.ix_(lags % shape[0], lags % shape[1])
    near = surface[search]
    away = shared > 0.05
    away[search] = False
    noise = float(np.sqrt(np.mean(surface[away] ** 2))) if away.any() else np.inf
    row, col = np.unravel_index(int(near.argmax()), near.shape)
    if not near[row, col] > significant * noise or {int(row), int(col)} & {0, 2 * max_px}:
        return None
    return float(lags[row]), float(lags[col])


def _refine(
    spectrum: np.ndarray, shape: tuple[int, int], at: tuple[float, float], step: float
) -> tuple[float, float]:
    """The highest point of the correlation on a fine grid around `at`, by direct Fourier sums."""
    near = np.arange(-20, 21) * step
    rows, cols = at[0] + near, at[1] + near
    weight = np.full(spectrum.shape[1], 2.0)
    weight[0] = 1.0
    left = np.exp(2j * np.pi * rows[:, None] * fft.fftfreq(shape[0])[None, :])
    right = np.exp(2j * np.pi * fft.rfftfreq(shape[1])[:, None] * cols[None, :]) * weight[:, None]
    fine = (left @ spectrum @ right).real
    row, col = np.unravel_index(int(fine.argmax()), fine.shape)
    return float(rows[row]), float(cols[col])


def _correlation(
    reference: np.ndarray, moving: np.ndarray, seen: np.ndarray, shift_px: tuple[float, float]
) -> float:
    """Pearson's correlation of smoothed images over the inside, with `shift_px` taken out of `moving`."""
    margin = 10
    inside = np.zeros(seen.shape, dtype=bool)
    inside[margin:-margin, margin:-margin] = True
    inside &= uniform_filter(seen.astype(np.float64), 2 * margin + 1, mode="nearest") > 0.999
    if inside.sum() < 64:
        return 0.0
    a = uniform_filter(np.where(seen, reference, reference[seen].mean()).astype(np.float64), 3)
    b = uniform_filter(np.where(seen, moving, moving[seen].mean()).astype(np.float64), 3)
    b = _sample(b, shift_px)
    a, b = a[inside] - a[inside].mean(), b[inside] - b[inside].mean()
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / size) if size > 0 else 0.0


def _sample(image: np.ndarray, shift_px: tuple[float, float]) -> np.ndarray:
    from scipy.ndimage import shift

    if shift_px == (0.0, 0.0):
        return image
    return shift(image, (-shift_px[0], -shift_px[1]), order=3, mode="nearest")
