"""A complex image between its pixels: band-limited, about the frequency its spectrum really is centred on.

An SLC is not low-pass: squint, the Doppler of a steered beam (TOPS) and a range offset put its spectrum
around a carrier that may drift along the image. Each axis is brought to base band with the carrier's own
phase, resampled, and given back the phase the carrier has at the new places.
"""

from __future__ import annotations

import numpy as np
from scipy import fft
from scipy.ndimage import uniform_filter1d

from sarcast.errors import ShapeError

_SMOOTH_PX = 33
"""Over which the carrier's frequency is averaged."""
_LEAST_CORRELATION = 0.1
"""Of neighbouring samples: below it the spectrum has no centre worth the name, and the carrier is 0."""
_TAPS = 16
_KAISER = 5.0
_MARGIN_PX = 16
"""Of zeros around what is shifted by a Fourier transform, so that its ends do not meet."""
_STRIP_BYTES = 2**23


def carrier_phase(image: np.ndarray, *, axis: int) -> np.ndarray:
    """Phase of the local carrier along one axis, radians: float64 (n,), 0 at the first sample.

    The frequency is that of the correlation of neighbours (pulse-pair; Madsen, 1989), averaged across the
    image and over 33 samples along it.

    Args:
        image: complex (y, x); 0 where not measured.
        axis: 0 or 1.
    """
    first, second = (image[:-1], image[1:]) if axis == 0 else (image[:, :-1], image[:, 1:])
    pairs = np.sum(second * np.conj(first), axis=1 - axis, dtype=np.complex128)
    power = np.sum(np.abs(image) ** 2, dtype=np.float64)
    smooth = uniform_filter1d(pairs.real, _SMOOTH_PX) + 1j * uniform_filter1d(pairs.imag, _SMOOTH_PX)
    if not np.abs(smooth).sum() > _LEAST_CORRELATION * power:
        return np.zeros(image.shape[axis])
    return np.concatenate([[0.0], np.cumsum(np.unwrap(np.angle(smooth)))])


def resample(
    image: np.ndarray,
    shift_px: tuple[float | np.ndarray, float | np.ndarray],
    *,
    carrier: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """The image at (y + dy, x + dx): complex64 (y, x), 0 where that lies outside.

    A shift that is the same everywhere is the Fourier shift, exact for what the samples hold; one that varies
    is interpolated by a Kaiser-windowed sinc of 16 samples, first along x, then along y.

    Args:
        image: complex (y, x); 0 where not measured.
        shift_px: (dy, dx) in pixels, each a number or float (y, x) that changes slowly.
        carrier: Phase along y and x (`carrier_phase`), radians, of the image as it is.

    Raises:
        ShapeError: A shift or a carrier does not fit the image.
    """
    for phase, side in zip(carrier, image.shape, strict=True):
        if phase.shape != (side,):
            raise ShapeError(f"expected a carrier of {side} samples, found {phase.shape}")
    if any(np.ndim(shift) not in (0, 2) for shift in shift_px):
        raise ShapeError("expected a shift that is one number or a map (y, x)")
    found = np.asarray(image, np.complex64)
    for axis in (1, 0):
        shift = shift_px[axis]
        if np.ndim(shift) == 2:
            found = _along(found, np.asarray(shift), carrier[axis], axis)
        elif shift != 0:
            found = _shifted(found, float(shift), carrier[axis], axis)
    return found


def _shifted(image: np.ndarray, by: float, phase: np.ndarray, axis: int) -> np.ndarray:
    """Shifted along one axis by whole samples, then by a Fourier transform, some lines at a time."""
    whole = round(by)
    n = image.shape[axis]
    size = fft.next_fast_len(n + 2 * _MARGIN_PX)
    turn = np.exp(2j * np.pi * fft.fftfreq(size) * (by - whole)).astype(np.complex64)
    at = np.arange(n)
    down = np.exp(-1j * phase).astype(np.complex64)
    up = np.exp(1j * np.interp(at + by, at, phase)).astype(np.complex64)
    out = np.zeros_like(image)
    source, target = image if axis == 1 else image.T, out if axis == 1 else out.T
    step = max(1, _STRIP_BYTES // (8 * size))
    kept = slice(max(0, -whole), min(n, n - whole))
    for start in range(0, len(source), step):
        lines = slice(start, start + step)
        base = source[lines] * down
        if by != whole:
            base = fft.ifft(fft.fft(base, size, axis=1) * turn, axis=1)[:, :n]
        target[lines, kept] = base[:, max(0, whole) : min(n, n + whole)]
        target[lines] *= up
    return out


def _along(image: np.ndarray, by: np.ndarray, phase: np.ndarray, axis: int) -> np.ndarray:
    """Interpolated along one axis at places that differ from line to line."""
    if axis == 0:
        return _along(image.T, by.T, phase, 1).T
    rows, n = image.shape
    at = np.arange(n)
    out = np.empty_like(image)
    down = np.exp(-1j * phase).astype(np.complex64)
    step = max(1, _STRIP_BYTES // (8 * n))
    for start in range(0, rows, step):
        lines = slice(start, min(start + step, rows))
        place = at + by[lines]
        first = np.floor(place).astype(np.int64)
        base = image[lines] * down
        total = np.zeros(place.shape, np.complex64)
        for tap in range(1 - _TAPS // 2, _TAPS // 2 + 1):
            index = first + tap
            sample = np.take_along_axis(base, np.clip(index, 0, n - 1), axis=1)
            weight = _kernel(place - index) * ((index >= 0) & (index < n))
            total += sample * weight.astype(np.float32)
        inside = (place >= 0) & (place <= n - 1)
        out[lines] = np.where(inside, total * np.exp(1j * np.interp(place, at, phase)), 0)
    return out


def _kernel(distance: np.ndarray) -> np.ndarray:
    """Sinc under a Kaiser window, at most half of the taps away."""
    inside = np.clip(1 - (2 * distance / _TAPS) ** 2, 0, None)
    return np.sinc(distance) * np.i0(_KAISER * np.sqrt(inside)) / np.i0(_KAISER)
