"""RX: Mahalanobis distance from the rest of the frame on the same date (Reed and Yu, 1990).

What is compared is a cell's deviation from its own mean over history, less what the cells that behaved alike
did that day: d^2 = (z - m)' C^-1 (z - m) / dim, with m and C of one date's cells, all of them or a ring
around the cell, and C = (1 - s) S + s tr(S) / dim I, where s is Ledoit and Wolf's (2004) or given. C is never
inverted: one eigen-decomposition serves a whole date; a ring solves with its smaller side, cells (Woodbury)
or features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from numpy.random import Generator
from pydantic import Field, model_validator

from sarcast.detectors.alike import alike, centred
from sarcast.detectors.base import history
from sarcast.detectors.by_fold import flat, from_arrays, score_by_fold, to_arrays
from sarcast.detectors.cross_fit import date_folds, kept_dates
from sarcast.detectors.directions import along, directions
from sarcast.runtime.model import load_model, save_model
from sarcast.runtime.settings import Settings
from sarcast.values import Features, Scores, Split


class RX(Settings):
    """Mahalanobis distance of a cell's change from the changes of the other cells that day."""

    background: Literal["global", "local"] = "global"
    """Cells that say what is usual on a date: all of the frame, or a ring around each cell."""
    window: int = Field(11, ge=3)
    """Side of the ring, cells, odd; for a local background."""
    guard: int = Field(3, ge=1)
    """Side of the square around the cell that the ring leaves out, cells, odd."""
    shrinkage: Literal["ledoit_wolf"] | Annotated[float, Field(ge=0, le=1)] = "ledoit_wolf"
    """Share of the covariance that is its mean variance on the diagonal; found from the cells, or given."""
    neighbours: int = Field(60, ge=0)
    """How many alike cells each date is centred on; 0 centres on nothing."""
    components: int = Field(6, ge=1)
    """Principal components of history that say what is alike."""
    pooled: float = Field(0.5, ge=0, le=1)
    """Features are first divided by a standard deviation: share of its variance that is the whole frame's;
    the rest is the cell's own."""
    directions: int | None = Field(None, ge=0)
    """Principal components of history that wide features are reduced to; 0 for none. When not given, 16 where
    there are more than 32 features."""
    folds: int = Field(4, ge=2)
    """Groups of history dates left out in turn when history scores itself."""

    @model_validator(mode="after")
    def _ring(self) -> Self:
        if self.window % 2 == 0 or self.guard % 2 == 0 or self.guard >= self.window:
            raise ValueError(f"expected odd guard < window, found guard {self.guard}, window {self.window}")
        return self

    def fit(self, features: Features, split: Split, *, rng: Generator) -> RXScorer:
        """Mean, scale and alike cells from the valid history; also with each fold of dates left out."""
        matrix = directions(features, split.fit, wanted=self.directions)
        features = along(features, matrix)
        values, valid = history(features, split.fit, at_least=3)
        dates = np.flatnonzero(split.fit)
        fold = date_folds(len(dates), self.folds)
        return RXScorer(
            settings=self,
            models=tuple(_learn(values[k], valid[k], self, rng) for k in kept_dates(fold)),
            directions=matrix,
            history_ids=tuple(features.times.scene_id[i] for i in dates),
            history_fold=fold,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Usual:
    """What history says of each cell."""

    mean: np.ndarray
    """float32 (cell, dim)."""
    scale: np.ndarray
    """float32 (cell, dim): standard deviation of a new date's centred deviation."""
    known: np.ndarray
    """bool (cell,): seen often enough."""
    neighbours: np.ndarray
    """int32 (cell, neighbour)."""

    def deviation(self, values: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """(cell, dim) features of one date -> float64 scaled, centred deviations; 0 where not seen."""
        return centred(values - self.mean, seen, self.neighbours).astype(np.float64) / self.scale


@dataclass(frozen=True, kw_only=True, eq=False)
class RXScorer:
    """What was learned from the whole history, and with each fold of it left out."""

    settings: RX
    models: tuple[Usual, ...]
    """The whole history's, then one per fold."""
    directions: np.ndarray
    """float32 (dim, direction): what features are reduced to; no columns where they are not."""
    history_ids: tuple[str, ...]
    """Scene ids of history, in time order."""
    history_fold: np.ndarray
    """int (history,): which fold a history date was left out in."""

    def score(self, features: Features, times: Sequence[int] | None = None) -> Scores:
        """Scores of all times, or of those with the given indices; history by the model that left it out."""
        features, shape, told = along(features, self.directions), features.grid.shape, self.settings

        def one(usual: Usual, t: int) -> tuple[np.ndarray, np.ndarray]:
            date, valid = flat(features, t)
            seen = valid & usual.known
            z = usual.deviation(date, seen)
            if told.background == "global":
                return global_rx(z, seen, shrinkage=told.shrinkage), seen
            ring = {"window": told.window, "guard": told.guard}
            return local_rx(z, seen, shape, shrinkage=told.shrinkage, **ring)

        return score_by_fold(self, features, times, one, detector="rx")

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        arrays = to_arrays(self.models, _FIELDS)
        arrays |= {"history_fold": self.history_fold.astype(np.int64), "directions": self.directions}
        config = {"detector": "rx", "settings": self.settings.model_dump(mode="json")}
        save_model(folder, config={**config, "history_ids": list(self.history_ids)}, arrays=arrays)

    @classmethod
    def from_pretrained(cls, folder: Path) -> RXScorer:
        """Load what `save` wrote."""
        config, arrays = load_model(folder)
        return cls(
            settings=RX(**config["settings"]),
            models=from_arrays(Usual, _FIELDS, arrays),
            history_ids=tuple(config["history_ids"]),
            history_fold=arrays["history_fold"],
            directions=arrays["directions"],
        )


_FIELDS = ("mean", "scale", "known", "neighbours")
_LEAST = 3
_FLOOR = 1e-6


def global_rx(z: np.ndarray, seen: np.ndarray, *, shrinkage: float | Literal["ledoit_wolf"]) -> np.ndarray:
    """Distance of each cell from all seen cells of the date, by one eigen-decomposition.

    With fewer cells than features it is that of the cells' products with each other: its vectors hold where
    each cell lies along the axes of the covariance, and outside of them no cell lies.

    Args:
        z: float64 (cell, dim).
        seen: bool (cell,).
        shrinkage: Share of the mean variance on the diagonal, or "ledoit_wolf".

    Returns:
        float64 (cell,): sqrt(d^2 / dim); 0 where not seen.
    """
    distance = np.zeros(len(z))
    if not seen.any():
        return distance
    away = z[seen] - z[seen].mean(0)
    count, dim = away.shape
    square = away @ away.T if count < dim else away.T @ away
    share, variance = _shrunk(square, (away**2).sum(1), np.array(count), dim, shrinkage)
    spread, axes = np.linalg.eigh(square / count)
    spread = np.maximum(spread, 0)
    along_axes = axes**2 * (count * spread) if count < dim else (away @ axes) ** 2
    distance[seen] = np.sqrt((along_axes / ((1 - share) * spread + share * variance)).sum(1) / dim)
    return distance


def local_rx(
    z: np.ndarray,
    seen: np.ndarray,
    shape: tuple[int, int],
    *,
    window: int,
    guard: int,
    shrinkage: float | Literal["ledoit_wolf"],
) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each cell from the seen cells of a ring around it.

    Args:
        z: float64 (cell, dim).
        seen: bool (cell,).
        shape: (row, col) of the cells.
        window: Side of the ring, cells.
        guard: Side of the square within that is left out, cells.
        shrinkage: Share of the mean variance on the diagonal, or "ledoit_wolf".

    Returns:
        float64 (cell,), sqrt(d^2 / dim), and bool (cell,): seen, with at least three seen cells in the ring.
    """
    around, inside = _ring(shape, window, guard)
    used = inside & seen[around]
    scored = seen & (used.sum(1) >= _LEAST)
    distance = np.zeros(len(z))
    cells = np.flatnonzero(scored)
    step = max(1, 4_000_000 // (around.shape[1] * max(z.shape[1], around.shape[1])))
    for first in range(0, len(cells), step):
        some = cells[first : first + step]
        distance[some] = _from_ring(z[some], z[around[some]], used[some], shrinkage)
    return distance, scored


def _from_ring(
    z: np.ndarray, ring: np.ndarray, used: np.ndarray, shrinkage: float | Literal["ledoit_wolf"]
) -> np.ndarray:
    """(cell, dim) and its (cell, other, dim) ring, of which `used` counts -> (cell,)."""
    count, dim = used.sum(1), z.shape[1]
    mean = (ring * used[..., None]).sum(1) / count[:, None]
    others = (ring - mean[:, None]) * used[..., None]
    away = z - mean
    wide = dim > others.shape[1]
    flipped = others.transpose(0, 2, 1)
    square = others @ flipped if wide else flipped @ others
    share, variance = _shrunk(square, (others**2).sum(2), count, dim, shrinkage)
    weight, ridge = ((1 - share) / count)[:, None, None], (share * variance)[:, None, None]
    matrix = weight * square + ridge * np.eye(square.shape[-1])
    if not wide:
        return np.sqrt((away * _solved(matrix, away)).sum(1) / dim)
    across = (others @ away[..., None])[..., 0]
    explained = weight[:, 0, 0] * (across * _solved(matrix, across)).sum(1)
    return np.sqrt(np.maximum((away**2).sum(1) - explained, 0) / ridge[:, 0, 0] / dim)


def _solved(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return np.linalg.solve(matrix, vector[..., None])[..., 0]


def _shrunk(
    square: np.ndarray,
    lengths: np.ndarray,
    count: np.ndarray,
    dim: int,
    shrinkage: float | Literal["ledoit_wolf"],
) -> tuple[np.ndarray, np.ndarray]:
    """Share of shrinkage and mean variance, from sums of squares.

    Args:
        square: (..., a, a): X'X or XX' of the centred X (other, dim); both have the same norm and trace.
        lengths: (..., other): squared length of each row of X.
        count: (...): rows of X that count.
        dim: Columns of X.
        shrinkage: As in `RX`.
    """
    variance = lengths.sum(-1) / (count * dim)
    norm = (square**2).sum((-1, -2)) / count**2
    if shrinkage == "ledoit_wolf":
        error = ((lengths**2).sum(-1) / count - norm) / count
        spread = norm - dim * variance**2
        share = np.clip(error / np.maximum(spread, 1e-300), _FLOOR, 1)
    else:
        share = np.full(variance.shape, max(shrinkage, _FLOOR))
    return share, np.maximum(variance, _FLOOR**2)


def _ring(shape: tuple[int, int], window: int, guard: int) -> tuple[np.ndarray, np.ndarray]:
    """Cells of every cell's ring, int (cell, other), and bool: inside the frame."""
    side = np.arange(window) - window // 2
    dy, dx = (axis.ravel() for axis in np.meshgrid(side, side, indexing="ij"))
    ring = np.maximum(np.abs(dy), np.abs(dx)) > guard // 2
    row, col = np.divmod(np.arange(shape[0] * shape[1])[:, None], shape[1])
    row, col = row + dy[ring], col + dx[ring]
    inside = (row >= 0) & (row < shape[0]) & (col >= 0) & (col < shape[1])
    return np.where(inside, row * shape[1] + col, 0), inside


def _learn(values: np.ndarray, valid: np.ndarray, settings: RX, rng: Generator) -> Usual:
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
    return Usual(
        mean=mean.astype(np.float32),
        scale=_scale(residual, seen, settings.pooled).astype(np.float32),
        known=known,
        neighbours=neighbours,
    )


def _scale(residual: np.ndarray, seen: np.ndarray, pooled: float) -> np.ndarray:
    """Standard deviation of a new date's deviation, (cell, dim); corrected as a mean of n dates wants it."""
    count = np.maximum(seen.sum(0), 2)[:, None]
    own = (residual**2).sum(0) / (count - 1) * (count + 1) / count
    some = seen.any(0)
    frame = own[some].mean(0) if some.any() else own.mean(0)
    return np.sqrt(pooled * frame + (1 - pooled) * own) + 1e-6
