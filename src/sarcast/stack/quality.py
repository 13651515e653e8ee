"""Is a date where it should be and as bright as it should be? Against history's robust mean, frame-wide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy.ndimage import maximum_filter, uniform_filter

from sarcast.runtime.settings import Settings
from sarcast.sar.coregister import Gain, Shift, estimate_gain_db, estimate_shift
from sarcast.sar.decibel import to_db
from sarcast.sar.multilook import multilook
from sarcast.stack.store import CHUNK
from sarcast.values import Stack

MOST_DATES = 32
"""History dates the reference is a median of: memory must not grow with the number of dates."""
MOST_TILES = 3
"""Tiles looked at along each side of a large frame."""
WINDOW = 512
"""Largest side of a registration window, pixels."""
_AGREE_PX = 0.5
_CHANGED_PX, _CHANGED_DB, _MOST_CHANGED = 7, 4.0, 0.4

Tile = tuple[slice, slice]


class Quality(Settings):
    """What is measured of every date, what is corrected, and when a date is no evidence of change."""

    registration: Literal["correct", "flag", "off"] = "correct"
    """Shifts over min_shift_px are taken out by warping the date again; only flagged; or neither."""
    gain: Literal["flag", "correct", "off"] = "flag"
    """A frame-wide gain is flagged; taken out too; or neither. A local event is never part of it."""
    min_shift_px: float = 0.25
    """Smaller shifts stay as they are."""
    max_shift_px: float = 0.5
    """A date shifted by more raises a quality note and no events, even when corrected."""
    max_gain_db: float = 0.75
    """A date brighter or darker by more raises a quality note and no events. Where history itself varies
    with a robust standard deviation over two thirds of this, 1.5 of those counts, but at most twice this."""
    min_coverage: float = 0.5
    """A date with a smaller share of valid pixels raises a quality note and no events."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was found of one date."""

    shift: Shift
    gains: dict[str, Gain]
    valid_fraction: float


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """What the checks look at of one date in one tile."""

    texture_db: np.ndarray
    """float32 (y, x): dB, mean of the bands, of the middle of the tile."""
    seen: np.ndarray
    """bool (y, x)."""
    level_db: np.ndarray
    """float32 (band, row, col): dB of multilooked power over the whole tile."""
    level_seen: np.ndarray
    """bool (row, col)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """History's median view of every tile."""

    tiles: tuple[Tile, ...]
    views: tuple[View, ...]


@dataclass(frozen=True, kw_only=True)
class DateQuality:
    """One line of quality.json."""

    scene_id: str
    time: str
    platform: str
    measured: Measured
    textured: bool
    limits_db: Mapping[str, float]
    settings: Quality
    applied_px: tuple[float, float] | None = None
    applied_db: Mapping[str, float] = field(default_factory=dict)
    residual: Measured | None = None
    """Measured again after a correction."""

    @property
    def flags(self) -> list[str]:
        """Why the date is no evidence of change; empty when it is."""
        found = []
        if self.measured.valid_fraction < self.settings.min_coverage:
            found.append(f"coverage {100 * self.measured.valid_fraction:.0f} %")
        shift = self.measured.shift
        if self._check_shift and shift.size_px > self.settings.max_shift_px:
            found.append(f"shift {shift.size_px:.2f} px")
        return found + [f"gain {band} {self.measured.gains[band].value_db:+.2f} dB" for band in self._too_far]

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded so that they are the same everywhere."""
        shift = self.measured.shift
        after = self.residual.shift.correlation_after if self.residual else shift.correlation_after
        left = self.residual.shift if self.residual and self.residual.shift.measurable else None
        return {
            "scene_id": self.scene_id,
            "time": self.time,
            "platform": self.platform,
            "shift_px": [_round(shift.dy), _round(shift.dx)] if shift.measurable else None,
            "shift_state": self._shift_state,
            "applied_shift_px": None if self.applied_px is None else [_round(v) for v in self.applied_px],
            "residual_px": None if left is None else [_round(left.dy), _round(left.dx)],
            "correlation_before": _round(shift.correlation_before),
            "correlation_after": _round(after),
            "gain_db": {
                band: _round(gain.value_db)
                for band, gain in sorted(self.measured.gains.items())
                if gain.measurable
            },
            "gain_state": self._gain_state,
            "applied_gain_db": {band: _round(value) for band, value in sorted(self.applied_db.items())},
            "valid_fraction": _round(self.measured.valid_fraction),
            "flags": self.flags,
            "usable": not self.flags,
        }

    @property
    def _check_shift(self) -> bool:
        return self.settings.registration != "off" and self.measured.shift.measurable

    @property
    def _check_gain(self) -> bool:
        return self.textured and all(g.measurable for g in self.measured.gains.values())

    @property
    def _too_far(self) -> list[str]:
        if not self._check_gain or self.settings.gain == "off":
            return []
        gains = sorted(self.measured.gains.items())
        return [band for band, gain in gains if abs(gain.value_db) > self.limits_db[band]]

    @property
    def _shift_state(self) -> str:
        if not self.measured.shift.measurable:
            return "not measurable"
        if self._check_shift and self.measured.shift.size_px > self.settings.max_shift_px:
            return "flagged"
        return "ok" if self.applied_px is None else "corrected"

    @property
    def _gain_state(self) -> str:
        if not self._check_gain:
            return "not measurable"
        if self._too_far:
            return "flagged"
        return "corrected" if self.applied_db else "ok"


def reference_of(stack: Stack, history: np.ndarray) -> Reference:
    """History's robust mean, tile by tile: the median of at most 32 dates spread evenly over history.

    Args:
        stack: May be lazy.
        history: bool (time,).
    """
    tiles = tuple(_tiles(stack))
    return Reference(
        tiles=tiles,
        views=tuple(
            _Medians([_view(stack, i, tile) for i in _sample(history)]).without(None) for tile in tiles
        ),
    )


def measure_history(
    stack: Stack, history: np.ndarray, *, only: Sequence[int] | None = None
) -> dict[int, Measured]:
    """Every history date against the median of the others: speckle must not agree with itself.

    Args:
        stack: May be lazy.
        history: bool (time,).
        only: Measure these history dates, not all.
    """
    sample = _sample(history)
    dates = [int(i) for i in np.flatnonzero(history)] if only is None else list(only)
    shifts: dict[int, list[Shift]] = {i: [] for i in dates}
    levels: dict[int, list[tuple[View, View]]] = {i: [] for i in dates}
    for tile in _tiles(stack):
        views = {i: _view(stack, i, tile) for i in sample}
        medians = _Medians(list(views.values()))
        for i in dates:
            reference = medians.without(sample.index(i) if i in views else None)
            view = views[i] if i in views else _view(stack, i, tile)
            shifts[i].append(_shift(reference, view))
            levels[i].append((_levels(reference), _levels(view)))
    return {i: _measured(stack, i, shifts[i], levels[i]) for i in dates}


def measure(stack: Stack, index: int, reference: Reference) -> Measured:
    """One date, not part of history, against history's reference."""
    views = [_view(stack, index, tile) for tile in reference.tiles]
    shifts = [_shift(a, b) for a, b in zip(reference.views, views, strict=True)]
    return _measured(stack, index, shifts, list(zip(reference.views, views, strict=True)))


def is_textured(history: Sequence[Measured]) -> bool:
    """Most history dates can be laid on the others: there is ground to compare, not just water or speckle."""
    return 2 * sum(m.shift.measurable for m in history) > len(history)


def gain_limits_db(history: Sequence[Measured], settings: Quality) -> dict[str, float]:
    """Per band, from where on a gain is flagged (see `Quality.max_gain_db`)."""
    limits = {}
    for band in history[0].gains:
        values = np.array([m.gains[band].value_db for m in history if m.gains[band].measurable])
        spread = 1.4826 * float(np.median(np.abs(values - np.median(values)))) if len(values) else 0.0
        limit = np.clip(1.5 * spread, settings.max_gain_db, 2 * settings.max_gain_db)
        limits[band] = _round(float(limit))
    return limits


def _measured(
    stack: Stack, index: int, shifts: Sequence[Shift], levels: Sequence[tuple[View, View]]
) -> Measured:
    gains = {}
    for b, band in enumerate(stack.bands):
        frames = [(a.level_db[b], v.level_db[b], a.level_seen & v.level_seen) for a, v in levels]
        gains[band] = estimate_gain_db(*(_mosaic([frame[k] for frame in frames]) for k in range(3)))
    return Measured(shift=consensus(shifts), gains=gains, valid_fraction=_valid_fraction(stack, index))


def consensus(shifts: Sequence[Shift]) -> Shift:
    """The shift that most measurable windows of a frame agree on within half a pixel of their median."""
    known = [s for s in shifts if s.measurable]
    if known:
        middle = np.median([(s.dy, s.dx) for s in known], axis=0)
        agreed = [s for s in known if np.hypot(s.dy - middle[0], s.dx - middle[1]) <= _AGREE_PX]
    else:
        agreed = []
    some = agreed if 2 * len(agreed) > len(known) else []
    counted = some or list(shifts)
    before = float(np.mean([s.correlation_before for s in counted]))
    if not some:
        return Shift(
            dy=0.0, dx=0.0, correlation_before=before, correlation_after=before,
            accepted=False, measurable=False,
        )  # fmt: skip
    dy, dx = np.median([(s.dy, s.dx) for s in some], axis=0)
    return Shift(
        dy=float(dy),
        dx=float(dx),
        correlation_before=before,
        correlation_after=float(np.mean([s.correlation_after for s in some])),
        accepted=2 * sum(s.accepted for s in some) > len(some),
        measurable=True,
    )


def _shift(reference: View, view: View) -> Shift:
    seen = reference.seen & view.seen
    return estimate_shift(reference.texture_db, view.texture_db, seen & ~_changed(reference, view, seen))


def _changed(reference: View, view: View, seen: np.ndarray) -> np.ndarray:
    """Where the ground itself changed, bool (y, x): its new edges look like a shift.

    Connected areas whose level moved by more than 4 dB against the frame; none where that is over 40 % of it.
    """
    difference = np.where(seen, view.texture_db - reference.texture_db, 0)
    if not seen.any():
        return ~seen
    difference = np.where(seen, difference - np.median(difference[seen]), 0)
    share = uniform_filter(seen.astype(np.float32), _CHANGED_PX)
    level = uniform_filter(difference.astype(np.float32), _CHANGED_PX) / np.maximum(share, 1e-3)
    changed = maximum_filter(seen & (np.abs(level) > _CHANGED_DB), _CHANGED_PX)
    return changed if changed[seen].mean() < _MOST_CHANGED else np.zeros_like(seen)


def _levels(view: View) -> View:
    """The view without its full-resolution part, which is not needed any more."""
    nothing = np.zeros((0, 0), np.float32)
    return View(
        texture_db=nothing, seen=nothing.astype(bool), level_db=view.level_db, level_seen=view.level_seen
    )


def _tiles(stack: Stack) -> Iterator[Tile]:
    """At most 3 x 3 chunks of the frame, spread evenly; no slim ones at the far edges."""
    starts = []
    for side in stack.geobox.shape:
        found = [at for at in range(0, side, CHUNK) if at == 0 or side - at >= CHUNK // 2]
        picked = np.unique(np.linspace(0, len(found) - 1, MOST_TILES).round().astype(int))
        starts.append([(found[i], min(found[i] + CHUNK, side)) for i in picked])
    for top, bottom in starts[0]:
        for left, right in starts[1]:
            yield slice(top, bottom), slice(left, right)


def _sample(history: np.ndarray) -> list[int]:
    index = np.flatnonzero(history)
    picked = np.unique(np.linspace(0, len(index) - 1, min(MOST_DATES, len(index))).round().astype(int))
    return [int(index[i]) for i in picked]


def _view(stack: Stack, index: int, tile: Tile) -> View:
    amplitude = np.asarray(stack.amplitude[(index, slice(None), *tile)])
    seen = np.asarray(stack.valid[(index, *tile)])
    middle = tuple(
        slice((n - min(n, WINDOW)) // 2, (n - min(n, WINDOW)) // 2 + min(n, WINDOW)) for n in seen.shape
    )
    power = amplitude.astype(np.float32) ** 2
    factor = int(np.clip(min(seen.shape) // 25, 1, 8))
    level, level_seen = multilook(power, np.broadcast_to(seen, power.shape), factor=(factor, factor))
    return View(
        texture_db=to_db(power[(slice(None), *middle)]).mean(axis=0),
        seen=seen[middle],
        level_db=to_db(level),
        level_seen=np.asarray(level_seen.all(axis=0)),
    )


class _Medians:
    """Median over all views, or all but one, of their valid pixels; seen where at least half of them are."""

    def __init__(self, views: Sequence[View]) -> None:
        bands = range(len(views[0].level_db))
        self._texture = _Sorted([v.texture_db for v in views], [v.seen for v in views])
        self._levels = [_Sorted([v.level_db[b] for v in views], [v.level_seen for v in views]) for b in bands]

    def without(self, index: int | None) -> View:
        """Of all but view `index`; None is of all."""
        texture, seen = self._texture.median(index)
        levels = [level.median(index) for level in self._levels]
        return View(
            texture_db=texture,
            seen=seen,
            level_db=np.stack([level for level, _ in levels]),
            level_seen=levels[0][1],
        )


class _Sorted:
    """Images sorted pixel by pixel once, so that the median without any one of them is two look-ups."""

    def __init__(self, values: Sequence[np.ndarray], seen: Sequence[np.ndarray]) -> None:
        self._values = np.where(np.stack(seen), np.stack(values), np.inf)
        self._sorted = np.sort(self._values, axis=0)
        self._count = np.stack(seen).sum(axis=0)

    def median(self, index: int | None) -> tuple[np.ndarray, np.ndarray]:
        """(median float32, seen) of all images but `index`; of all with None, or when there is only one."""
        n = len(self._values)
        out = None if index is None or n == 1 else self._values[index]
        count = self._count if out is None else self._count - np.isfinite(out)
        low, high = (self._rank(np.maximum(k, 0), out) for k in ((count - 1) // 2, count // 2))
        enough = (2 * count >= (n if out is None else n - 1)) & (count > 0)
        median = np.where(enough, 0.5 * (np.where(enough, low, 0) + np.where(enough, high, 0)), 0)
        return median.astype(np.float32), enough

    def _rank(self, k: np.ndarray, out: np.ndarray | None) -> np.ndarray:
        """The k-th smallest of what is left when `out` is taken away."""
        last = len(self._sorted) - 1
        found = np.take_along_axis(self._sorted, np.minimum(k, last)[None], axis=0)[0]
        if out is None:
            return found
        after = np.take_along_axis(self._sorted, np.minimum(k + 1, last)[None], axis=0)[0]
        return np.where(found < out, found, after)


def _mosaic(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Tiles below each other, filled up to one width with 0 (False)."""
    width = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts])


def _valid_fraction(stack: Stack, index: int) -> float:
    rows, cols = stack.geobox.shape
    seen = sum(
        int(np.count_nonzero(stack.valid[index, row : row + CHUNK, col : col + CHUNK]))
        for row in range(0, rows, CHUNK)
        for col in range(0, cols, CHUNK)
    )
    return seen / (rows * cols)


def _round(value: float) -> float:
    return round(float(value), 4) + 0.0
