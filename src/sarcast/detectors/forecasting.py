"""What every forecasting detector of learned networks is: settings, how it is fitted, and how it scores.

A detector of its own adds its network's settings and builds the network (see `transformer`). Two networks are
trained, each on every second block of cells; each scores the history of the other's cells, later dates are
scored by both. Score = root mean square over features of the forecast error over its size in history.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from numpy.random import Generator
from pydantic import Field, model_validator

from sarcast.detectors import DETECTORS
from sarcast.detectors.base import history, scores_of
from sarcast.detectors.cross_fit import FEWEST, date_folds, fold_of, halves, kept_dates, local_noise, size
from sarcast.detectors.directions import along, directions
from sarcast.detectors.series import GEOMETRY, Normal, learn_normal, left_out, series_of, windows
from sarcast.runtime.model import load_model, save_model
from sarcast.runtime.settings import Settings
from sarcast.values import Features, Scores, Split

if TYPE_CHECKING:
    from torch import Tensor, nn


class Forecasting(Settings, ABC):
    """Settings of every detector that forecasts a cell's next features from its last K with a network."""

    detector: ClassVar[str]
    """Its name in the table."""
    sees_platforms: ClassVar[bool] = False
    """Whether the network is told which platform of history an acquisition is of."""

    context: int = Field(7, ge=3)
    """K: acquisitions the forecast looks back on."""
    time_encoding: Literal["sinusoidal", "ctlpe", "linear"] = "sinusoidal"
    """How days before the target become a vector."""
    width: int = Field(64, ge=8)
    """Width of the network."""
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
    noise: Literal["alike", "frame"] = "alike"
    """What errors are counted in, their size in history: that of the cell and its alike cells, half of the
    variance each; or that of the whole frame."""
    directions: int | None = Field(None, ge=0)
    """Principal components of history that wide features are reduced to; 0 for none. When not given, 16 where
    there are more than 32 features."""
    folds: int = Field(4, ge=2)
    """Groups of history dates left out in turn when history is normalised to score itself."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute."""

    @abstractmethod
    def network(self, dim: int, *, geometry: int, seed: int) -> nn.Module:
        """The network, its parameters drawn from `seed`: the context mean until it is trained.

        Its inputs are those of `sarcast.nn.forecaster.Forecaster.forward`, `geometry` values of every
        acquisition; it gives (b, dim), or (b, 2, dim) where it says more than the forecast itself.
        """

    def loss(self, predicted: Tensor, target: Tensor) -> Tensor:
        """What training lowers: smooth L1."""
        from torch.nn.functional import smooth_l1_loss

        return smooth_l1_loss(predicted, target)

    def error(self, value: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """(cell, dim): how far one date is from what was forecast of it."""
        return value - predicted

    def fit(self, features: Features, split: Split, *, rng: Generator) -> ForecastScorer:
        """Two forecasters, each trained on every second block of cells: each scores the other's history."""
        from sarcast.detectors.forecaster import train

        matrix = directions(features, split.fit, wanted=self.directions)
        features = along(features, matrix)
        values, valid = history(features, split.fit, at_least=FEWEST + 1)
        dates = np.flatnonzero(split.fit)
        past = features.take(dates)
        fold = date_folds(len(dates), self.folds)
        incidence = past.times.incidence_deg
        normals = tuple(
            learn_normal(values[k], valid[k], incidence[k], self, pooled=self.pooled, rng=rng)
            for k in kept_dates(fold)
        )
        platforms = tuple(sorted(set(past.times.platform) - {"unknown"})) if self.sees_platforms else ()
        series, targets = left_out(
            features, dates, fold, normals[1:], context=self.context, platforms=platforms
        )
        half = halves(features.grid.shape)
        some = [windows(series, targets, half == h, self.context) for h in (0, 1)]
        trained = [train(series, some[h], some[1 - h], self, rng=rng) for h in (0, 1)]
        learned = ForecastScorer(
            settings=self,
            normals=normals,
            directions=matrix,
            halves=half,
            noise=np.ones(values.shape[-1], np.float32),
            models=(trained[0].model, trained[1].model),
            skill=tuple(t.skill for t in trained),
            skill_last=tuple(t.skill_last for t in trained),
            history_ids=past.times.scene_id,
            history_fold=fold,
            platforms=platforms,
        )
        return learned.with_noise(past)


class Attentive(Forecasting, ABC):
    """Settings of forecasting detectors whose network is a transformer."""

    layers: int = Field(2, ge=1)
    """Number of layers (that of T-SAR-JEPA has 4, of width 768)."""
    heads: int = Field(4, ge=1)
    """Attention heads; divides the width."""

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"expected heads that divide the width {self.width}, found {self.heads}")
        return self


@dataclass(frozen=True, kw_only=True, eq=False)
class ForecastScorer:
    """Two forecasters, what their inputs are normalised by, and the size of their errors in history."""

    settings: Forecasting
    normals: tuple[Normal, ...]
    """From the whole history, then with each fold of it left out."""
    directions: np.ndarray
    """float32 (dim, direction): what features are reduced to; no columns where they are not."""
    halves: np.ndarray
    """int (cell,): which of the two models was trained on the cell."""
    noise: np.ndarray
    """float32 (dim,): root-mean-square forecast error in history."""
    models: tuple[nn.Module, nn.Module]
    skill: tuple[float, ...]
    """Of each model, on history's cells it was not trained on (where its epoch was chosen): 1 - smooth-L1
    loss / loss of the context mean; 0 is no skill, and an untrained forecaster's."""
    skill_last: tuple[float, ...]
    """The same against persistence: 1 - loss / loss of the last valid acquisition."""
    history_ids: tuple[str, ...]
    history_fold: np.ndarray
    """int (history,): which fold a history date was left out in."""
    platforms: tuple[str, ...] = ()
    """Those of history that the networks tell apart."""
    local: tuple[np.ndarray, np.ndarray] | None = None
    """Sum of squared errors over history, in units of `noise`, float32 (cell, dim), and over how many dates,
    int64 (cell,); None where errors are counted in the frame's noise."""

    def score(self, features: Features, times: Sequence[int] | None = None) -> Scores:
        """Scores of all times, or of those with the given indices.

        Later dates are forecast by both models' mean; history by the model that was not trained on the cell,
        normalised without the date. A date needs three valid acquisitions before it.
        """
        index = list(range(len(features.times))) if times is None else list(times)
        errors, valid = self.errors(along(features, self.directions), index)
        found = np.zeros(valid.shape, np.float32)
        for k, t in enumerate(index):
            scene = features.times.scene_id[t]
            near = self._normal(scene).neighbours
            error = errors[k] / self.noise
            if self.local is not None:
                own = (error, valid[k]) if scene in self.history_ids else None
                error = error / local_noise(*self.local, near, without=own)
            found[k] = size(error, valid[k], near, today=self.settings.today)
        shape = (len(index), *features.grid.shape)
        name = self.settings.detector
        return scores_of(features, index, found.reshape(shape), valid.reshape(shape), detector=name)

    def with_noise(self, learned_from: Features) -> Self:
        """The same scorer, its noise measured on the (reduced) history each model was not trained on."""
        errors, valid = self.errors(learned_from, list(range(len(learned_from.times))))
        noise = np.sqrt(np.maximum((errors[valid] ** 2).mean(0), 1e-12)).astype(np.float32)
        if self.settings.noise == "frame":
            return replace(self, noise=noise)
        return replace(self, noise=noise, local=(((errors / noise) ** 2).sum(0), valid.sum(0)))

    def errors(self, features: Features, index: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Forecast errors of some dates of (reduced) features.

        Returns:
            float32 (time, cell, dim), 0 where not valid, and bool (time, cell).
        """
        from sarcast.detectors.forecaster import forecast

        past = set(self.history_ids)
        cells, dim = self.normals[0].mean.shape
        errors = np.zeros((len(index), cells, dim), np.float32)
        valid = np.zeros((len(index), cells), bool)
        for k, t in enumerate(index):
            dates = np.arange(max(0, t - self.settings.context), t + 1)
            scene = features.times.scene_id[t]
            window = series_of(features, dates, self._normal(scene), self.platforms)
            valid[k] = window.valid[-1] & (window.valid[:-1].sum(0) >= FEWEST)
            if not valid[k].any():
                continue
            a, b = (forecast(model, window) for model in self.models)
            first = (self.halves == 0).reshape(-1, *[1] * (a.ndim - 1))
            predicted = np.where(first, b, a) if scene in past else (a + b) / 2
            error = self.settings.error(window.values[-1], predicted)
            errors[k] = np.where(valid[k][:, None], error, 0)
        return errors, valid

    def _normal(self, scene_id: str) -> Normal:
        """The normalisation that did not see this acquisition."""
        fold = fold_of(self.history_ids, self.history_fold, scene_id)
        return self.normals[0 if fold is None else 1 + fold]

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        arrays = {f"{i}.{name}": getattr(n, name) for i, n in enumerate(self.normals) for name in _NORMAL}
        arrays |= {
            "directions": self.directions,
            "halves": self.halves.astype(np.int64),
            "noise": self.noise,
            "history_fold": self.history_fold.astype(np.int64),
        }
        if self.local is not None:
            arrays |= {"squares": self.local[0], "counts": self.local[1]}
        for i, model in enumerate(self.models):
            arrays |= {f"model{i}.{k}": v.cpu().numpy() for k, v in model.state_dict().items()}
        config = {
            "detector": self.settings.detector,
            "settings": self.settings.model_dump(mode="json"),
            "history_ids": list(self.history_ids),
            "skill": [round(s, 6) for s in self.skill],
            "skill_last": [round(s, 6) for s in self.skill_last],
            "platforms": list(self.platforms),
        }
        save_model(folder, config=config, arrays=arrays)

    @classmethod
    def from_pretrained(cls, folder: Path) -> Self:
        """Load what `save` wrote."""
        from sarcast.detectors.forecaster import load

        config, arrays = load_model(folder)
        settings = DETECTORS[config["detector"]](**config["settings"])
        platforms = tuple(config.get("platforms", ()))
        told = {"dim": len(arrays["noise"]), "geometry": GEOMETRY + len(platforms)}
        first, second = (
            load({k[7:]: v for k, v in arrays.items() if k.startswith(f"model{i}.")}, settings, **told)
            for i in (0, 1)
        )
        count = 2 + int(arrays["history_fold"].max())
        return cls(
            settings=settings,
            normals=tuple(Normal(**{name: arrays[f"{i}.{name}"] for name in _NORMAL}) for i in range(count)),
            models=(first, second),
            skill=tuple(config["skill"]),
            skill_last=tuple(config["skill_last"]),
            history_ids=tuple(config["history_ids"]),
            platforms=platforms,
            local=(arrays["squares"], arrays["counts"]) if "squares" in arrays else None,
            **{name: arrays[name] for name in ("directions", "halves", "noise", "history_fold")},
        )


_NORMAL = ("mean", "scale", "neighbours", "incidence_deg")
