"""Normalised series of cells for the forecasting networks: deviations from history, and facts of the dates.

A cell's features less its own mean and less what the alike cells did that day, over its scale; beside them
the frame's own state, the days, and the geometry of every acquisition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from sarcast.detectors.alike import centred
from sarcast.detectors.cross_fit import FEWEST, Centring, neighbours_of, scale_of
from sarcast.values import Features

GEOMETRY = 3
"""Columns of `Series.geometry` before those of the platforms."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Normal:
    """What the inputs are normalised by."""

    mean: np.ndarray
    """float32 (cell, dim)."""
    scale: np.ndarray
    """float32 (cell, dim)."""
    neighbours: np.ndarray
    """int32 (cell, neighbour)."""
    incidence_deg: np.ndarray
    """float32 (1,): mean over history; NaN where unknown."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """Normalised deviations of some dates, and what is known of the dates."""

    values: np.ndarray
    """float32 (time, cell, dim); 0 where not valid."""
    valid: np.ndarray
    """bool (time, cell)."""
    frame: np.ndarray
    """float32 (time, dim): what the whole frame did."""
    days: np.ndarray
    """float64 (time,)."""
    geometry: np.ndarray
    """float32 (time, 3 + platform): incidence from history's mean / 10 degrees, look side, direction
    (-1, 0, 1; 0 is unknown), then 1 in the column of the platform, where it is one of those asked for."""
    begin: np.ndarray
    """int (time,): the first date that a forecast of this one may look back on."""


def learn_normal(
    values: np.ndarray,
    valid: np.ndarray,
    incidence_deg: np.ndarray,
    settings: Centring,
    *,
    pooled: float,
    rng: Generator,
) -> Normal:
    """What history is normalised by.

    Args:
        values: (time, cell, dim), 0 where not valid.
        valid: bool (time, cell).
        incidence_deg: (time,); NaN where unknown.
        settings: Say which cells are alike.
        pooled: Share of the variance that is that of all cells.
        rng: Draws the pool of alike cells in large stacks.
    """
    count = np.maximum(valid[..., None].sum(0), 1)
    mean = (values * valid[..., None]).sum(0) / count
    neighbours = neighbours_of(values, valid, settings, rng)
    residual = np.stack([centred(v - mean, s, neighbours) for v, s in zip(values, valid, strict=True)])
    own = (residual**2).sum(0) / np.maximum(count - 1, 1)
    known = incidence_deg[np.isfinite(incidence_deg)]
    return Normal(
        mean=mean.astype(np.float32),
        scale=scale_of(own, valid, pooled=pooled),
        neighbours=neighbours,
        incidence_deg=np.array([known.mean() if len(known) else np.nan], np.float32),
    )


def series_of(features: Features, dates: np.ndarray, normal: Normal, platforms: Sequence[str] = ()) -> Series:
    """The dates with the given indices, normalised; `platforms` get a column of the geometry each."""
    values, frames, valids = [], [], []
    typical = np.median(normal.scale, axis=0)
    for t in dates:
        seen = features.valid[t].ravel()
        deviation = features.values[t].reshape(len(seen), -1) - normal.mean
        values.append(centred(deviation, seen, normal.neighbours) / normal.scale)
        frames.append(_frame(deviation, seen) / typical)
        valids.append(seen)
    times = features.times
    columns = [
        np.nan_to_num(times.incidence_deg[dates] - normal.incidence_deg) / 10,
        _sign(times.look_side, dates, "right", "left"),
        _sign(times.orbit_direction, dates, "ascending", "descending"),
        *(np.array([times.platform[t] == platform for t in dates]) for platform in platforms),
    ]
    return Series(
        values=np.stack(values).astype(np.float32),
        valid=np.stack(valids),
        frame=np.stack(frames).astype(np.float32),
        days=times.days[dates],
        geometry=np.stack(columns, axis=1).astype(np.float32),
        begin=np.zeros(len(dates), int),
    )


def left_out(
    features: Features,
    dates: np.ndarray,
    fold: np.ndarray,
    normals: Sequence[Normal],
    *,
    context: int,
    platforms: Sequence[str] = (),
) -> tuple[Series, np.ndarray]:
    """Every fold of history with its context, normalised without the fold, one after the other.

    Around a mean they are part of, dates sum to zero: a forecaster would learn that the next one makes up for
    the last ones, which no later date does.

    Returns:
        The series, and bool (time,): which dates are the folds' own, to be forecast.
    """
    parts, own = [], []
    for f, normal in enumerate(normals):
        first, last = np.flatnonzero(fold == f)[[0, -1]]
        start = max(0, int(first) - context)
        parts.append(series_of(features, dates[start : last + 1], normal, platforms))
        own.append(fold[start : last + 1] == f)
    begin = np.cumsum([0, *(len(some) for some in own)])
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("values", "valid", "frame", "days", "geometry")
    }
    starts = np.repeat(begin[:-1], [len(some) for some in own])
    return Series(**joined, begin=starts), np.concatenate(own)


def windows(series: Series, targets: np.ndarray, cells: np.ndarray, context: int) -> np.ndarray:
    """Pairs (target date, cell) with enough valid acquisitions before the target, int (window, 2)."""
    found = [np.zeros((0, 2), int)]
    for t in np.flatnonzero(targets):
        enough = series.valid[max(int(series.begin[t]), t - context) : t].sum(0) >= FEWEST
        cell = np.flatnonzero(cells & enough & series.valid[t])
        found.append(np.stack([np.full(len(cell), t), cell], 1))
    return np.concatenate(found)


def _frame(deviation: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The frame's median deviation (dim,); 0 where nothing was seen."""
    some = deviation[seen].astype(np.float32)
    return np.median(some, axis=0) if len(some) else np.zeros(deviation.shape[1], np.float32)


def _sign(values: Sequence[str], dates: np.ndarray, plus: str, minus: str) -> np.ndarray:
    code = {plus: 1.0, minus: -1.0}
    return np.array([code.get(values[i], 0.0) for i in dates])
