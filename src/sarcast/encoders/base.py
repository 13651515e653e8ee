"""What every encoder promises, and how it walks a stack: by date, by strip, with its surroundings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sarcast.errors import DataError
from sarcast.values import Features, PatchGrid, Stack

STRIP_PIXELS = 4_000_000


class Encoder(Protocol):
    """Turns a stack into one vector for every time and cell. Implementations are settings classes."""

    def encode(self, stack: Stack, times: Sequence[int] | None = None) -> Features:
        """Features of all times, or of those with the given indices; each time by itself."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Strip:
    """Some rows of cells of one date, with their surroundings."""

    power: np.ndarray
    """float32 (band, y, x), linear; 0 where not valid."""
    valid: np.ndarray
    """bool (y, x)."""
    tops: np.ndarray
    """First pixel row of each cell row, within the strip."""
    lefts: np.ndarray
    """First pixel column of each cell column."""
    patch: int
    above: int
    """Row of the image the strip begins with."""

    def windows(self, image: np.ndarray) -> np.ndarray:
        """(row, col, pixel) values of `image` (y, x) under each cell."""
        view = np.lib.stride_tricks.sliding_window_view(image, (self.patch, self.patch))
        cells = view[self.tops][:, self.lefts]
        return cells.reshape(*cells.shape[:2], -1)

    def mean(self, image: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """(row, col) mean of `image` over the pixels where `weight` is True; 0 where there are none."""
        total = self.total(np.where(weight, image, 0))
        count = self.total(weight)
        return np.divide(total, count, out=np.zeros_like(total), where=count > 0)

    def total(self, image: np.ndarray) -> np.ndarray:
        """(row, col) sum of `image` under each cell, float64."""
        image = np.pad(image, ((0, 1), (0, 1)))
        rows = np.add.reduceat(image, _bounds(self.tops, self.patch), axis=0, dtype=np.float64)[::2]
        return np.asarray(np.add.reduceat(rows, _bounds(self.lefts, self.patch), axis=1)[:, ::2])


def default_patch(stack: Stack) -> int:
    """Side of a cell in pixels by pixel size: 4 from 20 m up, 8 from 5 m up, else 16 (DESIGN, Cells)."""
    metres = abs(stack.geobox.transform.a)
    if stack.geobox.crs is not None and not stack.geobox.crs.projected:
        metres *= 111_320
    return 4 if metres >= 20 else 8 if metres >= 5 else 16


def make_grid(stack: Stack, patch: int | None, stride: int | None) -> PatchGrid:
    """The cells of a stack; `patch` None chooses by pixel size, `stride` None means side by side."""
    side = patch if patch is not None else default_patch(stack)
    y, x = stack.geobox.shape
    if side > min(y, x):
        raise DataError(
            f"expected an image of at least {side} px a side for {side} px cells, found {y} x {x}"
        )
    return PatchGrid(image=(int(y), int(x)), patch=side, stride=stride if stride is not None else side)


def encode_cells(
    stack: Stack,
    grid: PatchGrid,
    vectors: Callable[[Strip], np.ndarray],
    *,
    names: Sequence[str],
    encoder: str,
    halo: int,
    min_valid: float,
    times: Sequence[int] | None = None,
) -> Features:
    """Run `vectors` (Strip -> (row, col, dim)) over every date and strip.

    Args:
        stack: Lazy or not; only one strip of one date is in memory at a time.
        grid: The cells.
        vectors: One vector per cell of a strip, all from pixels where `Strip.valid`; NaN where it cannot be
            told, which makes the cell not valid.
        names: What each dim is.
        encoder: Name for the record.
        halo: Pixels of surroundings a cell needs.
        min_valid: Share of a cell's pixels that must be valid.
        times: Indices of dates; None is all.
    """
    index = list(range(len(stack.times))) if times is None else list(times)
    values = np.zeros((len(index), *grid.shape, len(names)), np.float32)
    valid = np.zeros((len(index), *grid.shape), bool)
    for k, t in enumerate(index):
        for rows, strip in _strips(stack, grid, t, halo):
            enough = strip.total(strip.valid) >= min_valid * grid.patch**2
            found = vectors(strip)
            enough &= np.isfinite(found).all(-1)
            values[k, rows] = np.where(enough[..., None], found, 0)
            valid[k, rows] = enough
    return Features(
        values=values,
        valid=valid,
        times=stack.times.take(np.array(index, dtype=int)),
        grid=grid,
        geobox=stack.geobox,
        names=tuple(names),
        encoder=encoder,
        stack=stack.name,
    )


def _strips(stack: Stack, grid: PatchGrid, t: int, halo: int) -> Iterator[tuple[slice, Strip]]:
    height, width = grid.image
    tops = grid.tops
    per = max(1, int(STRIP_PIXELS / (width * grid.stride)))
    for first in range(0, len(tops), per):
        some = tops[first : first + per]
        above = max(0, int(some[0]) - halo)
        below = min(height, int(some[-1]) + grid.patch + halo)
        valid = np.asarray(stack.valid[t, above:below])
        amplitude = np.asarray(stack.amplitude[t, :, above:below], np.float32)
        yield (
            slice(first, first + len(some)),
            Strip(
                power=np.where(valid, amplitude * amplitude, 0),
                valid=valid,
                tops=some - above,
                lefts=grid.lefts,
                patch=grid.patch,
                above=above,
            ),
        )


def _bounds(starts: np.ndarray, patch: int) -> np.ndarray:
    """Pairs (start, end) for `reduceat`; every second sum is a cell's."""
    return np.stack([starts, starts + patch], 1).ravel()
