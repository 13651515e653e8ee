"""How alike two complex images are: |<a b*>| / sqrt(<|a|^2> <|b|^2>) over a moving window."""

from __future__ import annotations

import numpy as np

from sarcast.errors import SettingsError, ShapeError

_STRIP_BYTES = 2**17
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
    found = np.zeros((len(rows), len(cols)), np.float32)
    enough = np.zeros(found.shape, bool)
    per_strip = max(1, _STRIP_BYTES // (4 * a.shape[1] * step[0]))
    for start in range(0, len(rows), per_strip):
        out = slice(start, min(start + per_strip, len(rows)))
        _strip(a, b, valid, rows[out], cols, window, found[out], enough[out])
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


def _strip(
    a: np.ndarray,
    b: np.ndarray,
    valid: np.ndarray | None,
    rows: range,
    cols: range,
    window: tuple[int, int],
    found: np.ndarray,
    enough: np.ndarray,
) -> None:
    """Fill the estimates centred on `rows`, from the pixels their windows reach."""
    half = window[0] // 2
    first, last = rows[0] - half, rows[-1] + half + 1
    inside = slice(max(first, 0), min(last, len(a)))
    pad = (inside.start - first, last - inside.stop)
    one, other = (np.asarray(image[inside], np.complex64) for image in (a, b))
    power, other_power = _power(one), _power(other)
    seen = (power > 0) & (other_power > 0) & (power < np.inf) & (other_power < np.inf)
    if valid is not None:
        seen &= valid[inside]
    cross = np.conj(other)
    with np.errstate(invalid="ignore", over="ignore"):
        cross *= one
    if not seen.all():
        for part in (cross, power, other_power):
            np.copyto(part, 0, where=~seen)
        count = _sums(seen.astype(np.float32), window, pad, rows, cols)
    else:
        ones = np.ones((len(seen), 1), np.float32), np.ones((1, seen.shape[1]), np.float32)
        count = _down(ones[0], window[0], pad, rows) * _across(ones[1], window[1], cols)
    cross, power, other_power = (_sums(part, window, pad, rows, cols) for part in (cross, power, other_power))
    np.greater_equal(count, _LEAST_SHARE * window[0] * window[1], out=enough)
    size = np.sqrt(power, out=power)
    size *= np.sqrt(other_power, out=other_power)
    np.divide(np.abs(cross), size, out=found, where=enough & (size > 0))
    np.minimum(found, 1, out=found)


def _power(image: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore"):
        power: np.ndarray = image.real**2
        power += image.imag**2
    return power


def _sums(
    part: np.ndarray, window: tuple[int, int], pad: tuple[int, int], rows: range, cols: range
) -> np.ndarray:
    """Window sums centred on `rows` and `cols`."""
    return _across(_down(part, window[0], pad, rows), window[1], cols)


def _down(part: np.ndarray, size: int, pad: tuple[int, int], rows: range) -> np.ndarray:
    """Sums of `size` rows, every `rows.step` from the first, with `pad` rows of zeros before and after."""
    grown = part if pad == (0, 0) else np.pad(part, (pad, (0, 0)))
    return _runs(grown, size)[:: rows.step]


def _across(part: np.ndarray, size: int, centres: range) -> np.ndarray:
    """Sums of `size` columns around each of `centres`; what lies outside is 0."""
    half = size // 2
    sums = _runs(np.pad(part, ((0, 0), (half, half))).T, size).T
    return sums[:, centres.start : centres.stop : centres.step]


def _runs(part: np.ndarray, size: int) -> np.ndarray:
    """Sums of `size` neighbours along the first axis, from sums of 1, 2, 4 ... neighbours."""
    length = len(part) - size + 1
    total: np.ndarray | None = None
    run, width, done = part, 1, 0
    while True:
        if size & width:
            piece = run[done : done + length]
            total = piece.copy(order="K") if total is None else np.add(total, piece, out=total)
            done += width
        if 2 * width > size:
            assert total is not None
            return total
        run = run[:-width] + run[width:]
        width *= 2
