"""The classical detector to beat: how far a cell is from its history, beside the cells that behaved alike.

Deviation from the cell's mean over history of any length, less the median deviation of the cells most alike
in history, over a standard deviation whose variance is half the cell's own and half that of the alike cells,
widened by how much those disagree on the date. Small cells are noisy, so there the signed values are also
averaged with their surroundings at several scales, by a bilateral mean that stops at the edge of a strong
change. The score is the root mean square over features, or their largest absolute value, at the scale where
it is highest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.random import Generator
from pydantic import Field

from sarcast.detectors.alike import centred, disagreement
from sarcast.detectors.anniversary import Past, day_of_year
from sarcast.detectors.base import history
from sarcast.detectors.by_fold import flat, from_arrays, score_by_fold, to_arrays
from sarcast.detectors.cross_fit import date_folds, fold_of, kept_dates, neighbours_of
from sarcast.detectors.directions import along, directions
from sarcast.runtime.model import load_model, save_model
from sarcast.runtime.settings import Settings
from sarcast.values import Features, PatchGrid, Scores, Split


class ZScore(Settings):
    """Distance from history in standard deviations, centred on the cells that behaved alike."""

    neighbours: int = Field(60, ge=0)
    """How many alike cells each date is centred on; 0 centres on nothing."""
    components: int = Field(6, ge=1)
    """Principal components of history that say what is alike."""
    pooled: float = Field(0.5, ge=0, le=1)
    """Share of the variance that is the alike cells'; the rest is the cell's own."""
    today: float = Field(0.5, ge=0, le=1)
    """Share of the variance scaled by how much the alike cells disagree on the date (rain, wind)."""
    scales: tuple[float, ...] | None = None
    """Spatial averaging of the signed values beside the cell alone: Gaussian sigmas, cells. When not given,
    0.7 and 1.5 for cells of 8 px or less and none for larger ones."""
    norm: Literal["l2", "max"] = "l2"
    """How a cell's features become one number: root mean square, or largest absolute value."""
    reach: float = Field(3.0, gt=0)
    """Averaging stops where neighbours differ by several times this, in standard deviations."""
    directions: int | None = Field(None, ge=0)
    """Principal components of history that wide features are reduced to; 0 for none. When not given, 16 where
    there are more than 32 features."""
    folds: int = Field(4, ge=2)
    """Groups of history dates left out in turn when history scores itself."""
    anniversary_days: int | None = Field(None, ge=1, le=182)
    """Compare a date only with dates of history within so many days of its day of the year, in any year; with
    all of history when not given, and where too few dates are that near. For history of several years."""
    at_least: int = Field(6, ge=3)
    """Dates of history near the day of the year that are enough."""

    def fit(self, features: Features, split: Split, *, rng: Generator) -> ZScorer:
        """Mean, variance and alike cells from the valid history; also with each fold of dates left out."""
        matrix = directions(features, split.fit, wanted=self.directions)
        features = along(features, matrix)
        values, valid = history(features, split.fit, at_least=3)
        dates = np.flatnonzero(split.fit)
        fold = date_folds(len(dates), self.folds)
        return ZScorer(
            settings=self,
            models=tuple(
                _learn(values[k], valid[k], self, features.grid, _near(values[k], valid[k], self, rng))
                for k in kept_dates(fold)
            ),
            past=None
            if self.anniversary_days is None
            else Past(values=values, valid=valid, day=day_of_year(features.times.time[dates])),
            directions=matrix,
            history_ids=tuple(features.times.scene_id[i] for i in dates),
            history_fold=fold,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Normal:
    """What is normal for each cell."""

    mean: np.ndarray
    """float32 (cell, dim)."""
    scale: np.ndarray
    """float32 (cell, dim): standard deviation of a new date's centred deviation."""
    averaged: np.ndarray
    """float32 (scale, dim): standard deviation of the standardised values once averaged."""
    known: np.ndarray
    """bool (cell,): seen often enough."""
    neighbours: np.ndarray
    """int32 (cell, neighbour)."""

    def standardised(self, values: np.ndarray, seen: np.ndarray, today: float) -> np.ndarray:
        """(cell, dim) features of one date -> signed distances from normal; 0 where not seen."""
        z = centred(values - self.mean, seen, self.neighbours) / self.scale
        if today and self.neighbours.shape[1]:
            spread = disagreement(z, seen, self.neighbours)
            z = z / np.sqrt(1 - today + today * spread**2)
        return z


@dataclass(frozen=True, kw_only=True, eq=False)
class ZScorer:
    """What was learned from the whole history, and with each fold of it left out."""

    settings: ZScore
    models: tuple[Normal, ...]
    """The whole history's, then one per fold."""
    directions: np.ndarray
    """float32 (dim, direction): what features are reduced to; no columns where they are not."""
    history_ids: tuple[str, ...]
    """Scene ids of history, in time order."""
    history_fold: np.ndarray
    """int (history,): which fold a history date was left out in."""
    past: Past | None
    """History itself, where dates are compared with their anniversaries."""

    def score(self, features: Features, times: Sequence[int] | None = None) -> Scores:
        """Scores of all times, or of those with the given indices; history by the model that left it out."""
        features, grid = along(features, self.directions), features.grid
        days, made = day_of_year(features.times.time), dict[bytes, Normal]()

        def one(normal: Normal, t: int) -> tuple[np.ndarray, np.ndarray]:
            date, valid = flat(features, t)
            normal = self._seasonal(normal, features.times.scene_id[t], days[t], grid, made)
            seen = valid & normal.known
            return self._one(normal, date, seen, grid), seen

        return score_by_fold(self, features, times, one, detector="z_score")

    def _seasonal(
        self, normal: Normal, scene_id: str, day: float, grid: PatchGrid, made: dict[bytes, Normal]
    ) -> Normal:
        """What is normal near a day of the year, alike cells as in `normal`; `made` holds the last one."""
        if self.past is None:
            return normal
        fold = fold_of(self.history_ids, self.history_fold, scene_id)
        allowed = np.ones(len(self.history_fold), bool) if fold is None else self.history_fold != fold
        told = {"within": self.settings.anniversary_days or 0, "at_least": self.settings.at_least}
        chosen = self.past.near(day, allowed=allowed, **told)
        if (chosen == allowed).all():
            return normal
        key = chosen.tobytes() + str(fold).encode()
        if key not in made:
            made.clear()
            some = self.past.values[chosen], self.past.valid[chosen]
            made[key] = _learn(*some, self.settings, grid, normal.neighbours)
        return made[key]

    def _one(self, normal: Normal, date: np.ndarray, seen: np.ndarray, grid: PatchGrid) -> np.ndarray:
        z = normal.standardised(date, seen, self.settings.today)
        best = self._size(z)
        for sigma, scale in zip(_scales(self.settings, grid.patch), normal.averaged, strict=True):
            smooth = bilateral(z, seen, grid.shape, sigma=sigma, reach=self.settings.reach) / scale
            np.maximum(best, self._size(smooth), out=best)
        return np.where(seen, best, 0)

    def _size(self, z: np.ndarray) -> np.ndarray:
        return np.abs(z).max(-1) if self.settings.norm == "max" else np.sqrt((z**2).mean(-1))

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        arrays = to_arrays(self.models, _FIELDS)
        arrays |= {"history_fold": self.history_fold.astype(np.int64), "directions": self.directions}
        if self.past is not None:
            arrays |= {f"past.{name}": getattr(self.past, name) for name in _PAST}
        config = {"detector": "z_score", "settings": self.settings.model_dump(mode="json")}
        save_model(folder, config={**config, "history_ids": list(self.history_ids)}, arrays=arrays)

    @classmethod
    def from_pretrained(cls, folder: Path) -> ZScorer:
        """Load what `save` wrote."""
        config, arrays = load_model(folder)
        return cls(
            settings=ZScore(**config["settings"]),
            models=from_arrays(Normal, _FIELDS, arrays),
            history_ids=tuple(config["history_ids"]),
            history_fold=arrays["history_fold"],
            directions=arrays["directions"],
            past=Past(**{name: arrays[f"past.{name}"] for name in _PAST}) if "past.day" in arrays else None,
        )


_FIELDS = ("mean", "scale", "averaged", "known", "neighbours")
_PAST = ("values", "valid", "day")


def bilateral(
    values: np.ndarray, seen: np.ndarray, shape: tuple[int, int], *, sigma: float, reach: float
) -> np.ndarray:
    """Mean with the surroundings, weighted by nearness in place and in value (Tomasi and Manduchi, 1998).

    Args:
        values: (cell, dim), each dim by itself.
        seen: bool (cell,): cells that count.
        shape: (row, col) of the cells.
        sigma: Of the Gaussian in place, cells.
        reach: Of the Gaussian in value.

    Returns:
        (cell, dim), float32; 0 where not seen.
    """
    side = max(1, int(np.ceil(2 * sigma)))
    image = np.where(seen[:, None], values, 0).astype(np.float32).reshape(*shape, -1)
    around = np.pad(image, ((side, side), (side, side), (0, 0)))
    known = np.pad(seen.reshape(shape), side)
    total, weight = np.zeros_like(image), np.zeros_like(image)
    for dy in range(2 * side + 1):
        for dx in range(2 * side + 1):
            place = np.exp(-((dy - side) ** 2 + (dx - side) ** 2) / (2 * sigma**2))
            rows, cols = slice(dy, dy + shape[0]), slice(dx, dx + shape[1])
            other = around[rows, cols]
            near = place * np.exp(-((other - image) ** 2) / (2 * reach**2)) * known[rows, cols, None]
            total += near * other
            weight += near
    mean = (total / np.maximum(weight, 1e-6)).reshape(values.shape)
    return np.where(seen[:, None], mean, 0).astype(np.float32)


def _scales(settings: ZScore, patch: int) -> tuple[float, ...]:
    if settings.scales is not None:
        return settings.scales
    return (0.7, 1.5) if patch <= _SMALL else ()


_SMALL = 8


def _known(valid: np.ndarray) -> np.ndarray:
    """Cells seen often enough, bool (cell,)."""
    found: np.ndarray = valid.sum(0) >= max(3, len(valid) // 2)
    return found


def _near(values: np.ndarray, valid: np.ndarray, settings: ZScore, rng: Generator) -> np.ndarray:
    """Alike cells, int32 (cell, neighbour)."""
    return neighbours_of(values, valid & _known(valid), settings, rng)


def _learn(
    values: np.ndarray, valid: np.ndarray, settings: ZScore, grid: PatchGrid, neighbours: np.ndarray
) -> Normal:
    known = _known(valid)
    mean = (values * valid[..., None]).sum(0) / np.maximum(valid.sum(0), 1)[:, None]
    seen = valid & known
    residual = np.stack([centred(v - mean, s, neighbours) for v, s in zip(values, seen, strict=True)])
    normal = Normal(
        mean=mean.astype(np.float32),
        scale=_scale(residual, seen, neighbours, settings.pooled).astype(np.float32),
        averaged=np.ones((0, values.shape[-1]), np.float32),
        known=known,
        neighbours=neighbours,
    )
    return replace(normal, averaged=_averaged(values, seen, normal, settings, grid))


def _scale(residual: np.ndarray, seen: np.ndarray, neighbours: np.ndarray, pooled: float) -> np.ndarray:
    """Standard deviation of a new date's deviation, (cell, dim).

    Residuals of n dates around their own mean are corrected by n / (n - 1) for the mean taken out and by
    (n + 1) / n for the mean's own error on a new date.
    """
    count = np.maximum(seen.sum(0), 2)[:, None]
    own = (residual**2).sum(0) / (count - 1) * (count + 1) / count
    some = seen.any(0)
    others = own[some].mean(0) if some.any() else own.mean(0)
    if neighbours.shape[1]:
        others = np.stack([own[near].mean(0) for near in neighbours])
    return np.sqrt(pooled * others + (1 - pooled) * own) + 1e-6


def _averaged(
    values: np.ndarray, seen: np.ndarray, normal: Normal, settings: ZScore, grid: PatchGrid
) -> np.ndarray:
    """Standard deviation of history's averaged values, (scale, dim)."""
    scales = _scales(settings, grid.patch)
    square = np.zeros((len(scales), values.shape[-1]))
    for value, known in zip(values, seen, strict=True):
        z = normal.standardised(value, known, settings.today)
        for k, sigma in enumerate(scales):
            smooth = bilateral(z, known, grid.shape, sigma=sigma, reach=settings.reach)
            square[k] += (smooth**2).sum(0)
    n = len(values)
    return np.sqrt(square / max(1, seen.sum()) * (n + 1) / max(1, n - 1) + 1e-12).astype(np.float32)
