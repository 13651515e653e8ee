"""Two SLC images of one geometry brought together: shifted to a fraction of a pixel, and flattened.

A pixel of misregistration leaves nothing but the noise floor of the coherence, and a ramp of fringes lowers
it. So: whole pixels by amplitude correlation; the fraction where the complex correlation of small patches is
highest; the ramp at the peak of the interferogram's spectrum; and a refusal where the result is no more
coherent than the same images laid apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

from sarcast.errors import DataError, SettingsError, ShapeError
from sarcast.sar.coherence import coherence
from sarcast.sar.coregister import estimate_shift
from sarcast.sar.resample_slc import carrier_phase, resample

_PATCH_PX = 32
_PATCHES = 1024
"""At most so many are looked at, spread over the image."""
_AMPLITUDE_PX = 2048
"""Side of the part of the image that whole pixels are looked for in."""
_AMPLITUDE_PARTS = 8
"""At most so many, besides the middle, until one has texture."""
_SEARCH_PX = 4096
"""Side of the middle of the image that one shift for all of it is found in."""
_REACH_PX = 1.5
"""Around the whole-pixel shift."""
_BLOCK_PX = 256
"""Of the interferogram's spectrum."""
_STANDS_OUT = 20.0
"""The ramp's peak over the mean of the spectrum, in its standard deviations."""
_FLOOR_PX = 24
"""How far apart the images are laid for the noise floor, at least."""
_ABOVE_FLOOR = 6.0
"""Standard deviations of the noise floor."""
_TILES = 4
"""Along each side, per degree of the fitted polynomial and one."""


_CORNERS = ((np.floor, np.floor), (np.floor, np.ceil), (np.ceil, np.floor), (np.ceil, np.ceil))


@dataclass(frozen=True, kw_only=True, eq=False)
class Registered:
    """The second image on the first one's grid."""

    samples: np.ndarray
    """complex64 (y, x), flattened; 0 where not valid."""
    valid: np.ndarray
    """bool (y, x), measured in both."""
    shift_px: tuple[float, float]
    """(dy, dx) at the middle of the image: moving(y, x) looked like reference(y - dy, x - dx)."""
    ramp: tuple[float, float]
    """Fringes taken out, cycles per pixel along (y, x)."""
    coherence: float
    """Mean of the estimate after it."""
    coherence_before: float
    """The same of the images as they came."""
    floor: float
    """The same with the registered images laid apart."""


def coregister_pair(
    reference: np.ndarray,
    moving: np.ndarray,
    valid: np.ndarray | None = None,
    *,
    window: tuple[int, int] = (5, 5),
    max_px: int = 16,
    degree: int = 0,
) -> Registered:
    """Shift and flatten `moving` onto `reference`.

    Args:
        reference: complex (y, x). Samples that are 0 or not finite are not measured.
        moving: complex (y, x), the same geometry, up to `max_px` aside.
        valid: bool (y, x), both may be used; None: everywhere.
        window: Of the coherence that is reported and judged.
        max_px: Largest shift looked for, pixels.
        degree: 0: one shift; 1 or 2: shifts of tiles, fitted by a polynomial of that degree.

    Returns:
        The registered image and what was done.

    Raises:
        DataError: The shift is not measurable, or the pair is not coherent once it is taken out.
        ShapeError: Shapes differ.
        SettingsError: `degree` is not 0, 1 or 2.
    """
    if reference.shape != moving.shape or reference.ndim != 2:
        raise ShapeError(f"expected two images of one shape, found {reference.shape} and {moving.shape}")
    if degree not in (0, 1, 2):
        raise SettingsError(f"expected degree 0, 1 or 2, found {degree}")
    given = np.ones(reference.shape, bool) if valid is None else valid
    one, other = (_measured(image, given) for image in (reference, moving))
    before = _mean_coherence(one, other, window)
    whole = _whole_shift(one, other, max_px)
    shift = _search(one, other, whole, degree=degree)
    carrier = carrier_phase(other, axis=0), carrier_phase(other, axis=1)
    moved = resample(other, shift, carrier=carrier)
    ramp = _ramp(one, moved)
    moved = flatten(moved, ramp)
    seen = (one != 0) & _seen_after(other != 0, shift)
    moved[~seen] = 0
    after, floor = _mean_coherence(one, moved, window), _floor(one, moved, window)
    if not after > floor[0] + _ABOVE_FLOOR * floor[1]:
        raise DataError(
            f"expected a pair more coherent than noise ({floor[0]:.3f} +- {floor[1]:.3f} laid apart), "
            f"found {after:.3f} after co-registration"
        )
    middle = tuple(float(np.mean(part)) for part in shift)
    return Registered(
        samples=moved,
        valid=seen,
        shift_px=(middle[0], middle[1]),
        ramp=ramp,
        coherence=after,
        coherence_before=before,
        floor=floor[0],
    )


def flatten(image: np.ndarray, ramp: tuple[float, float]) -> np.ndarray:
    """The image times exp(2 pi j (ramp_y y + ramp_x x)): complex64 (y, x); `ramp` in cycles per pixel."""
    rows, cols = (np.exp(2j * np.pi * f * np.arange(n)) for f, n in zip(ramp, image.shape, strict=True))
    flat = image * rows[:, None].astype(np.complex64)
    flat *= cols.astype(np.complex64)
    return np.asarray(flat, np.complex64)


def _measured(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """complex64, 0 where not measured; the image itself where it already is that."""
    seen = np.isfinite(image)
    seen &= valid
    if seen.all() and image.dtype == np.complex64:
        return image
    return np.where(seen, image, 0).astype(np.complex64, copy=False)


def _mean_coherence(a: np.ndarray, b: np.ndarray, window: tuple[int, int]) -> float:
    """Mean over windows that do not overlap."""
    found, enough = coherence(a, b, window=window, step=window)
    return float(found[enough].mean()) if enough.any() else 0.0


def _whole_shift(reference: np.ndarray, moving: np.ndarray, max_px: int) -> tuple[int, int]:
    """By correlation of the log-amplitudes, in the middle of the image or else in another part of it."""
    side = min(_AMPLITUDE_PX, reference.shape[0]), min(_AMPLITUDE_PX, reference.shape[1])
    boxes = _spread(reference.shape, side, _AMPLITUDE_PARTS)
    middle = [slice((n - s) // 2, (n + s) // 2) for n, s in zip(reference.shape, side, strict=True)]
    for box in ((middle[0], middle[1]), *boxes):
        one, other = reference[box], moving[box]
        seen = (one != 0) & (other != 0)
        logs = [
            np.log(np.abs(part), out=np.zeros(part.shape, np.float32), where=seen) for part in (one, other)
        ]
        found = estimate_shift(logs[0], logs[1], seen, max_px=max_px)
        if found.measurable:
            return round(found.dy), round(found.dx)
    raise DataError(
        f"expected texture that shows the shift of the pair, within {max_px} px, found none that "
        f"stands out of the noise, in {reference.shape[0]} x {reference.shape[1]} px"
    )


def _laid(moving: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
    """With a shift of whole pixels taken out; 0 where nothing is left."""
    out = np.zeros_like(moving)
    target, source = zip(*(_overlap(n, by) for n, by in zip(moving.shape, shift, strict=True)), strict=True)
    out[target] = moving[source]
    return out


def _overlap(n: int, by: int) -> tuple[slice, slice]:
    return slice(max(0, -by), min(n, n - by)), slice(max(0, by), min(n, n + by))


def _ramp(reference: np.ndarray, laid: np.ndarray) -> tuple[float, float]:
    """Frequency of the fringes reference / laid, cycles per pixel (y, x); 0 where none stands out.

    The power spectra of blocks of the interferogram's phase are added, so that fringes may wander slowly.
    """
    side = tuple(min(_BLOCK_PX, n) for n in reference.shape)
    total, blocks = np.zeros(side), 0
    for box in _spread(reference.shape, side, 64):
        cross = reference[box] * np.conj(laid[box])
        size = np.abs(cross)
        phase = np.divide(cross, size, out=np.zeros_like(cross), where=size > 0)
        total += np.abs(fft.fft2(phase)) ** 2
        blocks += 1
    peak = np.unravel_index(int(total.argmax()), side)
    if not total.max() > total.mean() + _STANDS_OUT * total.std() / np.sqrt(blocks):
        return 0.0, 0.0
    rows, cols = (_vertex(np.sqrt(np.take(total, peak[1 - i], axis=1 - i)), int(peak[i])) for i in (0, 1))
    return rows, cols


def _vertex(line: np.ndarray, at: int) -> float:
    """Frequency in cycles per sample of a spectral peak, between bins by its two neighbours' balance."""
    n = len(line)
    before, here, after = line[(at - 1) % n], line[at], line[(at + 1) % n]
    off = after / (here + after) if after > before else -before / (here + before)
    frequency = (at + off) / n
    return float(frequency - np.round(frequency))


def _spread(shape: tuple[int, ...], side: tuple[int, ...], most: int) -> list[tuple[slice, slice]]:
    """Boxes of `side` that tile the image, at most `most`, evenly taken."""
    starts = [range(0, n - s + 1, s) for n, s in zip(shape, side, strict=True)]
    boxes = [(slice(y, y + side[0]), slice(x, x + side[1])) for y in starts[0] for x in starts[1]]
    return [boxes[i] for i in np.unique(np.linspace(0, len(boxes) - 1, min(most, len(boxes))).astype(int))]


# --- the fraction of a pixel ---------------------------------------------------------------------------


def _search(
    reference: np.ndarray, moving: np.ndarray, whole: tuple[int, int], *, degree: int
) -> tuple[float | np.ndarray, float | np.ndarray]:
    """The whole shift, then thrice nearer by coherence; the last time tile by tile if asked.

    Each time the moving image is resampled anew from its own samples, so that what is left is small and the
    patches' circular shift does no harm.
    """
    if degree == 0:
        middle = [slice(max(0, (n - _SEARCH_PX) // 2), (n + _SEARCH_PX) // 2) for n in reference.shape]
        reference, moving = reference[middle[0], middle[1]], moving[middle[0], middle[1]]
    dy, dx = float(whole[0]), float(whole[1])
    carrier = carrier_phase(moving, axis=0), carrier_phase(moving, axis=1)
    down = [np.exp(-1j * carrier_phase(reference, axis=i)).astype(np.complex64) for i in (0, 1)]
    base = down[0][:, None], down[1]
    one = reference * base[0] * base[1]
    for _ in range(2):
        other = _flat(reference, resample(moving, (dy, dx), carrier=carrier)) * base[0] * base[1]
        more = _best(one, other, _spread(one.shape, _patch(one.shape), _PATCHES))
        dy, dx = dy + more[0], dx + more[1]
    if degree == 0:
        return dy, dx
    other = _flat(reference, resample(moving, (dy, dx), carrier=carrier)) * base[0] * base[1]
    rows, cols = _tile_shifts(one, other, degree)
    return dy + rows, dx + cols


def _flat(reference: np.ndarray, moved: np.ndarray) -> np.ndarray:
    return flatten(moved, _ramp(reference, moved))


def _tile_shifts(one: np.ndarray, other: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Maps (y, x) of the shift that is left in each tile, as polynomials."""
    count = _TILES * (degree + 1)
    side = tuple(max(_PATCH_PX, n // count) for n in one.shape)
    tiles = _spread(one.shape, side, count**2)
    found = np.array([_best(one[box], other[box], _spread(side, _patch(side), 64)) for box in tiles])
    centres = np.array([[(part.start + part.stop - 1) / 2 for part in box] for box in tiles])
    if (found[:, 2] > 0).sum() < 2 * (degree + 1) * (degree + 2):
        raise DataError(f"expected tiles enough for shifts of degree {degree}, found {len(tiles)}")
    rows, cols = (_polynomial(centres, found[:, i], found[:, 2], one.shape, degree) for i in (0, 1))
    return rows, cols


def _patch(shape: tuple[int, ...]) -> tuple[int, int]:
    return min(_PATCH_PX, shape[0]), min(_PATCH_PX, shape[1])


def _best(one: np.ndarray, other: np.ndarray, boxes: list[tuple[slice, slice]]) -> tuple[float, float, float]:
    """(dy, dx) within 1.5 px, by which `other` is moved, of the highest summed |complex correlation|^2.

    The third is that correlation as a share of the whole power, in [0, 1].
    """
    pairs = [
        (one[box], other[box]) for box in boxes if (one[box] != 0).mean() > 0.5 < (other[box] != 0).mean()
    ]
    if not pairs:
        return 0.0, 0.0, 0.0
    power = np.array([np.vdot(a, a).real * np.vdot(b, b).real for a, b in pairs])
    spectra = np.stack([fft.fft2(b) * np.conj(fft.fft2(a)) for a, b in pairs])
    spectra /= np.sqrt(np.maximum(power, 1e-30))[:, None, None] * spectra[0].size
    at = np.zeros(2)
    for reach, step in ((_REACH_PX, 0.125), (0.125, 1 / 64)):
        near = np.arange(-reach, reach + step / 2, step)
        surface = _surface(spectra, at[0] + near, at[1] + near)
        row, col = np.unravel_index(int(surface.argmax()), surface.shape)
        at = at + np.array([near[row], near[col]])
    return float(at[0]), float(at[1]), float(surface.max())


def _surface(spectra: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Mean over patches of |correlation|^2 at each (dy, dx), by direct Fourier sums."""
    fy, fx = (fft.fftfreq(n) for n in spectra.shape[1:])
    left = np.exp(2j * np.pi * rows[:, None] * fy)
    right = np.exp(2j * np.pi * fx[:, None] * cols)
    total = np.zeros((len(rows), len(cols)))
    for start in range(0, len(spectra), 64):
        total += (np.abs(left @ spectra[start : start + 64] @ right) ** 2).sum(axis=0)
    return total / len(spectra)


def _polynomial(
    centres: np.ndarray, values: np.ndarray, weights: np.ndarray, shape: tuple[int, ...], degree: int
) -> np.ndarray:
    """A polynomial (y, x) through tile values, weighted, far ones left out thrice over."""
    scale = np.array(shape) / 2
    design = _terms(centres[:, 0] / scale[0] - 1, centres[:, 1] / scale[1] - 1, degree)
    keep = weights > 0.25 * weights.max()
    for _ in range(3):
        root = np.sqrt(weights[keep])
        fit = np.linalg.lstsq(design[keep] * root[:, None], values[keep] * root, rcond=None)[0]
        off = np.abs(design @ fit - values)
        keep &= off <= 3 * 1.4826 * np.median(off[keep]) + 0.02
    rows, cols = (np.arange(n) / s - 1 for n, s in zip(shape, scale, strict=True))
    return np.asarray(_terms(rows[:, None], cols[None, :], degree) @ fit)


def _terms(y: np.ndarray, x: np.ndarray, degree: int) -> np.ndarray:
    powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    return np.stack(
        [np.broadcast_to(y**i * x**j, np.broadcast_shapes(y.shape, x.shape)) for i, j in powers], axis=-1
    )


# --- what is left --------------------------------------------------------------------------------------


def _seen_after(seen: np.ndarray, shift: tuple[float | np.ndarray, float | np.ndarray]) -> np.ndarray:
    """Where all neighbours of every resampled place were measured."""
    after = np.ones(seen.shape, bool)
    if all(np.ndim(part) == 0 for part in shift):
        for ups in _CORNERS:
            at = [int(up(part)) for up, part in zip(ups, shift, strict=True)]
            after &= _laid(seen, (at[0], at[1]))
        return after
    cols = np.arange(seen.shape[1])
    for row in range(len(seen)):
        dy, dx = (np.broadcast_to(part, seen.shape)[row] for part in shift)
        for up, across in _CORNERS:
            y, x = up(row + dy).astype(np.int64), across(cols + dx).astype(np.int64)
            inside = (y >= 0) & (y < seen.shape[0]) & (x >= 0) & (x < seen.shape[1])
            after[row] &= inside & seen[np.clip(y, 0, len(seen) - 1), np.clip(x, 0, len(cols) - 1)]
    return after


def _floor(a: np.ndarray, b: np.ndarray, window: tuple[int, int]) -> tuple[float, float]:
    """Mean and standard deviation of the mean coherence of images laid apart, in sixteen directions."""
    reach = [max(_FLOOR_PX if n > 3 * _FLOOR_PX else n // 3, 1) for n in a.shape]
    found = []
    for i in range(16):
        turn = 2 * np.pi * i / 16
        by = (round(reach[0] * np.sin(turn)), round(reach[1] * np.cos(turn)))
        found.append(_mean_coherence(a, _laid(b, by), window))
    return float(np.mean(found)), float(np.std(found, ddof=1))
