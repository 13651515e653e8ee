"""Scores as date + place + rest: how much of their variance each holds (two-way analysis of variance).

s_tl = m + a_t + b_l + r_tl over dates t and cells l, every cell valid on every date; the three sums of
squares add up to the total (Fisher, 1925). Where `date` holds nearly all, a detector says one number a frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sarcast.errors import DataError, ShapeError
from sarcast.evaluate.bootstrap import moving_blocks
from sarcast.values import Estimate


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Shares of the total sum of squares; they add up to 1."""

    date: float
    place: float
    rest: float


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How frames differ, inside and from each other."""

    within: float
    """Mean over frames of the standard deviation inside one (ddof 0)."""
    between: float
    """Standard deviation of the frames' means (ddof 0)."""
    correlation_mean: float
    """Mean correlation between two cells' time series."""
    correlation_median: float

    @property
    def ratio(self) -> float:
        """Within over between."""
        return self.within / self.between


def always_valid(valid: np.ndarray) -> np.ndarray:
    """Cells that are valid on every date: bool (time, row, col) -> bool (row, col).

    Raises:
        DataError: Fewer than two such cells, or fewer than two dates.
    """
    cells = np.asarray(valid.all(axis=0))
    if cells.sum() < 2 or len(valid) < 2:
        raise DataError(
            f"expected at least 2 dates and 2 cells that are valid on all of them, "
            f"found {len(valid)} dates and {cells.sum()} cells"
        )
    return cells


def table(values: np.ndarray, cells: np.ndarray | None = None) -> np.ndarray:
    """Scores of the chosen cells side by side: (..., time, row, col) -> float64 (..., time, cell).

    Raises:
        ShapeError: `cells` is not of the grid, or a chosen value is not finite.
    """
    if cells is not None and cells.shape != values.shape[-2:]:
        raise ShapeError(f"expected a mask of cells {values.shape[-2:]}, found {cells.shape}")
    chosen = values[..., np.ones(values.shape[-2:], bool) if cells is None else cells]
    chosen = np.asarray(chosen, np.float64)
    if not np.isfinite(chosen).all():
        raise ShapeError("expected finite scores of the chosen cells, found some that are not")
    return chosen


def residual(by_cell: np.ndarray) -> np.ndarray:
    """What neither the date nor the place explains: (..., time, cell), means over both axes zero."""
    centred = by_cell - by_cell.mean(axis=-1, keepdims=True)
    return np.asarray(centred - centred.mean(axis=-2, keepdims=True))


def variance_shares(values: np.ndarray, cells: np.ndarray | None = None) -> Shares:
    """Shares of date, place and rest.

    Independent noise of T dates and n cells has (T - 1) / (T n - 1) for date, (n - 1) / (T n - 1) for place.

    Args:
        values: (time, row, col).
        cells: bool (row, col): which to use, valid on every date (`always_valid`); None means all.

    Raises:
        DataError: All scores are equal.
    """
    return Shares(**dict(zip(("date", "place", "rest"), _shares(table(values, cells)), strict=True)))


def share_intervals(
    values: np.ndarray,
    cells: np.ndarray | None = None,
    *,
    block: int | None = None,
    draws: int = 500,
    level: float = 0.95,
    seed: int,
) -> dict[str, Estimate]:
    """`variance_shares` with intervals over blocks of consecutive dates (moving blocks; Kuensch, 1989).

    Args:
        values: (time, row, col).
        cells: As in `variance_shares`.
        block: Dates in a block; None means the square root of their number.
        draws: Resamples; those with one date over and over, which have no variance, are left out.
        level: Of the intervals, in (0, 1).
        seed: Of the draws.
    """
    by_cell = table(values, cells)
    rng = np.random.default_rng(seed)
    drawn = [by_cell[row] for row in moving_blocks(len(by_cell), block=block, draws=draws, rng=rng)]
    found = np.array([_shares(one) for one in drawn if np.ptp(one)])
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return {
        name: Estimate(
            name=f"share of {name}",
            value=value,
            low=float(low[i]),
            high=float(high[i]),
            level=level,
            n=len(by_cell),
            resampled="block of dates",
            seed=seed,
        )
        for i, (name, value) in enumerate(zip(("date", "place", "rest"), _shares(by_cell), strict=True))
    }


def spread(values: np.ndarray, cells: np.ndarray | None = None) -> Spread:
    """Spread inside frames and between them, and how alike the cells' series are.

    Args:
        values: (time, row, col).
        cells: As in `variance_shares`. A cell whose series is constant has no correlation and is left out.
    """
    by_cell = table(values, cells)
    moving = by_cell[:, np.ptp(by_cell, axis=0) > 0]
    alike = np.corrcoef(moving.T)[np.triu_indices(moving.shape[1], k=1)]
    return Spread(
        within=float(by_cell.std(axis=1).mean()),
        between=float(by_cell.mean(axis=1).std()),
        correlation_mean=float(alike.mean()),
        correlation_median=float(np.median(alike)),
    )


def _shares(by_cell: np.ndarray) -> tuple[float, float, float]:
    centred = by_cell - by_cell.mean()
    total = np.square(centred).sum()
    if not total > 0:
        raise DataError("expected scores that differ, found one value everywhere")
    dates, cells = centred.shape
    date = cells * np.square(centred.mean(axis=1)).sum() / total
    place = dates * np.square(centred.mean(axis=0)).sum() / total
    return float(date), float(place), float(np.square(residual(centred)).sum() / total)
