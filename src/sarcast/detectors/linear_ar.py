"""Linear autoregression: the error of a ridge forecast from a cell's last valid acquisitions.

Every feature has one linear model, pooled over all cells. The forecast is the mean of the cell's last K valid
acquisitions plus a correction linear in their deviations from that mean and in the mean itself; the ridge
shrinks the correction, so an endless one forecasts the context mean. The score is the root mean square of the
error over its size in history. Hoerl and Kennard (1970) for the ridge.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.random import Generator
from pydantic import Field

from sarcast.detectors.alike import centred
from sarcast.detectors.base import history, scores_of
from sarcast.detectors.cross_fit import (
    FEWEST,
    date_folds,
    fold_of,
    halves,
    kept_dates,
    neighbours_of,
    scale_of,
    size,
)
from sarcast.detectors.directions import along, directions
from sarcast.errors import DataError
from sarcast.runtime.model import load_model, save_model
from sarcast.runtime.settings import Settings
from sarcast.values import Features, Scores, Split


class LinearAR(Settings):
    """Error of a linear forecast from the cell's last acquisitions."""

    context: int = Field(7, ge=2)
    """Valid acquisitions of the cell that a forecast looks back on."""
    ridge: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Penalty on the squared weights, per window of history, in variances of the normalised values. When not
    given, the one of 0.01, 0.1, 1, 10 and 1e6 (the context mean) that forecasts left-out dates of history
    best."""
    neighbours: int = Field(60, ge=0)
    """How many alike cells each date is centred on; 0 centres on nothing."""
    components: int = Field(6, ge=1)
    """Principal components of history that say what is alike."""
    pooled: float = Field(0.5, ge=0, le=1)
    """Share of each feature's variance that is pooled over all cells; the rest is the cell's own."""
    today: float = Field(0.5, ge=0, le=1)
    """Share of the variance scaled by how much the alike cells disagree on the date (rain, wind)."""
    directions: int | None = Field(None, ge=0)
    """Principal components of history that wide features are reduced to; 0 for none. When not given, 16 where
    there are more than 32 features."""
    folds: int = Field(4, ge=2)
    """Groups of history dates left out in turn when history is normalised to score itself."""

    def fit(self, features: Features, split: Split, *, rng: Generator) -> LinearARScorer:
        """One model from each half of the cells (blocks), to score the other's history, and one from all."""
        matrix = directions(features, split.fit, wanted=self.directions)
        features = along(features, matrix)
        values, valid = history(features, split.fit, at_least=FEWEST + 1)
        past = features.take(np.flatnonzero(split.fit))
        fold = date_folds(len(values), self.folds)
        normals = tuple(_learn_normal(values[k], valid[k], self, rng) for k in kept_dates(fold))
        half = halves(features.grid.shape)
        sums = [_sums(past, fold == f, normal, half, self.context) for f, normal in enumerate(normals[1:])]
        parts = [[some[0] for some in sums], [some[1] for some in sums]]
        parts.append([a + b for a, b in sums])
        ridges = [self.ridge or _best(part) for part in parts]
        weights = [_total(part).solve(ridge) for part, ridge in zip(parts, ridges, strict=True)]
        learned = LinearARScorer(
            settings=self,
            normals=normals,
            directions=matrix,
            halves=half,
            weights=np.stack(weights),
            noise=np.ones(values.shape[-1], np.float32),
            ridge=tuple(ridges),
            skill=tuple(_total(parts[1 - h]).skill(weights[h]) for h in (0, 1)),
            skill_last=tuple(_total(parts[1 - h]).skill_last(weights[h]) for h in (0, 1)),
            history_ids=past.times.scene_id,
            history_fold=fold,
        )
        return learned.with_noise(past)


@dataclass(frozen=True, kw_only=True, eq=False)
class Normal:
    """What the inputs are normalised by."""

    mean: np.ndarray
    """float32 (cell, dim)."""
    scale: np.ndarray
    """float32 (cell, dim)."""
    known: np.ndarray
    """bool (cell,): seen often enough."""
    neighbours: np.ndarray
    """int32 (cell, neighbour)."""

    def standardised(self, values: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """(cell, dim) features of one date -> normalised, centred on the alike cells; 0 where not seen."""
        return (centred(values - self.mean, seen, self.neighbours) / self.scale).astype(np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """One date and what every cell's last valid acquisitions before it say."""

    value: np.ndarray
    """float32 (cell, dim): the date itself, normalised."""
    mean: np.ndarray
    """float32 (cell, dim): context mean."""
    design: np.ndarray
    """float32 (cell, dim, context + 1): deviations of the last, the one before, ... from the context mean (0
    where there is none), then the context mean."""
    valid: np.ndarray
    """bool (cell,): seen, with enough valid acquisitions before."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sums:
    """Second moments of windows: all that a ridge regression needs."""

    count: int
    gram: np.ndarray
    """float64 (dim, input, input)."""
    cross: np.ndarray
    """float64 (dim, input): inputs times what the context mean missed."""
    square: np.ndarray
    """float64 (dim,): squares of what the context mean missed."""

    def __add__(self, other: Sums) -> Sums:
        """Of both groups of windows."""
        return Sums(
            count=self.count + other.count,
            gram=self.gram + other.gram,
            cross=self.cross + other.cross,
            square=self.square + other.square,
        )

    def solve(self, ridge: float) -> np.ndarray:
        """Ridge weights, float64 (dim, input)."""
        count = max(self.count, 1)
        penalised = self.gram / count + ridge * np.eye(self.gram.shape[-1])
        return np.linalg.solve(penalised, self.cross[..., None] / count)[..., 0]

    def loss(self, weights: np.ndarray) -> float:
        """Sum of squared errors of the weights (dim, input) over all features."""
        bent = np.einsum("di,dij,dj->", weights, self.gram, weights)
        return float(self.square.sum() - 2 * (weights * self.cross).sum() + bent)

    def skill(self, weights: np.ndarray) -> float:
        """1 - squared error / squared error of the context mean; 0 where there is nothing to forecast."""
        total = float(self.square.sum())
        return 1 - self.loss(weights) / total if total else 0.0

    def skill_last(self, weights: np.ndarray) -> float:
        """1 - squared error / that of persistence: the context mean plus the last one's deviation from it."""
        persistence = np.zeros_like(weights)
        persistence[:, 0] = 1
        total = self.loss(persistence)
        return 1 - self.loss(weights) / total if total > 0 else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearARScorer:
    """Three linear models, what their inputs are normalised by, and the size of their errors in history."""

    settings: LinearAR
    normals: tuple[Normal, ...]
    """From the whole history, then with each fold of it left out."""
    directions: np.ndarray
    """float32 (dim, direction): what features are reduced to; no columns where they are not."""
    halves: np.ndarray
    """int (cell,): which of the first two models was fitted on the cell."""
    weights: np.ndarray
    """float64 (3, dim, context + 1): fitted on the first half of the cells, on the second, on all."""
    noise: np.ndarray
    """float32 (dim,): root-mean-square forecast error in history."""
    ridge: tuple[float, ...]
    """Of each model."""
    skill: tuple[float, ...]
    """Of the first two models on the half they were not fitted on: 1 - squared error / that of the context
    mean."""
    skill_last: tuple[float, ...]
    """The same against the last valid acquisition (persistence); none where it was not saved."""
    history_ids: tuple[str, ...]
    history_fold: np.ndarray
    """int (history,): which fold a history date was left out in."""

    def score(self, features: Features, times: Sequence[int] | None = None) -> Scores:
        """Scores of all times, or of those with the given indices.

        Later dates are forecast by the model of all cells; history by the one that was not fitted on the
        cell, normalised without the date. A date needs three valid acquisitions before it.
        """
        index = list(range(len(features.times))) if times is None else list(times)
        found = np.zeros((len(index), len(self.halves)), np.float32)
        valid = np.zeros(found.shape, bool)
        for t, error, seen, normal in self._errors(along(features, self.directions), index):
            score = size(error / self.noise, seen, normal.neighbours, today=self.settings.today)
            for k in [k for k, wanted in enumerate(index) if wanted == t]:
                found[k], valid[k] = score, seen
        shape = (len(index), *features.grid.shape)
        return scores_of(features, index, found.reshape(shape), valid.reshape(shape), detector="linear_ar")

    def with_noise(self, learned_from: Features) -> LinearARScorer:
        """The same scorer, its `noise` measured on the (reduced) history each model was not fitted on.

        Raises:
            DataError: No cell of history has enough valid acquisitions before a date.
        """
        total, count = np.zeros(len(self.noise)), 0
        for _, error, seen, _ in self._errors(learned_from, range(len(learned_from.times))):
            total += (error[seen].astype(np.float64) ** 2).sum(0)
            count += int(seen.sum())
        if not count:
            raise DataError(f"expected cells of history with {FEWEST} earlier acquisitions, found none")
        return replace(self, noise=np.sqrt(np.maximum(total / count, 1e-12)).astype(np.float32))

    def _errors(
        self, features: Features, index: Sequence[int]
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray, Normal]]:
        """Wanted dates: (time, error (cell, dim), valid (cell,), the normalisation that did not see it)."""
        ids = features.times.scene_id
        fold = {t: fold_of(self.history_ids, self.history_fold, ids[t]) for t in index}
        model = {t: 0 if f is None else 1 + f for t, f in fold.items()}
        for number, normal in enumerate(self.normals):
            wanted = {t for t in index if model[t] == number}
            weights = self.weights[1 - self.halves] if number else self.weights[2]
            for t, window in _windows(features, wanted, normal, self.settings.context):
                missed = window.value - window.mean - (window.design * weights).sum(-1)
                error = np.where(window.valid[:, None], missed, 0).astype(np.float32)
                yield t, error, window.valid, normal

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        arrays = {f"{i}.{name}": getattr(n, name) for i, n in enumerate(self.normals) for name in _NORMAL}
        arrays |= {
            "directions": self.directions,
            "halves": self.halves.astype(np.int64),
            "weights": self.weights,
            "noise": self.noise,
            "history_fold": self.history_fold.astype(np.int64),
        }
        config = {
            "detector": "linear_ar",
            "settings": self.settings.model_dump(mode="json"),
            "history_ids": list(self.history_ids),
            "ridge": list(self.ridge),
            "skill": [round(s, 6) for s in self.skill],
            "skill_last": [round(s, 6) for s in self.skill_last],
        }
        save_model(folder, config=config, arrays=arrays)

    @classmethod
    def from_pretrained(cls, folder: Path) -> LinearARScorer:
        """Load what `save` wrote."""
        config, arrays = load_model(folder)
        count = 2 + int(arrays["history_fold"].max())
        return cls(
            settings=LinearAR(**config["settings"]),
            normals=tuple(Normal(**{name: arrays[f"{i}.{name}"] for name in _NORMAL}) for i in range(count)),
            ridge=tuple(config["ridge"]),
            skill=tuple(config["skill"]),
            skill_last=tuple(config.get("skill_last", ())),
            history_ids=tuple(config["history_ids"]),
            **{n: arrays[n] for n in ("directions", "halves", "weights", "noise", "history_fold")},
        )


_NORMAL = ("mean", "scale", "known", "neighbours")
_RIDGES = (0.01, 0.1, 1.0, 10.0, 1e6)


def _learn_normal(values: np.ndarray, valid: np.ndarray, settings: LinearAR, rng: Generator) -> Normal:
    count = np.maximum(valid.sum(0), 1)[:, None]
    mean = np.where(valid[..., None], values, 0).sum(0) / count
    normal = Normal(
        mean=mean.astype(np.float32),
        scale=np.ones(mean.shape, np.float32),
        known=valid.sum(0) >= min(FEWEST, len(valid)),
        neighbours=neighbours_of(values, valid, settings, rng),
    )
    square = sum(normal.standardised(v, s) ** 2 for v, s in zip(values, valid, strict=True))
    own = square / np.maximum(count - 1, 1)
    return replace(normal, scale=scale_of(own, valid, pooled=settings.pooled))


def _windows(
    features: Features, wanted: set[int], normal: Normal, context: int
) -> Iterator[tuple[int, Window]]:
    """The wanted dates in time order, each with what came before it."""
    cells, dim = normal.mean.shape
    last = np.zeros((context, cells, dim), np.float32)
    filled = np.zeros(cells, int)
    for t in range(max(wanted, default=-1) + 1):
        seen = features.valid[t].ravel() & normal.known
        value = normal.standardised(features.values[t].reshape(cells, dim), seen)
        if t in wanted:
            yield t, _window(value, seen, last, filled)
        last[1:, seen] = last[:-1, seen]
        last[0, seen] = value[seen]
        filled[seen] = np.minimum(filled[seen] + 1, context)


def _window(value: np.ndarray, seen: np.ndarray, last: np.ndarray, filled: np.ndarray) -> Window:
    mean = last.sum(0) / np.maximum(filled, 1)[:, None].astype(np.float32)
    there = np.arange(len(last))[:, None] < filled
    lags = np.where(there[..., None], last - mean, 0)
    design = np.moveaxis(np.concatenate([lags, mean[None]]), 0, -1)
    enough = filled >= min(FEWEST, len(last))
    return Window(value=value, mean=mean, design=design, valid=seen & enough)


def _sums(
    features: Features, own: np.ndarray, normal: Normal, halves: np.ndarray, context: int
) -> tuple[Sums, Sums]:
    """Second moments of the windows of one fold's dates, normalised without the fold, by half of the cells.

    Around a mean they are part of, dates sum to zero: a forecaster would learn that the next one makes up for
    the last ones, which no later date does.
    """
    dim = normal.mean.shape[1]
    empty = Sums(
        count=0,
        gram=np.zeros((dim, context + 1, context + 1)),
        cross=np.zeros((dim, context + 1)),
        square=np.zeros(dim),
    )
    sums = [empty, empty]
    for _, window in _windows(features, set(np.flatnonzero(own).tolist()), normal, context):
        for h in (0, 1):
            sums[h] = sums[h] + _moments(window, window.valid & (halves == h))
    return sums[0], sums[1]


def _moments(window: Window, cells: np.ndarray) -> Sums:
    inputs = np.moveaxis(window.design[cells].astype(np.float64), 0, 1)
    missed = (window.value - window.mean)[cells].astype(np.float64).T
    return Sums(
        count=int(cells.sum()),
        gram=inputs.transpose(0, 2, 1) @ inputs,
        cross=(missed[:, None] @ inputs)[:, 0],
        square=(missed**2).sum(1),
    )


def _total(parts: Sequence[Sums]) -> Sums:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _best(parts: Sequence[Sums]) -> float:
    """The ridge that forecasts each fold best from the others."""

    def left_out(ridge: float) -> float:
        rests = [[*parts[:i], *parts[i + 1 :]] for i in range(len(parts))]
        return sum(part.loss(_total(rest).solve(ridge)) for part, rest in zip(parts, rests, strict=True))

    return min(reversed(_RIDGES), key=left_out)
