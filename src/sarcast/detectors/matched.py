"""Deviations from history averaged at several scales: settings, what is learned, and the surprise of a date.

What `matched_filter` scores with, and what `matched_network` starts from.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.random import Generator
from pydantic import Field

from sarcast.detectors.base import history, scores_of
from sarcast.detectors.clusters import Clusters, clusters
from sarcast.detectors.cross_fit import date_folds, fold_of, kept_dates
from sarcast.detectors.directions import along, directions
from sarcast.detectors.fields import averaged, roughness, size
from sarcast.detectors.surprise import Surprise
from sarcast.runtime.settings import Settings
from sarcast.values import Features, PatchGrid, Scores, Split


class Averaging(Settings, ABC):
    """Settings of every detector that averages deviations from history."""

    scales: tuple[float, ...] | None = None
    """Widths of the Gaussians, cells (standard deviations, ascending; 0 is the cell alone). When not given,
    0, 1.5 and 3 for cells of 1 or 2 px, 0, 0.7 and 1.5 up to 8 px, and 0 for larger ones."""
    texture: tuple[float, ...] | None = None
    """The same for the strength of what is left around the widest average. When not given, 3 for cells of 1
    or 2 px, none for larger ones."""
    handicap: float = Field(1.0, ge=0)
    """Powers of ten taken off the surprise of the finest scale, falling to none at the widest."""
    clusters: int = Field(32, ge=0)
    """Clusters of cells alike in history that each date is centred on; fewer where they would be smaller than
    50 cells; 0 centres on nothing."""
    likeness: float | None = Field(None, ge=0)
    """Width of the average through which cells are compared, cells; when not given, 1 for cells of 1 or 2 px,
    0 for larger ones."""
    components: int = Field(6, ge=1)
    """Principal components of history that say what is alike."""
    pooled: float = Field(0.5, ge=0, le=1)
    """Share of the variance that is the cluster's; the rest is the cell's own."""
    today: float = Field(0.5, ge=0, le=1)
    """Share of the variance scaled by how much the cluster's cells disagree on the date (rain, wind)."""
    soft: float = Field(4.0, gt=0)
    """Deviations well above this many standard deviations count by their logarithm, so that one bright target
    does not spread over its surroundings."""
    directions: int | None = Field(None, ge=0)
    """Principal components of history that wide features are reduced to; 0 for none. When not given, 16 where
    there are more than 32 features."""
    folds: int = Field(4, ge=2)
    """Groups of history dates left out in turn when history scores itself."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Normal:
    """What is normal for each cell."""

    mean: np.ndarray
    """float32 (cell, dim)."""
    scale: np.ndarray
    """float32 (cell, dim): standard deviation of a new date's centred deviation."""
    known: np.ndarray
    """bool (cell,): seen often enough."""
    cluster: np.ndarray
    """int32 (cell,): which cells it is centred with."""

    def standardised(self, values: np.ndarray, seen: np.ndarray, settings: Averaging) -> np.ndarray:
        """(cell, dim) features of one date -> signed distances from normal; 0 where not seen."""
        groups = Clusters(self.cluster)
        z = groups.centred(values - self.mean, seen) / self.scale
        if settings.today and settings.clusters:
            spread = groups.disagreement(z, seen)
            z = z / np.sqrt(1 - settings.today + settings.today * spread**2)
        return np.where(seen[:, None], settings.soft * np.arcsinh(z / settings.soft), 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Yardstick:
    """What history's own fields look like; the fields are the level's scales, then the texture's."""

    rough: np.ndarray
    """float32 (2, dim): mean and standard deviation of the roughness of a cell."""
    spread: np.ndarray
    """float32 (field, dim): standard deviation of each field."""
    surprise: tuple[Surprise, ...]
    """One per field."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Deviations:
    """What was learned from the whole history, and with each fold of it left out."""

    settings: Averaging
    models: tuple[Normal, ...]
    """The whole history's, then one per fold."""
    yardstick: Yardstick
    directions: np.ndarray
    """float32 (dim, direction): what features are reduced to; no columns where they are not."""
    history_ids: tuple[str, ...]
    """Scene ids of history, in time order."""
    history_fold: np.ndarray
    """int (history,): which fold a history date was left out in."""

    @classmethod
    def learn(cls, settings: Averaging, features: Features, split: Split, *, rng: Generator) -> Self:
        """Mean, variance and clusters from the valid history, also with each fold of dates left out.

        Raises:
            DataError: Too little history.
        """
        matrix = directions(features, split.fit, wanted=settings.directions)
        features = along(features, matrix)
        values, valid = history(features, split.fit, at_least=3)
        dates = np.flatnonzero(split.fit)
        fold = date_folds(len(dates), settings.folds)
        models = tuple(_learn(values[k], valid[k], settings, features.grid, rng) for k in kept_dates(fold))
        past = [(models[1 + f], v, s) for f, v, s in zip(fold, values, valid, strict=True)]
        return cls(
            settings=settings,
            models=models,
            yardstick=_yardstick(past, _Plan.of(settings, features.grid), settings),
            directions=matrix,
            history_ids=tuple(features.times.scene_id[i] for i in dates),
            history_fold=fold,
        )

    def normal(self, scene_id: str) -> Normal:
        """What is normal, learned without this acquisition."""
        held = fold_of(self.history_ids, self.history_fold, scene_id)
        return self.models[0 if held is None else 1 + held]

    def of(self, features: Features, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Standardised deviations (cell, dim) of one date of the reduced features, and bool (cell,) seen."""
        normal = self.normal(features.times.scene_id[t])
        seen = features.valid[t].ravel() & normal.known
        return normal.standardised(features.values[t].reshape(len(seen), -1), seen, self.settings), seen

    def scored(
        self,
        features: Features,
        times: Sequence[int] | None,
        *,
        detector: str,
        more: Callable[[str, np.ndarray, np.ndarray], np.ndarray] | None = None,
    ) -> Scores:
        """Scores of all times, or of those with the given indices; history by the model that left it out.

        Args:
            features: As they were given to `learn`, not reduced.
            times: Indices; None is all.
            detector: Name for the record.
            more: (scene id, deviations (row, col, dim), bool (row, col) seen) -> what is added, (row, col).
        """
        features = along(features, self.directions)
        index = list(range(len(features.times))) if times is None else list(times)
        values = np.zeros((len(index), *features.grid.shape), np.float32)
        valid = np.zeros(values.shape, bool)
        for k, t in enumerate(index):
            z, seen = self.of(features, t)
            valid[k] = seen.reshape(features.grid.shape)
            values[k] = self.surprise(z, seen, features.grid)
            if more is not None:
                added = more(features.times.scene_id[t], z.reshape(*valid[k].shape, -1), valid[k])
                values[k] = np.where(valid[k], values[k] + added, 0)
        return scores_of(features, index, values, valid, detector=detector)

    def surprise(self, z: np.ndarray, seen: np.ndarray, grid: PatchGrid) -> np.ndarray:
        """(row, col): the largest surprise over all fields; 0 where not seen."""
        plan = _Plan.of(self.settings, grid)
        best = np.zeros(plan.shape, np.float32)
        known = self.yardstick
        every = zip(
            plan.handicaps, plan.fields(z, seen, known.rough), known.spread, known.surprise, strict=True
        )
        for handicap, field, spread, surprise in every:
            np.maximum(best, surprise.of(size(field / spread)) - handicap, out=best)
        return np.where(seen.reshape(plan.shape), best, 0)

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that was learned, for `from_arrays`."""
        arrays = {f"{i}.{name}": getattr(m, name) for i, m in enumerate(self.models) for name in _NORMAL}
        arrays |= {"history_fold": self.history_fold.astype(np.int64), "directions": self.directions}
        arrays |= {name: getattr(self.yardstick, name) for name in _YARDSTICK}
        arrays["quantiles"] = np.stack([s.quantiles for s in self.yardstick.surprise])
        arrays["excess"] = np.array([s.excess for s in self.yardstick.surprise])
        return arrays

    @classmethod
    def from_arrays(
        cls, settings: Averaging, history_ids: tuple[str, ...], arrays: Mapping[str, Any]
    ) -> Self:
        """What `arrays` gave."""
        count = 1 + int(arrays["history_fold"].max(initial=0)) + 1
        surprise = tuple(
            Surprise(quantiles=q, excess=float(e))
            for q, e in zip(arrays["quantiles"], arrays["excess"], strict=True)
        )
        return cls(
            settings=settings,
            models=tuple(Normal(**{name: arrays[f"{i}.{name}"] for name in _NORMAL}) for i in range(count)),
            yardstick=Yardstick(**{name: arrays[name] for name in _YARDSTICK}, surprise=surprise),
            directions=arrays["directions"],
            history_ids=history_ids,
            history_fold=arrays["history_fold"],
        )


_NORMAL = ("mean", "scale", "known", "cluster")
_YARDSTICK = ("rough", "spread")


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """Which fields are made on cells of this size."""

    scales: tuple[float, ...]
    texture: tuple[float, ...]
    handicaps: tuple[float, ...]
    """One per field."""
    shape: tuple[int, int]

    @classmethod
    def of(cls, settings: Averaging, grid: PatchGrid) -> _Plan:
        usual = (0.0, 1.5, 3.0) if grid.patch <= 2 else (0.0, 0.7, 1.5) if grid.patch <= 8 else (0.0,)
        scales = usual if settings.scales is None else settings.scales
        fine = (3.0,) if grid.patch <= 2 else ()
        texture = fine if settings.texture is None else settings.texture
        steps = np.linspace(settings.handicap, 0, len(scales)) if len(scales) > 1 else np.zeros(1)
        handicaps = (*steps.tolist(), *(0.0 for _ in texture))
        return cls(scales=scales, texture=texture, handicaps=handicaps, shape=grid.shape)

    def fields(self, z: np.ndarray, seen: np.ndarray, rough: np.ndarray) -> Iterator[np.ndarray]:
        """(row, col, dim): the level at each scale, then the texture at each."""
        for sigma in self.scales:
            yield averaged(z, seen, self.shape, sigma=sigma)
        if self.texture:
            left = np.clip((self.roughness(z, seen) - rough[0]) / rough[1], -3, 3)
            for sigma in self.texture:
                yield averaged(left, seen, self.shape, sigma=sigma)

    def roughness(self, z: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """(cell, dim)."""
        return roughness(z, seen, self.shape, sigma=max(self.scales))


def _learn(
    values: np.ndarray, valid: np.ndarray, settings: Averaging, grid: PatchGrid, rng: Generator
) -> Normal:
    count = valid.sum(0)
    known = count >= max(3, len(valid) // 2)
    mean = (values * valid[..., None]).sum(0) / np.maximum(count, 1)[:, None]
    seen = valid & known
    near = settings.likeness if settings.likeness is not None else 1.0 if grid.patch <= 2 else 0.0
    smooth = values
    if near:
        smooth = np.stack(
            [
                averaged(v - mean, s, grid.shape, sigma=near, unit=False).reshape(mean.shape)
                for v, s in zip(values, seen, strict=True)
            ]
        ) + averaged(mean, known, grid.shape, sigma=near, unit=False).reshape(mean.shape)
    cluster = clusters(smooth, seen, count=settings.clusters, components=settings.components, rng=rng)
    groups = Clusters(cluster)
    square = sum(groups.centred(v - mean, s) ** 2 for v, s in zip(values, seen, strict=True))
    n = np.maximum(seen.sum(0), 2)[:, None]
    own = square / (n - 1) * (n + 1) / n
    scale = np.sqrt(settings.pooled * groups.mean(own, known) + (1 - settings.pooled) * own) + 1e-6
    return Normal(mean=mean.astype(np.float32), scale=scale.astype(np.float32), known=known, cluster=cluster)


def _yardstick(
    past: list[tuple[Normal, np.ndarray, np.ndarray]], plan: _Plan, settings: Averaging
) -> Yardstick:
    """Three looks at history's left-out dates: roughness, spread of every field, sizes of every field."""
    dim = past[0][1].shape[-1]

    def dates() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for normal, values, valid in past:
            seen = valid & normal.known
            yield normal.standardised(values, seen, settings), seen

    rough = np.zeros((2, dim))
    if plan.texture:
        total = np.zeros((3, dim))
        for z, seen in dates():
            r = plan.roughness(z, seen)[seen]
            total += np.stack([np.full(dim, len(r)), r.sum(0), (r**2).sum(0)])
        mean = total[1] / np.maximum(total[0], 1)
        variance = total[2] / np.maximum(total[0], 1) - mean**2
        rough = np.stack([mean, np.sqrt(np.maximum(variance, 1e-12))])
    square, count = np.zeros((len(plan.handicaps), dim)), 0
    for z, seen in dates():
        inside = seen.reshape(plan.shape)
        square += np.stack([(field[inside] ** 2).sum(0) for field in plan.fields(z, seen, rough)])
        count += int(seen.sum())
    spread = np.sqrt(square / max(count, 1) + 1e-12).astype(np.float32)
    sizes: list[list[np.ndarray]] = [[] for _ in plan.handicaps]
    for z, seen in dates():
        inside = seen.reshape(plan.shape)
        for kept, field, one in zip(sizes, plan.fields(z, seen, rough), spread, strict=True):
            kept.append(size(field / one)[inside])
    return Yardstick(
        rough=rough.astype(np.float32),
        spread=spread,
        surprise=tuple(Surprise.learn(np.concatenate(kept)) for kept in sizes),
    )
