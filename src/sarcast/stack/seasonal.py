"""Seasonal tiles from a stack: what each of four seasons is, in power, in the 12 channels of M3LEO."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sarcast.errors import DataError, SettingsError, StackError
from sarcast.sar.seasons import SEASONS, SeasonalStack, Statistic, in_channels, season_of, season_year
from sarcast.values import PatchGrid, Stack

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

LEAST_SEASONS = 2
"""Fewer say nothing of the year."""
_BLOCK_BYTES = 64 * 2**20


def seasonal(
    stack: Stack,
    *,
    statistic: Statistic = "mean",
    year: int | None = None,
    min_dates: int = 1,
    dates: np.ndarray | None = None,
    window: tuple[slice, slice] | None = None,
) -> SeasonalStack:
    """VV-VH, VV and VH of the seasons DJF, MAM, JJA and SON, from power averaged (or its median) over dates.

    The mean of power and the median are taken before the dB; the mean of dB would be too low. VV-VH is the
    difference of both in dB. A season without dates is not valid anywhere.

    Args:
        stack: With VV and VH; lazy or not, read block by block.
        statistic: mean of power, or median.
        year: Only seasons of this year, whose winter begins in the December before; None takes all dates.
        min_dates: Valid dates a pixel needs in a season.
        dates: Indices of the dates that may be used; None is all.
        window: Rows and columns to read, slices with a start and an end; None for all.

    Raises:
        StackError: VV or VH is not there.
        DataError: There are dates of less than two seasons.
        SettingsError: `min_dates` is not positive.
    """
    if not {"VV", "VH"} <= set(stack.bands):
        raise StackError(
            f"expected VV and VH for seasonal channels, found {' and '.join(stack.bands)}, in stack "
            f"{stack.name}"
        )
    if min_dates < 1:
        raise SettingsError(f"expected min_dates of 1 or more, found {min_dates}")
    used = _by_season(stack, year, dates)
    rows, cols = window or tuple(slice(0, side) for side in stack.geobox.shape)
    geobox = _part(stack.geobox, rows, cols)
    power = np.zeros((2, len(SEASONS), *geobox.shape), np.float32)
    valid = np.zeros(power.shape[1:], bool)
    for season, some in enumerate(used):
        for block in _blocks(valid.shape[1:], len(some)):
            there = slice(rows.start + block.start, rows.start + block.stop), cols
            power[:, season, block], valid[season, block] = _combined(
                stack, some, there, statistic, min_dates
            )
    return in_channels(
        power, valid, geobox=geobox, name=stack.name, statistic=statistic, radiometry=stack.radiometry
    )


def tiles(
    stack: Stack,
    *,
    side: int = 448,
    stride: int | None = None,
    min_valid: float = 0.5,
    statistic: Statistic = "mean",
    year: int | None = None,
    min_dates: int = 1,
    dates: np.ndarray | None = None,
) -> Iterator[SeasonalStack]:
    """Square seasonal tiles of a stack, one after the other: only the tile is read and kept.

    They are named by row and column; what is left over at an edge is not used.

    Args:
        stack: As for `seasonal`, and so are `statistic`, `year`, `min_dates` and `dates`.
        side: Of a tile, pixels; M3LEO's are 448 px of 10 m.
        stride: Between tiles, pixels; by default `side`, so that none overlap.
        min_valid: Share of a tile's values that must be valid.
        statistic: As there.
        year: As there.
        min_dates: As there.
        dates: As there.

    Raises:
        DataError: No tile has enough valid values, or as `seasonal`.
        ShapeError: The stack is smaller than a tile.
    """
    grid = PatchGrid(image=(stack.geobox.shape[0], stack.geobox.shape[1]), patch=side, stride=stride or side)
    found = 0
    for row, col in np.argwhere(~grid.shifted):
        top, left = int(grid.tops[row]), int(grid.lefts[col])
        box = slice(top, top + side), slice(left, left + side)
        tile = seasonal(stack, statistic=statistic, year=year, min_dates=min_dates, dates=dates, window=box)
        if tile.valid.mean() >= min_valid:
            found += 1
            yield replace(tile, name=f"{stack.name}_{row}_{col}")
    if not found:
        raise DataError(
            f"expected tiles with {min_valid:.0%} valid values, found none, in stack {stack.name}"
        )


def _part(geobox: GeoBox, rows: slice, cols: slice) -> GeoBox:
    from affine import Affine
    from odc.geo.geobox import GeoBox

    corner = geobox.transform @ Affine.translation(cols.start, rows.start)
    return GeoBox((rows.stop - rows.start, cols.stop - cols.start), corner, geobox.crs)


def _by_season(stack: Stack, year: int | None, some: np.ndarray | None) -> list[np.ndarray]:
    """Indices of the dates of each season, of `some` dates."""
    time = stack.times.time
    wanted = np.ones(len(time), bool) if year is None else season_year(time) == year
    if some is not None:
        wanted &= np.isin(np.arange(len(time)), some)
    dates = [np.flatnonzero(wanted & (season_of(time) == season)) for season in range(len(SEASONS))]
    found = [season for season, some in zip(SEASONS, dates, strict=True) if len(some)]
    if len(found) < LEAST_SEASONS:
        when = "" if year is None else f" of {year}"
        raise DataError(
            f"expected dates of {LEAST_SEASONS} seasons{when} or more, found {', '.join(found) or 'none'}, "
            f"in stack {stack.name}"
        )
    return dates


def _blocks(shape: tuple[int, int], dates: int) -> list[slice]:
    """Rows read at once, so that memory does not grow with the number of dates."""
    rows, cols = shape
    height = max(1, _BLOCK_BYTES // max(1, 8 * dates * cols))
    return [slice(top, min(top + height, rows)) for top in range(0, rows, height)] if dates else []


def _combined(
    stack: Stack, dates: np.ndarray, where: tuple[slice, slice], statistic: Statistic, min_dates: int
) -> tuple[np.ndarray, np.ndarray]:
    """Power (band, y, x) of VV and VH over `dates`, and validity (y, x), of a part of the grid."""
    ok = np.stack([np.asarray(stack.valid[t, *where]) for t in dates])
    enough = ok.sum(0) >= min_dates
    found = []
    for band in (stack.bands.index("VV"), stack.bands.index("VH")):
        amplitude = np.stack([np.asarray(stack.amplitude[t, band, *where], np.float32) for t in dates])
        power = np.square(amplitude, out=amplitude)
        if statistic == "mean":
            total = np.where(ok, power, 0).sum(0, dtype=np.float64)
            found.append(total / np.maximum(ok.sum(0), 1))
        else:
            found.append(_median(power, ok))
    return np.where(enough, np.stack(found), 0), enough


def _median(power: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Median over the valid dates; means nothing where there is none."""
    ordered = np.sort(np.where(valid, power, np.inf), 0)
    count = np.maximum(valid.sum(0), 1)[None]
    middle = [np.take_along_axis(ordered, at, 0)[0] for at in ((count - 1) // 2, count // 2)]
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(np.isfinite(middle[1]), (middle[0] + middle[1]) / 2, 0))
