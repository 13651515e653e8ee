"""How forecasting detectors let history score itself fairly: halves of the cells, folds of the dates.

History is forecast by a model that did not learn from the cell, from features normalised without the date.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.random import Generator

from sarcast.detectors.alike import alike, disagreement

FEWEST = 3
"""Valid acquisitions that a forecast looks back on, at least."""
_BLOCK = 4
_ROWS = 4096


class Centring(Protocol):
    """Settings that say which cells are alike."""

    @property
    def neighbours(self) -> int:
        """How many alike cells each date is centred on; 0 centres on nothing."""
        ...

    @property
    def components(self) -> int:
        """Principal components of history that say what is alike."""
        ...


def halves(shape: tuple[int, int]) -> np.ndarray:
    """A chequerboard of blocks of cells, (cell,) of 0 and 1."""
    row, col = np.indices(shape) // _BLOCK
    return ((row + col) % 2).ravel()


def date_folds(dates: int, folds: int) -> np.ndarray:
    """Runs of dates, as equally long as can be, that are left out in turn: int (date,)."""
    return np.arange(dates) * min(folds, dates) // dates


def kept_dates(fold: np.ndarray) -> list[np.ndarray]:
    """The whole history, then history without each fold: bool (date,) each."""
    return [np.ones(len(fold), bool), *(fold != f for f in range(fold[-1] + 1))]


def neighbours_of(values: np.ndarray, valid: np.ndarray, settings: Centring, rng: Generator) -> np.ndarray:
    """Cells alike in history (time, cell, dim): int32 (cell, neighbour), no columns where none are wanted."""
    if not settings.neighbours:
        return np.zeros((valid.shape[1], 0), np.int32)
    return alike(values, valid, neighbours=settings.neighbours, components=settings.components, rng=rng)


def scale_of(own: np.ndarray, valid: np.ndarray, *, pooled: float) -> np.ndarray:
    """Standard deviation of every cell and feature, the share `pooled` of its variance that of all cells.

    Args:
        own: (cell, dim) variance of each cell.
        valid: bool (time, cell).
        pooled: 0 to 1.

    Returns:
        float32 (cell, dim).
    """
    every = own[valid.any(0)].mean(0) if valid.any() else own.mean(0)
    return (np.sqrt(pooled * every + (1 - pooled) * own) + 1e-6).astype(np.float32)


def local_noise(
    squares: np.ndarray,
    counts: np.ndarray,
    neighbours: np.ndarray,
    *,
    without: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Root-mean-square error of every cell and feature: half of the square its own, half that of its like.

    Args:
        squares: (cell, dim): sum over history of squared errors, each by a model that did not learn from it.
        counts: (cell,): over how many dates.
        neighbours: (cell, neighbour) from `neighbours_of`; without columns all cells are alike.
        without: Errors (cell, dim), 0 where not seen, and bool (cell,) where seen, of one date of history
            that is left out of both.

    Returns:
        float32 (cell, dim), positive. A cell without errors has those of its alike cells, or of all.
    """
    if without is not None:
        squares, counts = np.maximum(squares - without[0] ** 2, 0), counts - without[1]
    known = (counts > 0)[:, None]
    every = squares.sum(0) / max(int(counts.sum()), 1)
    own = np.where(known, squares / np.maximum(counts, 1)[:, None], every)
    like = np.broadcast_to(every, own.shape).copy()
    if neighbours.shape[1]:
        for first in range(0, len(own), _ROWS):
            rows = slice(first, first + _ROWS)
            like[rows] = own[neighbours[rows]].mean(1)
    return (np.sqrt(0.5 * np.where(known, own, like) + 0.5 * like) + 1e-6).astype(np.float32)


def size(error: np.ndarray, seen: np.ndarray, neighbours: np.ndarray, *, today: float) -> np.ndarray:
    """Root mean square over features of one date's standardised errors, widened where alike cells disagree.

    Args:
        error: (cell, dim).
        seen: bool (cell,).
        neighbours: (cell, neighbour) from `neighbours_of`.
        today: Share of the variance scaled by how much the alike cells disagree on the date.

    Returns:
        (cell,).
    """
    if today and neighbours.shape[1]:
        error = error / np.sqrt(1 - today + today * disagreement(error, seen, neighbours) ** 2)
    return np.sqrt((error**2).mean(-1))


def fold_of(scene_ids: tuple[str, ...], folds: np.ndarray, scene_id: str) -> int | None:
    """Which fold of history an acquisition was left out in; None where it is no history."""
    return dict(zip(scene_ids, folds.tolist(), strict=True)).get(scene_id)
