"""Pictures of the ground as PNG bytes: averaged in power, shown in dB, one stretch for what is compared."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sarcast.publish.material import Material, pixel_outline
from sarcast.sar.decibel import to_db
from sarcast.sar.speckle import boxcar
from sarcast.stack.store import CHUNK
from sarcast.values import Event, Stack

Window = tuple[tuple[int, int], tuple[int, int]]
"""((row0, row1), (col0, col1)), pixels."""
BASE_DATES = 16
"""The picture of a place is the mean of at most so many dates of history, evenly spread."""
CHANGE_LIMIT_DB = 6.0


@dataclass(frozen=True, kw_only=True)
class Chips:
    """One event looked at closely, one row a band: before, after, and the change between."""

    window: Window
    bands: tuple[str, ...]
    before: tuple[bytes, ...]
    """PNG, the mean of the last dates before it was first seen."""
    after: tuple[bytes, ...]
    """PNG, at its strongest, at the stretch of `before`."""
    change: tuple[bytes, ...]
    """PNG, after minus before, each a 3 × 3 mean, blue (darker) to orange (brighter), ±`CHANGE_LIMIT_DB`."""
    before_days: tuple[np.datetime64, ...]
    after_day: np.datetime64


def place_picture(material: Material, *, max_side: int = 900) -> bytes:
    """PNG of the mean amplitude of history in dB, stretched from its 2 to its 98 %."""
    stack = material.stack
    history = np.flatnonzero(material.history)
    if len(history) == 0:
        history = np.arange(len(stack.times))
    chosen = history[np.unique(np.linspace(0, len(history) - 1, BASE_DATES).round().astype(int))]
    rows, cols = stack.geobox.shape
    power, valid = mean_power(stack, chosen, material.band, ((0, rows), (0, cols)), max_side=max_side)
    db = to_db(power)
    return grey_png(db, valid, *stretch([(db, valid)]))


def event_chips(material: Material, event: Event, *, max_side: int = 160, dates_before: int = 3) -> Chips:
    """Before, after and change of one event in every band.

    Before is the mean power of the last `dates_before` usable dates before it was first seen, after is the
    date of its peak; both have one stretch a band, from 2 to 98 % of the two together.
    """
    stack = material.stack
    times = stack.times.time
    earlier = np.flatnonzero((times < event.first_seen) & material.usable)
    before = earlier[-dates_before:] if len(earlier) else np.array([0])
    after = np.array([int(np.argmin(np.abs(times - event.peak_time)))])
    window = window_of(event.geometry, stack)
    pictures: dict[str, list[bytes]] = {"before": [], "after": [], "change": []}
    for band in range(len(stack.bands)):
        seen = [mean_power(stack, dates, band, window, max_side=max_side) for dates in (before, after)]
        pairs = [(to_db(power), valid) for power, valid in seen]
        low, high = stretch(pairs)
        for name, (db, valid) in zip(("before", "after"), pairs, strict=True):
            pictures[name].append(grey_png(db, valid, low, high))
        smooth = [to_db(boxcar(power, valid, size=3)) for power, valid in seen]
        both = pairs[0][1] & pairs[1][1]
        pictures["change"].append(change_png(np.where(both, smooth[1] - smooth[0], 0), both))
    return Chips(
        window=window,
        bands=stack.bands,
        before_days=tuple(times[before]),
        after_day=times[after[0]],
        **{name: tuple(found) for name, found in pictures.items()},
    )


def mean_power(
    stack: Stack, dates: Sequence[int] | np.ndarray, band: int, window: Window, *, max_side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean power of some dates in a window, made smaller by averaging until no side exceeds `max_side`.

    Reads one date and one chunk at a time, so memory does not grow with scene or dates.

    Returns:
        float64 power (y, x), 0 where not valid, and bool valid (y, x).
    """
    (top, bottom), (left, right) = window
    factor = max(1, -(-max(bottom - top, right - left) // max_side))
    shape = -(-(bottom - top) // factor), -(-(right - left) // factor)
    total, count = np.zeros(shape), np.zeros(shape)
    for date in dates:
        for rows in _tiles(top, bottom):
            for cols in _tiles(left, right):
                valid = np.asarray(stack.valid[int(date), rows, cols])
                amplitude = np.asarray(stack.amplitude[int(date), band, rows, cols], np.float64)
                y, row_starts = _groups(rows, top, factor)
                x, col_starts = _groups(cols, left, factor)
                for into, what in ((total, np.where(valid, amplitude**2, 0)), (count, valid.astype(float))):
                    into[y, x] += np.add.reduceat(np.add.reduceat(what, row_starts, 0), col_starts, 1)
    return np.divide(total, count, out=np.zeros(shape), where=count > 0), count > 0


def window_of(geometry: Any, stack: Stack, *, around: float = 1.0, least: int = 32) -> Window:
    """A square about a geometry, as wide again on each side as `around` says, inside the image."""
    shape = tuple(stack.geobox.shape)
    left, top, right, bottom = pixel_outline(geometry, stack.geobox).bounds
    side = int(np.ceil(max((1 + 2 * around) * max(right - left, bottom - top), least)))
    spans = []
    for centre, limit in (((top + bottom) / 2, shape[0]), ((left + right) / 2, shape[1])):
        length = min(side, limit)
        start = int(np.clip(round(centre - length / 2), 0, limit - length))
        spans.append((start, start + length))
    return spans[0], spans[1]


def stretch(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """One robust stretch for all (dB, valid) pairs: their common 2 and 98 %, at least 1 dB apart."""
    seen = np.concatenate([db[valid] for db, valid in pairs])
    if len(seen) == 0:
        return -20.0, 0.0
    low, high = (float(value) for value in np.percentile(seen, [2, 98]))
    wider = max(0.0, 1.0 - (high - low)) / 2
    return low - wider, high + wider


def grey_png(db: np.ndarray, valid: np.ndarray, low: float, high: float) -> bytes:
    """DB as grey from `low` to `high`; clear where not valid."""
    level = np.clip((db - low) / (high - low), 0, 1)
    rgba = np.empty((*db.shape, 4), np.uint8)
    rgba[..., :3] = np.round(12 + 238 * level)[..., None]
    rgba[..., 3] = np.where(valid, 255, 0)
    return png(rgba)


def change_png(change_db: np.ndarray, valid: np.ndarray, limit: float = CHANGE_LIMIT_DB) -> bytes:
    """A difference in dB from blue (−limit) over near-black (0) to orange (+limit); clear where not valid."""
    level = np.clip(change_db / limit, -1, 1)[..., None]
    middle, darker, brighter = (np.array(c) for c in ((24, 26, 31), (86, 180, 255), (255, 170, 51)))
    colour = np.where(level < 0, middle + (darker - middle) * -level, middle + (brighter - middle) * level)
    rgba = np.empty((*change_db.shape, 4), np.uint8)
    rgba[..., :3] = np.round(colour)
    rgba[..., 3] = np.where(valid, 255, 0)
    return png(rgba)


def png(rgba: np.ndarray) -> bytes:
    """uint8 (y, x, 4) as PNG; the same pixels give the same bytes."""
    from matplotlib.image import imsave

    stream = io.BytesIO()
    imsave(stream, np.ascontiguousarray(rgba), format="png", metadata={"Software": None})  # type: ignore[dict-item]
    return stream.getvalue()


def _tiles(start: int, stop: int) -> list[slice]:
    """Slices that cover [start, stop) and never cross a chunk of the store."""
    edges = [start, *range(start // CHUNK * CHUNK + CHUNK, stop, CHUNK), stop]
    return [slice(low, high) for low, high in itertools.pairwise(edges)]


def _groups(tile: slice, origin: int, factor: int) -> tuple[slice, np.ndarray]:
    """Which output pixels a tile falls on, and where each begins within it."""
    first, last = (tile.start - origin) // factor, (tile.stop - 1 - origin) // factor
    starts = np.maximum(origin + np.arange(first, last + 1) * factor - tile.start, 0)
    return slice(first, last + 1), starts
