"""How alike two complex images are: |<a b*>| / sqrt(<|a|^2> <|b|^2>) over a moving window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from sarcast.errors import SettingsError, ShapeError

_STRIP_BYTES = 2**18
"""Of one float32 array of a strip: a handful of them stay in the processor's cache."""
_LEAST_SHARE = 0.5
"""Of a whole window's pixels: fewer measured ones and there is no estimate."""


def coherence(
    a: np.ndarray,
    b: np.ndarray,
    *,
    window: tuple[int, int] = (5, 5),
    valid: np.ndarray | None = None,
    step: tuple[int, int] = (1, 1),
) -> tuple[np.ndarray, np.ndarray]:
    """Magnitude of the complex correlation of two co-registered SLC images.

    A pixel counts where both samples are finite and not exactly 0 (what fills the margins of an SLC) and
    `valid` is True; all others weigh nothing, and so does what lies outside the image. The estimate is biased
    upwards by few looks: see `coherence_statistics`. Sums are taken by doubling, strip by strip, in float32:
    nothing is subtracted, so a bright target leaves no rounding error behind it.

    Args:
        a: complex (y, x).
        b: complex (y, x), the same ground; flattened, or the fringes of a ramp lower the estimate.
        window: Odd (rows, cols) of the moving window.
        valid: bool (y, x), measured in both; None: everywhere.
        step: Rows and columns between estimates; the first is centred on pixel (step - 1) // 2.

    Returns:
        (coherence, valid): float32 in [0, 1] and bool (ceil(y / step), ceil(x / step)), less where the last
        centre would lie outside; coherence is 0 where not valid. An estimate is valid where at least half
        of the window is.

    Raises:
        ShapeError: Shapes differ, or images are not complex (y, x).
        SettingsError: `window` is even or under 1, or `step` under 1.
    """
    _check(a, b, valid, window, step)
    rows, cols = _centres(a.shape, step)
    found = np.empty((len(rows), len(cols)), np.float32)
    enough = np.empty(found.shape, bool)
    per_strip = max(1, _STRIP_BYTES // (4 * a.shape[1] * step[0]))
    strips = _Strips(a, b, valid, window, cols, _Scratch())
    for start in range(0, len(rows), per_strip):
        out = slice(start, min(start + per_strip, len(rows)))
        strips.fill(rows[out], found[out], enough[out])
    return found, enough


def _check(
    a: np.ndarray,
    b: np.ndarray,
    valid: np.ndarray | None,
    window: tuple[int, int],
    step: tuple[int, int],
) -> None:
    if a.ndim != 2 or a.shape != b.shape or (valid is not None and valid.shape != a.shape):
        found = (a.shape, b.shape, None if valid is None else valid.shape)
        raise ShapeError(f"expected two images and a mask of one shape (y, x), found {found}")
    if not (np.iscomplexobj(a) and np.iscomplexobj(b)):
        raise ShapeError(f"expected complex images, found {a.dtype} and {b.dtype}")
    if min(window) < 1 or any(side % 2 == 0 for side in window) or min(step) < 1:
        raise SettingsError(f"need an odd window and step >= 1, got window={window}, step={step}")


def _centres(shape: tuple[int, ...], step: tuple[int, int]) -> tuple[range, range]:
    rows, cols = (range((s - 1) // 2, n, s) for n, s in zip(shape, step, strict=True))
    return rows, cols


class _Scratch:
    """Arrays that every strip uses again: memory given back and asked for anew is paged in anew."""

    def __init__(self) -> None:
        self._held: dict[str, np.ndarray] = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        """An array of that shape, whatever in it; the one of that name before it is overwritten."""
        size = shape[0] * shape[1]
        if name not in self._held or len(self._held[name]) < size:
            self._held[name] = np.empty(size, dtype)
        return self._held[name][:size].reshape(shape)


@dataclass(frozen=True)
class _Strips:
    """The images, and which windows are asked for."""

    a: np.ndarray
    b: np.ndarray
    valid: np.ndarray | None
    window: tuple[int, int]
    cols: range
    scratch: _Scratch

    def fill(self, rows: range, found: np.ndarray, enough: np.ndarray) -> None:
        """Estimates centred on `rows`, from the pixels their windows reach."""
        cross, power, other_power, count = self._sums(rows)
        np.greater_equal(count, _LEAST_SHARE * self.window[0] * self.window[1], out=enough)
        size = np.sqrt(power, out=power)
        size *= np.sqrt(other_power, out=other_power)
        measured = np.greater(size, 0, out=self.scratch("some", size.shape, bool))
        measured &= enough
        np.abs(cross, out=found)
        np.divide(found, size, out=found, where=measured)
        np.copyto(found, 0, where=np.logical_not(measured, out=measured))
        np.minimum(found, 1, out=found)

    def _sums(self, rows: range) -> list[np.ndarray]:
        """Window sums of the cross product, the powers and the count; outside the image all are 0."""
        half = self.window[0] // 2, self.window[1] // 2
        first, last = rows[0] - half[0], rows[-1] + half[0] + 1
        inside = slice(max(first, 0), min(last, len(self.a)))
        valid = None if self.valid is None else self.valid[inside]
        parts = _parts(self.a[inside], self.b[inside], valid, self.scratch)
        cols = slice(self.cols.start, self.cols.stop, self.cols.step)
        sums = []
        for name, part in parts.items():
            shape = (last - first, part.shape[1] + 2 * half[1])
            grown = self.scratch(f"grown {part.dtype}", shape, part.dtype)
            grown[...] = 0
            at = inside.start - first, half[1]
            grown[at[0] : at[0] + len(part), at[1] : at[1] + part.shape[1]] = part
            down = _runs(grown, self.window[0], 0, name, self.scratch)[:: rows.step]
            sums.append(_runs(down, self.window[1], 1, name, self.scratch)[:, cols])
        return sums


def _parts(
    a: np.ndarray, b: np.ndarray, valid: np.ndarray | None, scratch: _Scratch
) -> dict[str, np.ndarray]:
    """Cross product, both powers and the count (1 or 0) of every pixel: all 0 where it was not measured."""
    one, other = (np.asarray(image, np.complex64) for image in (a, b))
    cross = scratch("cross", a.shape, np.complex64)
    with np.errstate(invalid="ignore", over="ignore"):
        np.conjugate(other, out=cross)
        cross *= one
        powers = [_power(image, name, scratch) for image, name in ((one, "power"), (other, "other"))]
        seen, some = scratch("seen", a.shape, bool), scratch("some", a.shape, bool)
        np.greater(powers[0], 0, out=seen)
        for power in powers:
            seen &= np.greater(power, 0, out=some)
            seen &= np.less(power, np.inf, out=some)
    if valid is not None:
        seen &= valid
    count = scratch("count", a.shape, np.float32)
    count[...] = seen
    if not seen.all():
        missed = np.logical_not(seen, out=seen)
        for part in (cross, *powers):
            np.copyto(part, 0, where=missed)
    return {"cross": cross, "power": powers[0], "other": powers[1], "count": count}


def _power(image: np.ndarray, name: str, scratch: _Scratch) -> np.ndarray:
    power = np.square(image.real, out=scratch(name, image.shape, np.float32))
    power += np.square(image.imag, out=scratch("square", image.shape, np.float32))
    return power


def _runs(part: np.ndarray, size: int, axis: int, name: str, scratch: _Scratch) -> np.ndarray:
    """Sums of `size` neighbours along an axis, from sums of 1, 2, 4 ... neighbours."""
    length = part.shape[axis] - size + 1
    total: np.ndarray | None = None
    run, width, done = part, 1, 0
    while True:
        if size & width:
            piece = _cut(run, axis, done, length)
            if total is None:
                total = scratch(f"total {axis} {name}", piece.shape, part.dtype)
                np.copyto(total, piece)
            else:
                total += piece
            done += width
        if 2 * width > size:
            assert total is not None
            return total
        left, right = (_cut(run, axis, at, run.shape[axis] - width) for at in (0, width))
        run = np.add(left, right, out=scratch(f"run {width} {axis} {part.dtype}", left.shape, part.dtype))
        width *= 2


def _cut(part: np.ndarray, axis: int, start: int, length: int) -> np.ndarray:
    return part[start : start + length] if axis == 0 else part[:, start : start + length]
