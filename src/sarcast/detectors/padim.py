"""PaDiM: a Gaussian per place, and how far a new date lies from it (Defard et al., 2021, arXiv:2011.08785).

A cell's vectors over history, each less what the cells that behaved alike did that day, have a mean and a
covariance S. A few dates cannot fill it, so it is shrunk to the alike cells' variances v along the principal
axes of all cells' deviations, and widened by a ridge e:

    C = (1 - pooled) S + diag(pooled v + e)

The score is the Mahalanobis distance by C. With n dates, S has rank n or less: in coordinates divided by the
root of the diagonal it is V diag(w) V', and the squared distance of x is the sum of (V'x)^2 / (1 + w) plus
|x - V V'x|^2. That needs a decomposition of n vectors per cell and no inverse of a dim x dim matrix; without
pooling it is z^2 / (w + e) in the span of history and |rest|^2 / e outside of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from pydantic import Field

from sarcast.detectors.alike import alike, centred
from sarcast.detectors.base import history
from sarcast.detectors.by_fold import flat, from_arrays, score_by_fold, to_arrays
from sarcast.detectors.cross_fit import date_folds, kept_dates
from sarcast.detectors.directions import along, directions
from sarcast.runtime.model import load_model, save_model
from sarcast.runtime.settings import Settings
from sarcast.values import Features, Scores, Split


class PaDiM(Settings):
    """Mahalanobis distance from a Gaussian per place, centred on the cells that behaved alike."""

    neighbours: int = Field(60, ge=0)
    """How many alike cells each date is centred on, and the variance is shared with; 0 centres on nothing
    and shares with all cells."""
    components: int = Field(6, ge=1)
    """Principal components of history that say what is alike."""
    pooled: float = Field(0.5, ge=0, le=1)
    """Share of the covariance that is the alike cells'; the rest is the cell's own. 0 for the paper's."""
    ridge: float = Field(0.01, gt=0)
    """Added to the covariance's diagonal, as a share of the mean variance of a feature."""
    directions: int | None = Field(None, ge=0)
    """Principal components of history that wide features are reduced to; 0 for none. When not given, 16 where
    there are more than 32 features."""
    folds: int = Field(8, ge=2)
    """Groups of history dates left out in turn when history scores itself. A covariance of fewer dates finds
    more odd: with few folds history's scores are too high, and p-values too large."""

    def fit(self, features: Features, split: Split, *, rng: Generator) -> PaDiMScorer:
        """A Gaussian per cell from the valid history; also with each fold of dates left out."""
        matrix = directions(features, split.fit, wanted=self.directions)
        features = along(features, matrix)
        values, valid = history(features, split.fit, at_least=3)
        dates = np.flatnonzero(split.fit)
        fold = date_folds(len(dates), self.folds)
        return PaDiMScorer(
            models=tuple(_learn(values[k], valid[k], self, rng) for k in kept_dates(fold)),
            directions=matrix,
            history_ids=tuple(features.times.scene_id[i] for i in dates),
            history_fold=fold,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Gaussians:
    """What is normal for each cell, in coordinates along the principal axes of all cells' deviations."""

    mean: np.ndarray
    """float32 (cell, dim), in the features' own coordinates."""
    axes: np.ndarray
    """float32 (dim, axis): orthonormal columns."""
    diagonal: np.ndarray
    """float32 (cell, axis): variance that is not the cell's own."""
    span: np.ndarray
    """float32 (cell, rank, axis): where history went, in units of the root of the diagonal."""
    spread: np.ndarray
    """float32 (cell, rank): variance there, in the same units."""
    known: np.ndarray
    """bool (cell,): seen often enough."""
    neighbours: np.ndarray
    """int32 (cell, neighbour)."""

    def distance(self, values: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Mahalanobis distance (cell,) of one date's features (cell, dim); of no meaning where not seen."""
        residual = centred(values - self.mean, seen, self.neighbours) @ self.axes
        return np.sqrt(squared_distance(residual, self.diagonal, self.span, self.spread))


@dataclass(frozen=True, kw_only=True, eq=False)
class PaDiMScorer:
    """What was learned from the whole history, and with each fold of it left out."""

    models: tuple[Gaussians, ...]
    """The whole history's, then one per fold."""
    directions: np.ndarray
    """float32 (dim, direction): what features are reduced to; no columns where they are not."""
    history_ids: tuple[str, ...]
    """Scene ids of history, in time order."""
    history_fold: np.ndarray
    """int (history,): which fold a history date was left out in."""

    def score(self, features: Features, times: Sequence[int] | None = None) -> Scores:
        """Scores of all times, or of those with the given indices; history by the model that left it out."""
        features = along(features, self.directions)

        def one(model: Gaussians, t: int) -> tuple[np.ndarray, np.ndarray]:
            date, valid = flat(features, t)
            seen = valid & model.known
            return model.distance(date, seen), seen

        return score_by_fold(self, features, times, one, detector="padim")

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        arrays = to_arrays(self.models, _FIELDS)
        arrays |= {"history_fold": self.history_fold.astype(np.int64), "directions": self.directions}
        config = {"detector": "padim", "history_ids": list(self.history_ids)}
        save_model(folder, config=config, arrays=arrays)

    @classmethod
    def from_pretrained(cls, folder: Path) -> PaDiMScorer:
        """Load what `save` wrote."""
        config, arrays = load_model(folder)
        return cls(
            models=from_arrays(Gaussians, _FIELDS, arrays),
            directions=arrays["directions"],
            history_ids=tuple(config["history_ids"]),
            history_fold=arrays["history_fold"],
        )


_FIELDS = ("mean", "axes", "diagonal", "span", "spread", "known", "neighbours")
_NUMBERS = 8_000_000


def low_rank(factor: np.ndarray, diagonal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Covariances F'F + diag(D) in a form whose inverse is known.

    Args:
        factor: F (cell, time, dim).
        diagonal: D (cell, dim), above 0.

    Returns:
        span (cell, rank, dim), orthonormal rows, and spread (cell, rank), with rank the smaller of time and
        dim: F'F = sqrt(D) span' diag(spread) span sqrt(D).
    """
    _, root, span = np.linalg.svd(factor / np.sqrt(diagonal)[:, None], full_matrices=False)
    return span, root**2


def squared_distance(
    residual: np.ndarray, diagonal: np.ndarray, span: np.ndarray, spread: np.ndarray
) -> np.ndarray:
    """Squared Mahalanobis distance (cell,) of `residual` (cell, dim) by the covariances of `low_rank`."""
    residual = residual / np.sqrt(diagonal)
    inside = np.matmul(span, residual[..., None])
    outside = residual - np.matmul(inside.swapaxes(1, 2), span)[:, 0]
    return (inside[..., 0] ** 2 / (1 + spread)).sum(-1) + (outside**2).sum(-1)


def _learn(values: np.ndarray, valid: np.ndarray, settings: PaDiM, rng: Generator) -> Gaussians:
    count = valid.sum(0)
    known = count >= max(3, len(valid) // 2)
    mean = (values * valid[..., None]).sum(0) / np.maximum(count, 1)[:, None]
    seen = valid & known
    neighbours = (
        alike(values, seen, neighbours=settings.neighbours, components=settings.components, rng=rng)
        if settings.neighbours
        else np.zeros((len(known), 0), np.int32)
    )
    residual = np.stack([centred(v - mean, s, neighbours) for v, s in zip(values, seen, strict=True)])
    residual *= _root_weight(seen)[:, None]
    axes, mean_variance = _axes(residual, known)
    residual = residual @ axes
    variance = _shared((residual**2).sum(0), known, neighbours)
    diagonal = (settings.pooled * variance + settings.ridge * mean_variance + 1e-12).astype(np.float32)
    span, spread = _spans(np.sqrt(1 - settings.pooled) * residual, diagonal)
    return Gaussians(
        mean=mean.astype(np.float32),
        axes=axes,
        diagonal=diagonal,
        span=span,
        spread=spread,
        known=known,
        neighbours=neighbours,
    )


def _root_weight(seen: np.ndarray) -> np.ndarray:
    """What turns a cell's deviations into a factor of the covariance of a new date's deviation, (cell,).

    Deviations of n dates around their own mean are corrected by n / (n - 1) for the mean taken out and by
    (n + 1) / n for the mean's own error on a new date.
    """
    count = np.maximum(seen.sum(0), 2)
    return np.sqrt((count + 1) / (count * (count - 1))).astype(np.float32)


def _axes(factor: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, float]:
    """Principal axes float32 (dim, axis) of the mean covariance of the cells, and the mean variance."""
    square = np.zeros((factor.shape[-1],) * 2)
    for one in factor:
        square += one.T.astype(np.float64) @ one
    square /= max(1, known.sum())
    return np.linalg.eigh(square)[1].astype(np.float32), float(np.trace(square) / len(square))


def _shared(variance: np.ndarray, known: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """Mean variance of the alike cells, (cell, axis), or of all where there are none."""
    if neighbours.shape[1]:
        return np.stack([variance[near].mean(0) for near in neighbours])
    return np.broadcast_to(variance[known].sum(0) / max(1, known.sum()), variance.shape)


def _spans(factor: np.ndarray, diagonal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`low_rank` of a factor (time, cell, axis), some cells at a time, float32."""
    dates, cells, dim = factor.shape
    rank, step = min(dates, dim), max(1, _NUMBERS // (dates * dim))
    span, spread = np.empty((cells, rank, dim), np.float32), np.empty((cells, rank), np.float32)
    for first in range(0, cells, step):
        rows = slice(first, first + step)
        some = factor[:, rows].swapaxes(0, 1).astype(np.float64)
        span[rows], spread[rows] = low_rank(some, diagonal[rows].astype(np.float64))
    return span, spread
