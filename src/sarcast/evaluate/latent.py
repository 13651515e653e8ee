"""What an encoder's vectors look like: do they use their dimensions, and do they differ by place or by date?

No labels are needed. An encoder whose vectors say one thing (collapse), say the date only, or drift away from
history makes every detector behind it blind or nervous; these figures tell which.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from sarcast.errors import DataError
from sarcast.evaluate.bootstrap import block_bootstrap
from sarcast.nn.rank import effective_rank
from sarcast.values import Estimate, Features

DEAD = 1e-4
"""A dimension is dead when its standard deviation is at most this share of the largest one."""


@dataclass(frozen=True, kw_only=True)
class Latent:
    """Figures of one features.zarr, over cells valid on every date."""

    dim: int
    cells: int
    """How many cells they are from."""
    effective_rank: float
    """Exponential of the entropy of the singular values, 1..dim (Garrido et al., 2023)."""
    participation_ratio: float
    """(sum of variances)^2 / sum of squared variances along principal axes, 1..dim."""
    dead: float
    """Share of dimensions that never vary."""
    date: float
    """Share of the variance between dates: what the whole frame does at once."""
    place: float
    """Share between places: lasting differences."""
    rest: float
    """Share of what neither explains; the three add up to 1."""
    cosine: Estimate
    """Mean cosine between two cells of one date; near 1, all cells say one thing."""
    neighbours: Estimate
    """Of a cell's nearest cells on one date, the share that are nearest on the next date too."""
    neighbours_chance: float
    """The same if neighbours were drawn blindly."""
    drift: float
    """How far the mean of the last date lies from that of history, in units of the spread inside a date."""
    drift_history: float
    """The largest distance of a date of history from the mean of history's other dates, in the same units."""


def latent(
    features: Features,
    history: np.ndarray,
    *,
    nearest: int = 10,
    cells: int = 512,
    draws: int = 500,
    level: float = 0.95,
    seed: int,
) -> Latent:
    """Diagnostics of one stack's vectors.

    Args:
        features: At least two dates.
        history: bool (time,): dates learned from (`Split.fit`), at least two.
        nearest: How many neighbours are compared, Euclidean; fewer where there are not so many cells.
        cells: At most so many cells, drawn without replacement, so that cost does not grow with the scene.
        draws: Resamples of dates for the two intervals.
        level: Of the intervals, in (0, 1).
        seed: Of the drawing.

    Raises:
        DataError: Fewer than 3 cells are valid on every date, too few dates, or all vectors are equal.
    """
    values = _vectors(features, cells, np.random.default_rng(seed))
    dates, count, dim = values.shape
    if count < 3 or dates < 2 or np.count_nonzero(history) < 2:
        raise DataError(
            f"expected at least 3 cells valid on every date and 2 dates of history, "
            f"found {count} cells and {np.count_nonzero(history)} dates"
        )
    spread = values.reshape(-1, dim).std(axis=0)
    if not spread.max() > 0:
        raise DataError("expected vectors that differ, found one everywhere")
    nearest = min(nearest, count - 2)
    shares = _shares(values)
    kept = _kept(values, nearest)
    over_dates = partial(block_bootstrap, resampled="date", draws=draws, level=level, seed=seed)
    flat = values.reshape(-1, dim)
    drift, drift_history = _drift(values, history)
    return Latent(
        dim=dim,
        cells=count,
        effective_rank=effective_rank(flat[:: max(1, -(-len(flat) // 4096))]),
        participation_ratio=_participation(flat),
        dead=float(np.mean(spread <= DEAD * spread.max())),
        date=shares[0],
        place=shares[1],
        rest=shares[2],
        cosine=over_dates(_cosines(values), np.arange(dates), name="cosine"),
        neighbours=over_dates(kept, np.arange(dates - 1), name="neighbours"),
        neighbours_chance=nearest / (count - 1),
        drift=drift,
        drift_history=drift_history,
    )


def _vectors(features: Features, most: int, rng: np.random.Generator) -> np.ndarray:
    """Vectors, float64 (time, cell, dim), of cells that are valid on every date."""
    row, col = np.nonzero(features.valid.all(axis=0))
    if len(row) > most:
        chosen = np.sort(rng.choice(len(row), most, replace=False))
        row, col = row[chosen], col[chosen]
    return np.asarray(features.values[:, row, col], np.float64)


def _participation(flat: np.ndarray) -> float:
    """tr(C)^2 / tr(C^2) of the covariance C, from the smaller of its two Gram matrices."""
    centred = flat - flat.mean(axis=0)
    gram = centred.T @ centred if centred.shape[1] <= len(centred) else centred @ centred.T
    return float(np.trace(gram) ** 2 / np.square(gram).sum())


def _shares(values: np.ndarray) -> tuple[float, float, float]:
    """Sums of squares of date, place and rest over their total, all dimensions together."""
    centred = values - values.mean(axis=(0, 1))
    date, place = centred.mean(axis=1, keepdims=True), centred.mean(axis=0, keepdims=True)
    parts = [np.square(part).mean(axis=(0, 1)).sum() for part in (date, place, centred - date - place)]
    total = sum(parts)
    return float(parts[0] / total), float(parts[1] / total), float(parts[2] / total)


def _cosines(values: np.ndarray) -> np.ndarray:
    """Mean cosine between different cells, a date each: (|sum of unit vectors|^2 - n) / (n (n - 1))."""
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    unit = np.divide(values, length, out=np.zeros_like(values), where=length > 0)
    count = values.shape[1]
    return np.asarray((np.square(unit.sum(axis=1)).sum(axis=-1) - count) / (count * (count - 1)))


def _kept(values: np.ndarray, nearest: int) -> np.ndarray:
    """Share of nearest cells that are nearest on the next date too, a pair of dates each."""
    near = np.stack([_nearest(one, nearest) for one in values])
    return np.asarray((near[1:] & near[:-1]).sum(axis=(1, 2)) / (nearest * values.shape[1]))


def _nearest(vectors: np.ndarray, nearest: int) -> np.ndarray:
    """Which others, (cell, cell), are the nearest of each."""
    square = np.square(vectors).sum(axis=1)
    distance = square[:, None] + square - 2 * vectors @ vectors.T
    np.fill_diagonal(distance, np.inf)
    chosen = np.argpartition(distance, nearest - 1, axis=1)[:, :nearest]
    near = np.zeros(distance.shape, bool)
    np.put_along_axis(near, chosen, True, axis=1)
    return near


def _drift(values: np.ndarray, history: np.ndarray) -> tuple[float, float]:
    """Distance of the last date's mean from history's, and history's own largest, over the spread."""
    mean = values.mean(axis=1)
    spread = float(np.sqrt(values.var(axis=1).sum(axis=-1).mean()))
    past = mean[history]
    others = (past.sum(axis=0) - past) / (len(past) - 1)
    last = np.linalg.norm(mean[-1] - past.mean(axis=0))
    if not spread > 0:
        raise DataError("expected cells that differ on a date, found vectors of one value")
    return float(last / spread), float(np.linalg.norm(past - others, axis=-1).max() / spread)
