"""Several scores of one stack as one, on the finest cells: surprises are fused, not vectors.

Detectors disagree in unit, so each one's score is first read as a surprise, -log10 of its p-value on its own
history. Surprises of coarser cells are interpolated to the centres of the finer ones. Where a coarser part
saw nothing the others speak alone; where the finest saw nothing, nobody speaks. How rare a fused value is, is
asked of history's own fused values (decide/calibration.py), so dependence needs no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import gammaincc, ndtr, ndtri

from sarcast.errors import ShapeError
from sarcast.values import PatchGrid, Scores

Combination = Literal["mean", "max", "cauchy", "stouffer"]
"""`mean` of the surprises, which is Fisher's statistic; `max`: the smallest p-value, paid for having looked
often (Sidak); `cauchy`: the mean of Cauchy variates (Liu and Xie, 2020); `stouffer`: the mean of normal
variates over its standard deviation in history. Each gives the surprise it would be if parts were independent
(`stouffer`: as alike as they were), so that places where a part is missing compare with the rest."""

_LEAST = 0.5
"""Weight of valid coarse cells around a point that makes it valid."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fusion:
    """How surprises become one; all but the correlation is settings."""

    how: Combination
    weights: np.ndarray
    """float64 (part,), positive, sum 1."""
    grid: PatchGrid
    """Cells of the result."""
    correlation: np.ndarray
    """float64 (part, part): of history's normal variates; only `stouffer` looks at it."""

    def __post_init__(self) -> None:
        if not ((self.weights > 0).all() and np.isclose(self.weights.sum(), 1)):
            raise ShapeError(f"need positive weights with the sum 1, got {self.weights.tolist()}")

    def fuse(self, parts: Sequence[Scores]) -> Scores:
        """Fused scores of all dates, not yet calibrated; valid where a part on the finest cells is.

        Args:
            parts: Calibrated; of one stack and its dates. Each date is fused by itself.

        Raises:
            ShapeError: Not so.
        """
        _alike(parts)
        if len(parts) != len(self.weights):
            raise ShapeError(f"expected {len(self.weights)} scores to fuse, found {len(parts)}")
        surprise, seen = _resampled(parts, self.grid)
        finest = min(part.grid.stride for part in parts)
        valid = np.asarray(seen[[part.grid.stride == finest for part in parts]].any(0))
        told = min(parts, key=lambda part: (part.change_db is None, part.grid.stride))
        change = told.change_db
        if change is not None:
            change = _dates(change, told.valid, told.grid, self.grid)[0]
        return Scores(
            values=np.where(valid, self.combine(surprise, seen), 0).astype(np.float32),
            valid=valid,
            times=parts[0].times,
            grid=self.grid,
            geobox=parts[0].geobox,
            detector=name_of(parts),
            stack=parts[0].stack,
            change_db=None if change is None else np.where(valid, change, 0).astype(np.float32),
        )

    def combine(self, surprise: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """One surprise of several.

        Args:
            surprise: (part, ...) -log10 p.
            seen: bool (part, ...): which parts count.

        Returns:
            float64 (...); 0 where no part counts.
        """
        weights = self.weights.reshape(-1, *(1,) * (surprise.ndim - 1)) * seen
        weights = weights / np.maximum(weights.sum(0), 1e-12)
        p = np.where(seen, 10.0**-surprise, 1)
        some = seen.any(0)
        if self.how == "mean":
            shape = 1 / np.maximum((weights**2).sum(0), 1e-12)
            fused = gammaincc(shape, shape * np.log(10) * (weights * surprise).sum(0))
        elif self.how == "max":
            fused = -np.expm1(seen.sum(0) * np.log1p(-np.minimum(p.min(0), 1 - 1e-12)))
        elif self.how == "cauchy":
            fused = _cauchy(p, weights)
        else:
            spread = np.sqrt(np.einsum("i...,ij,j...->...", weights, self.correlation, weights))
            fused = ndtr((weights * ndtri(_open(p))).sum(0) / np.maximum(spread, 1e-12))
        return np.where(some, _surprise(fused, least=1e-300), 0)


def learn_fusion(
    history: Sequence[Scores],
    *,
    how: Combination,
    weights: Sequence[float] | None = None,
    grid: PatchGrid | None = None,
) -> Fusion:
    """How to fuse scores like these.

    Args:
        history: Calibrated scores of history's dates, of one stack.
        how: See `Combination`.
        weights: One a part; all alike when not given.
        grid: Cells of the result, over the same pixels; the finest of the parts' when not given.

    Raises:
        ShapeError: Parts of several stacks, not calibrated, or weights or a grid that do not fit.
    """
    _alike(history)
    if weights is not None and (len(weights) != len(history) or not min(weights) > 0):
        raise ShapeError(f"expected {len(history)} weights over 0, found {list(weights)}")
    grid = grid or min((part.grid for part in history), key=lambda one: (one.stride, one.patch))
    if grid.image != history[0].grid.image:
        raise ShapeError(f"expected cells over {history[0].grid.image} pixels, found over {grid.image}")
    each = np.ones(len(history)) if weights is None else np.asarray(weights, np.float64)
    correlation = np.eye(len(history))
    if how == "stouffer":
        surprise, seen = _resampled(history, grid)
        normal = -ndtri(_open(10.0 ** -surprise[:, seen.all(0)]))
        if normal.shape[1] > 2:
            correlation = np.atleast_2d(np.corrcoef(normal))
    return Fusion(how=how, weights=each / each.sum(), grid=grid, correlation=correlation)


def name_of(parts: Sequence[Scores]) -> str:
    """What fused scores name as their detector: fused(z_score on statistics, z_score on vit)."""
    told = [f"{part.detector} on {part.encoder}" if part.encoder else part.detector for part in parts]
    return f"fused({', '.join(told)})"


def resample(
    values: np.ndarray, valid: np.ndarray, source: PatchGrid, target: PatchGrid
) -> tuple[np.ndarray, np.ndarray]:
    """Values of one grid of cells at the centres of another over the same pixels, bilinear.

    Only valid cells count. A point is valid where the cell it lies nearest to is, and where cells that hold
    at least half of the weight around it are; beyond the outermost centres, values go on as they are.

    Args:
        values: (row, col) of `source`.
        valid: bool (row, col).
        source: Grid of the values.
        target: Grid wanted.

    Returns:
        float64 and bool (row, col) of `target`; 0 where not valid.
    """
    rows = _between(source.tops + source.patch / 2, target.tops + target.patch / 2)
    cols = _between(source.lefts + source.patch / 2, target.lefts + target.patch / 2)
    total, weight = np.zeros(target.shape), np.zeros(target.shape)
    for row, across in rows:
        for col, along in cols:
            at = np.ix_(row, col)
            share = across[:, None] * along * valid[at]
            total += share * np.where(valid[at], values[at], 0)
            weight += share
    nearest = np.ix_(_nearest(rows), _nearest(cols))
    known = (weight >= _LEAST - 1e-9) & valid[nearest]
    return np.where(known, total / np.maximum(weight, 1e-12), 0), known


def _resampled(parts: Sequence[Scores], grid: PatchGrid) -> tuple[np.ndarray, np.ndarray]:
    """Surprises (part, time, row, col) on one grid, and where each part is valid."""
    pairs = []
    for part in parts:
        assert part.p_value is not None
        pairs.append(_dates(_surprise(part.p_value.astype(np.float64)), part.valid, part.grid, grid))
    return np.stack([surprise for surprise, _ in pairs]), np.stack([seen for _, seen in pairs])


def _cauchy(p: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """p-value of the weighted mean of Cauchy variates, (part, ...) -> (...)."""
    small = p < 1e-8
    variate = np.where(small, 1 / (np.pi * np.where(small, p, 1)), np.tan((0.5 - _open(p)) * np.pi))
    mean = (weights * variate).sum(0)
    return np.where(mean > 1e8, 1 / (np.pi * np.maximum(mean, 1)), 0.5 - np.arctan(mean) / np.pi)


def _dates(
    values: np.ndarray, valid: np.ndarray, source: PatchGrid, target: PatchGrid
) -> tuple[np.ndarray, np.ndarray]:
    """`resample` of every date."""
    if source == target:
        return np.where(valid, values, 0), valid
    pairs = [resample(v, ok, source, target) for v, ok in zip(values, valid, strict=True)]
    return np.stack([v for v, _ in pairs]), np.stack([ok for _, ok in pairs])


def _between(centres: np.ndarray, wanted: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """((index, weight), (index, weight)) of the two centres around every wanted place."""
    after = np.clip(np.searchsorted(centres, wanted), 1, max(1, len(centres) - 1))
    after = np.minimum(after, len(centres) - 1)
    before = np.maximum(after - 1, 0)
    gap = np.maximum(centres[after] - centres[before], 1e-9)
    share = np.clip((wanted - centres[before]) / gap, 0, 1)
    return (before, 1 - share), (after, share)


def _nearest(around: tuple[tuple[np.ndarray, np.ndarray], ...]) -> np.ndarray:
    (before, near), (after, _) = around
    return np.where(near >= 0.5, before, after)


def _surprise(p: np.ndarray, *, least: float = 1e-30) -> np.ndarray:
    return np.asarray(-np.log10(np.clip(p, least, 1)))


def _open(p: np.ndarray) -> np.ndarray:
    """p-values off 0 and 1."""
    return np.clip(p, 1e-30, 1 - 1e-9)


def _alike(parts: Sequence[Scores]) -> None:
    if not parts:
        raise ShapeError("expected scores to fuse, found none")
    first = parts[0]
    for part in parts:
        if part.p_value is None:
            raise ShapeError(f"expected calibrated scores to fuse, found no p-values, of {part.detector}")
        for what in ("stack", "geobox"):
            if getattr(part, what) != getattr(first, what):
                raise ShapeError(f"expected scores of one {what}, found those of {part.detector} on another")
        if part.times.scene_id != first.times.scene_id:
            raise ShapeError(f"expected scores of the same dates, found others, of {part.detector}")
