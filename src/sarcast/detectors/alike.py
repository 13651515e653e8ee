"""Cells that behaved alike in history: season, rain, wind and gain hit a land cover as one; events do not.

Measured on simulated and real stacks, centring every date on the cells that behaved alike before was the
largest single gain of all (docs/log.md).
"""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import NearestNeighbors

_POOL = 20_000
_ROWS = 4096


def alike(
    values: np.ndarray, valid: np.ndarray, *, neighbours: int, components: int, rng: np.random.Generator
) -> np.ndarray:
    """Indices of the cells most alike each cell in history.

    A cell is described by the mean and spread of every feature and its scores on the first principal
    components of all cells' deviations, each standardised over cells.

    Args:
        values: (time, cell, dim), history only.
        valid: bool (time, cell).
        neighbours: How many; fewer where there are not five times as many cells.
        components: How many principal components describe the deviations.
        rng: Draws the pool the neighbours come from in stacks of more than 20,000 cells.

    Returns:
        int32 (cell, neighbour); a cell is never its own neighbour; cells never seen list arbitrary cells,
        and no cell lists any where none was seen twice.
    """
    about = described(values, valid, components, rng)
    seen = np.flatnonzero(valid.sum(0) >= 2)
    pool = seen if len(seen) <= _POOL else np.sort(rng.choice(seen, _POOL, replace=False))
    if not len(pool):
        return np.zeros((len(about), 0), np.int32)
    k = int(min(neighbours, max(1, len(pool) // 5), len(pool) - 1)) if len(pool) > 1 else 1
    search = NearestNeighbors(n_neighbors=min(k + 1, len(pool))).fit(about[pool])
    found = np.empty((len(about), k), np.int32)
    for first in range(0, len(about), _ROWS):
        rows = slice(first, first + _ROWS)
        near = pool[search.kneighbors(about[rows], return_distance=False)]
        found[rows] = _without_self(near, np.arange(len(about))[rows], k)
    return found


def described(values: np.ndarray, valid: np.ndarray, components: int, rng: np.random.Generator) -> np.ndarray:
    """How each cell behaved in history: mean, spread and main deviations, each standardised over cells.

    Args:
        values: (time, cell, dim), history only.
        valid: bool (time, cell).
        components: Principal components of all cells' deviations that are kept.
        rng: Draws the cells the components are found on in stacks of more than 20,000.

    Returns:
        float32 (cell, 2 dim + component).
    """
    weight = valid[..., None].astype(np.float64)
    count = np.maximum(weight.sum(0), 1)
    mean = (values * weight).sum(0) / count
    deviation = (values - mean) * weight
    spread = np.log(np.sqrt((deviation**2).sum(0) / count) + 1e-3)
    scale = np.sqrt((deviation**2).sum((0, 1)) / max(1.0, weight.sum())) + 1e-9
    series = (deviation / scale).transpose(1, 0, 2).reshape(values.shape[1], -1)
    rows = series if len(series) <= _POOL else series[rng.choice(len(series), _POOL, replace=False)]
    rank = min(components, *rows.shape)
    basis = np.linalg.svd(rows - rows.mean(0), full_matrices=False)[2][:rank]
    parts = np.concatenate([mean, spread, (series - rows.mean(0)) @ basis.T], axis=1)
    return ((parts - parts.mean(0)) / (parts.std(0) + 1e-9)).astype(np.float32)


def common_part(values: np.ndarray, valid: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """What the alike cells did together on one date: the median over their valid deviations.

    Args:
        values: (cell, dim) deviations from each cell's own history.
        valid: bool (cell,).
        neighbours: (cell, neighbour) from `alike`.

    Returns:
        float32 (cell, dim); 0 where no neighbour is valid.
    """
    return _median(values, valid, neighbours)


def centred(deviation: np.ndarray, seen: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """Deviations of one date less what the alike cells did together.

    Args:
        deviation: (cell, dim) from each cell's own history.
        seen: bool (cell,).
        neighbours: (cell, neighbour) from `alike`; with no columns nothing is taken off.

    Returns:
        float32 (cell, dim); 0 where not seen.
    """
    deviation = np.where(seen[:, None], deviation, 0).astype(np.float32)
    if not neighbours.shape[1]:
        return deviation
    return np.where(seen[:, None], deviation - common_part(deviation, seen, neighbours), 0).astype(np.float32)


def disagreement(values: np.ndarray, valid: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """How much the alike cells disagree on one date: 1.48 times the median of their absolute values.

    Args:
        values: (cell, dim) centred deviations, standardised.
        valid: bool (cell,).
        neighbours: (cell, neighbour) from `alike`.

    Returns:
        float32 (cell, dim): about 1 on a day like those of history; 1 where no neighbour is valid.
    """
    spread = 1.4826 * _median(np.abs(values), valid, neighbours)
    return np.where(valid[neighbours].any(1)[:, None], spread, 1).astype(np.float32)


def _median(values: np.ndarray, valid: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """Median of `values` (cell, dim) over each cell's valid neighbours; 0 where there are none."""
    found = np.zeros_like(values)
    every = bool(valid.all())
    masked = values if every else np.where(valid[:, None], values, np.nan)
    step = max(1, 8_000_000 // max(1, neighbours.shape[1] * values.shape[1]))
    for first in range(0, len(values), step):
        rows = slice(first, first + step)
        picked = masked[neighbours[rows]]
        if every:
            found[rows] = np.median(picked, axis=1)
            continue
        some = valid[neighbours[rows]].any(1)
        found[rows][some] = np.nanmedian(picked[some], axis=1)
    return found


def _without_self(near: np.ndarray, cells: np.ndarray, k: int) -> np.ndarray:
    """Drop each cell from its own list, or the farthest where it is not in it; order kept."""
    own = near == cells[:, None]
    drop = np.where(own.any(1), own.argmax(1), near.shape[1] - 1)
    keep = np.ones_like(own)
    keep[np.arange(len(near)), drop] = False
    return near[keep].reshape(len(near), -1)[:, :k] if near.shape[1] > 1 else near
