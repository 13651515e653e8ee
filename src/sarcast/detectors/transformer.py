"""The temporal forecaster of T-SAR-JEPA's second stage (arXiv 2606.05700), on any features.

A cell's last K acquisitions, each with its features and its real days before the target, go through a small
transformer that predicts the target's features: the context mean plus a correction that starts at zero.
Score = L2 norm of the forecast error. Unlike the published code, days are real and absolute, normalised the
same way in training and scoring; the horizon to the target is known, and the target's frame-wide state and
geometry; features are deviations from the cell's own history, centred on the cells that behaved alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.random import Generator
from pydantic import Field, model_validator

from sarcast.detectors.alike import alike, common_part, disagreement
from sarcast.detectors.base import history, scores_of
from sarcast.detectors.directions import along, directions
from sarcast.runtime.model import load_model, save_model
from sarcast.runtime.settings import Settings
from sarcast.values import Features, Scores, Split

if TYPE_CHECKING:
    from sarcast.nn.forecaster import Forecaster


class Transformer(Settings):
    """Forecast a cell's next features from its last K; the error is the score."""

    context: int = Field(7, ge=3)
    """K: acquisitions the forecast looks back on."""
    time_encoding: Literal["sinusoidal", "ctlpe", "linear"] = "sinusoidal"
    """How days before the target become a vector."""
    width: int = Field(64, ge=8)
    """Width of the transformer (the paper's is 768)."""
    layers: int = Field(2, ge=1)
    """Number of layers (the paper's is 4)."""
    heads: int = Field(4, ge=1)
    """Attention heads; divides the width."""
    epochs: int = Field(6, ge=1)
    """Passes over history's windows; the epoch that forecasts held-out cells best is kept, none included."""
    batch: int = Field(512, ge=1)
    """Windows a step."""
    learning_rate: float = Field(5e-4, gt=0)
    """Peak of the cosine schedule."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW weight decay."""
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
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute."""

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"expected heads that divide the width {self.width}, found {self.heads}")
        return self

    def fit(self, features: Features, split: Split, *, rng: Generator) -> TransformerScorer:
        """Two forecasters, each trained on every second block of cells: each scores the other's history."""
        from sarcast.detectors.forecaster import train

        matrix = directions(features, split.fit, wanted=self.directions)
        features = along(features, matrix)
        values, valid = history(features, split.fit, at_least=_FEWEST + 1)
        dates = np.flatnonzero(split.fit)
        fold = np.arange(len(dates)) * min(self.folds, len(dates)) // len(dates)
        kept = [np.ones(len(dates), bool), *(fold != f for f in range(fold[-1] + 1))]
        normals = tuple(_learn_normal(features, dates[k], values[k], valid[k], self, rng) for k in kept)
        series, targets = _left_out(features, dates, fold, normals[1:], self.context)
        halves = _halves(features.grid.shape)
        windows = [_windows(series, targets, halves == h, self.context) for h in (0, 1)]
        trained = [train(series, windows[h], windows[1 - h], self, rng=rng) for h in (0, 1)]
        learned = TransformerScorer(
            settings=self,
            normals=normals,
            directions=matrix,
            halves=halves,
            noise=np.ones(values.shape[-1], np.float32),
            models=(trained[0].model, trained[1].model),
            skill=tuple(t.skill for t in trained),
            skill_last=tuple(t.skill_last for t in trained),
            history_ids=tuple(features.times.scene_id[i] for i in dates),
            history_fold=fold,
        )
        return learned.with_noise(features.take(dates))


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
    """float32 (time, 3): incidence from history's mean / 10 degrees, look side, direction (-1, 0, 1)."""
    begin: np.ndarray
    """int (time,): the first date that a forecast of this one may look back on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TransformerScorer:
    """Two forecasters, what their inputs are normalised by, and the size of their errors in history."""

    settings: Transformer
    normals: tuple[Normal, ...]
    """From the whole history, then with each fold of it left out."""
    directions: np.ndarray
    """float32 (dim, direction): what features are reduced to; no columns where they are not."""
    halves: np.ndarray
    """int (cell,): which of the two models was trained on the cell."""
    noise: np.ndarray
    """float32 (dim,): root-mean-square forecast error in history."""
    models: tuple[Forecaster, Forecaster]
    skill: tuple[float, ...]
    """Of each model, on history's cells it was not trained on (where its epoch was chosen): 1 - smooth-L1
    loss / loss of the context mean; 0 is no skill, and an untrained forecaster's."""
    skill_last: tuple[float, ...]
    """The same against persistence: 1 - loss / loss of the last valid acquisition."""
    history_ids: tuple[str, ...]
    history_fold: np.ndarray
    """int (history,): which fold a history date was left out in."""

    def score(self, features: Features, times: Sequence[int] | None = None) -> Scores:
        """Scores of all times, or of those with the given indices.

        Later dates are forecast by both models' mean; history by the model that was not trained on the cell,
        normalised without the date. A date needs three valid acquisitions before it.
        """
        index = list(range(len(features.times))) if times is None else list(times)
        errors, valid = self._errors(along(features, self.directions), index)
        size = np.zeros(valid.shape, np.float32)
        for k, t in enumerate(index):
            error = errors[k] / self.noise
            near = self._normal(features.times.scene_id[t]).neighbours
            if self.settings.today and near.shape[1]:
                spread = disagreement(error, valid[k], near)
                error = error / np.sqrt(1 - self.settings.today + self.settings.today * spread**2)
            size[k] = np.sqrt((error**2).mean(-1))
        shape = (len(index), *features.grid.shape)
        return scores_of(features, index, size.reshape(shape), valid.reshape(shape), detector="transformer")

    def with_noise(self, learned_from: Features) -> TransformerScorer:
        """The same scorer, its `noise` measured on the (reduced) history each model was not trained on."""
        errors, valid = self._errors(learned_from, list(range(len(learned_from.times))))
        noise = np.sqrt(np.maximum((errors[valid] ** 2).mean(0), 1e-12))
        return replace(self, noise=noise.astype(np.float32))

    def _normal(self, scene_id: str) -> Normal:
        """The normalisation that did not see this acquisition."""
        fold = dict(zip(self.history_ids, self.history_fold, strict=True)).get(scene_id)
        return self.normals[0 if fold is None else 1 + int(fold)]

    def _errors(self, features: Features, index: list[int]) -> tuple[np.ndarray, np.ndarray]:
        from sarcast.detectors.forecaster import forecast

        past = set(self.history_ids)
        cells, dim = self.normals[0].mean.shape
        errors = np.zeros((len(index), cells, dim), np.float32)
        valid = np.zeros((len(index), cells), bool)
        for k, t in enumerate(index):
            first = max(0, t - self.settings.context)
            scene = features.times.scene_id[t]
            window = _series(features, np.arange(first, t + 1), self._normal(scene))
            valid[k] = window.valid[-1] & (window.valid[:-1].sum(0) >= _FEWEST)
            if not valid[k].any():
                continue
            a, b = (forecast(model, window) for model in self.models)
            held_out = np.where((self.halves == 0)[:, None], b, a)
            predicted = held_out if scene in past else (a + b) / 2
            errors[k] = np.where(valid[k][:, None], window.values[-1] - predicted, 0)
        return errors, valid

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        arrays = {f"{i}.{name}": getattr(n, name) for i, n in enumerate(self.normals) for name in _NORMAL}
        arrays |= {
            "directions": self.directions,
            "halves": self.halves.astype(np.int64),
            "noise": self.noise,
            "history_fold": self.history_fold.astype(np.int64),
        }
        for i, model in enumerate(self.models):
            arrays |= {f"model{i}.{k}": v.cpu().numpy() for k, v in model.state_dict().items()}
        config = {
            "detector": "transformer",
            "settings": self.settings.model_dump(mode="json"),
            "history_ids": list(self.history_ids),
            "skill": [round(s, 6) for s in self.skill],
            "skill_last": [round(s, 6) for s in self.skill_last],
        }
        save_model(folder, config=config, arrays=arrays)

    @classmethod
    def from_pretrained(cls, folder: Path) -> TransformerScorer:
        """Load what `save` wrote."""
        from sarcast.detectors.forecaster import load

        config, arrays = load_model(folder)
        settings = Transformer(**config["settings"])
        first, second = (
            load({k[7:]: v for k, v in arrays.items() if k.startswith(f"model{i}.")}, settings)
            for i in (0, 1)
        )
        folds = int(arrays["history_fold"].max()) + 1
        return cls(
            settings=settings,
            normals=tuple(
                Normal(**{name: arrays[f"{i}.{name}"] for name in _NORMAL}) for i in range(1 + folds)
            ),
            directions=arrays["directions"],
            halves=arrays["halves"],
            noise=arrays["noise"],
            models=(first, second),
            skill=tuple(config["skill"]),
            skill_last=tuple(config["skill_last"]),
            history_ids=tuple(config["history_ids"]),
            history_fold=arrays["history_fold"],
        )


_NORMAL = ("mean", "scale", "neighbours", "incidence_deg")
_FEWEST = 3
_BLOCK = 4


def _learn_normal(
    features: Features,
    dates: np.ndarray,
    values: np.ndarray,
    valid: np.ndarray,
    settings: Transformer,
    rng: Generator,
) -> Normal:
    weight = valid[..., None]
    count = np.maximum(weight.sum(0), 1)
    mean = (values * weight).sum(0) / count
    neighbours = (
        alike(values, valid, neighbours=settings.neighbours, components=settings.components, rng=rng)
        if settings.neighbours
        else np.zeros((valid.shape[1], 0), np.int32)
    )
    residual = np.stack(
        [
            _centred(np.where(s[:, None], v - mean, 0), s, neighbours)[0]
            for v, s in zip(values, valid, strict=True)
        ]
    )
    own = (residual**2).sum(0) / np.maximum(count - 1, 1)
    every = own[valid.any(0)].mean(0)
    incidence = features.times.incidence_deg[dates]
    known = incidence[np.isfinite(incidence)]
    return Normal(
        mean=mean.astype(np.float32),
        scale=(np.sqrt(settings.pooled * every + (1 - settings.pooled) * own) + 1e-6).astype(np.float32),
        neighbours=neighbours,
        incidence_deg=np.array([known.mean() if len(known) else np.nan], np.float32),
    )


def _series(features: Features, dates: np.ndarray, normal: Normal) -> Series:
    values, frames, valids = [], [], []
    typical = np.median(normal.scale, axis=0)
    for t in dates:
        seen = features.valid[t].ravel()
        deviation = np.where(seen[:, None], features.values[t].reshape(len(seen), -1) - normal.mean, 0)
        centred, frame = _centred(deviation, seen, normal.neighbours)
        values.append(np.where(seen[:, None], centred / normal.scale, 0))
        frames.append(frame / typical)
        valids.append(seen)
    times = features.times
    columns = [
        np.nan_to_num(times.incidence_deg[dates] - normal.incidence_deg) / 10,
        _sign(times.look_side, dates, "right", "left"),
        _sign(times.orbit_direction, dates, "ascending", "descending"),
    ]
    return Series(
        values=np.stack(values).astype(np.float32),
        valid=np.stack(valids),
        frame=np.stack(frames).astype(np.float32),
        days=times.days[dates],
        geometry=np.stack(columns, axis=1).astype(np.float32),
        begin=np.zeros(len(dates), int),
    )


def _left_out(
    features: Features, dates: np.ndarray, fold: np.ndarray, normals: Sequence[Normal], context: int
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
        parts.append(_series(features, dates[start : last + 1], normal))
        own.append(fold[start : last + 1] == f)
    begin = np.cumsum([0, *(len(some) for some in own)])
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("values", "valid", "frame", "days", "geometry")
    }
    starts = np.repeat(begin[:-1], [len(some) for some in own])
    return Series(**joined, begin=starts), np.concatenate(own)


def _centred(
    deviation: np.ndarray, seen: np.ndarray, neighbours: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Deviations less the alike cells' common part, and the frame's median deviation (dim,)."""
    deviation = deviation.astype(np.float32)
    frame = np.median(deviation[seen], axis=0) if seen.any() else np.zeros(deviation.shape[1], np.float32)
    if neighbours.shape[1]:
        deviation = np.where(seen[:, None], deviation - common_part(deviation, seen, neighbours), 0)
    return deviation, frame


def _sign(values: Sequence[str], dates: np.ndarray, plus: str, minus: str) -> np.ndarray:
    code = {plus: 1.0, minus: -1.0}
    return np.array([code.get(values[i], 0.0) for i in dates])


def _halves(shape: tuple[int, int]) -> np.ndarray:
    """A chequerboard of blocks of cells, (cell,) of 0 and 1."""
    row, col = np.indices(shape) // _BLOCK
    return ((row + col) % 2).ravel()


def _windows(series: Series, targets: np.ndarray, cells: np.ndarray, context: int) -> np.ndarray:
    """Pairs (target date, cell) with enough valid acquisitions before the target, int (window, 2)."""
    found = [np.zeros((0, 2), int)]
    for t in np.flatnonzero(targets):
        enough = series.valid[max(int(series.begin[t]), t - context) : t].sum(0) >= _FEWEST
        cell = np.flatnonzero(cells & enough & series.valid[t])
        found.append(np.stack([np.full(len(cell), t), cell], 1))
    return np.concatenate(found)
