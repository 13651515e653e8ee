"""Two-sided cumulative sum of deviations from what was before: small changes that last (Page, 1954).

    up_t = max(0, up_(t-1) + r_t - k), down_t = max(0, down_(t-1) - r_t - k)

r is a date's deviation from the mean over the n dates before it, less what the cells that behaved alike did
that day, over the standard deviation of the reference period, history, and sqrt((n + 1) / n); k is the drift.
The score is the root mean square over features of the larger sum, for persistent change. Date t is scored by
dates up to t alone.

The mean of a fixed reference of n dates is wrong by 1 / sqrt(n) standard deviations, and in the same
direction at every later date: with few dates unchanged cells climb for ever. Deviations from the running mean
(recursive residuals; Brown, Durbin and Evans, 1975; Hawkins, 1987) are the same ones made independent of each
other. They take a change that lasts for normal as slowly as its dates come to outnumber those of history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.random import Generator
from pydantic import Field

from sarcast.detectors.base import scores_of
from sarcast.detectors.by_fold import fit_by_fold, flat, from_arrays, model_of, to_arrays
from sarcast.detectors.directions import along, directions
from sarcast.detectors.levels import REFERENCE, learn_reference, less_common, shared
from sarcast.runtime.model import load_model, save_model
from sarcast.runtime.settings import Settings
from sarcast.values import Features, Scores, Split

_WARM = 5
"""Dates a cell's sums have seen before they are a score."""


class Cusum(Settings):
    """Cumulative sums of how far a cell is above, and below, its history."""

    drift: float = Field(1.0, ge=0)
    """k: taken off each deviation, standard deviations; half the change to be found. With less, sums remember
    longer than a short history lasts, and p-values come out too small."""
    reset: float | None = Field(None, gt=0)
    """A sum over this starts again from 0 at the cell's next date, so that a change is told once. When not
    given, a sum goes on while the change lasts."""
    pooled: float = Field(0.5, ge=0, le=1)
    """Share of the variance that is the alike cells'; the rest is the cell's own."""
    neighbours: int = Field(60, ge=0)
    """How many alike cells each date is centred on; 0 takes off the frame's median and shares with all."""
    components: int = Field(6, ge=1)
    """Principal components of history that say what is alike."""
    directions: int | None = Field(None, ge=0)
    """Principal components of history that wide features are reduced to; 0 for none. When not given, 16 where
    there are more than 32 features."""
    folds: int = Field(4, ge=2)
    """Groups of history dates left out in turn when history scores itself."""

    def fit(self, features: Features, split: Split, *, rng: Generator) -> CusumScorer:
        """Mean and standard deviation of every cell, and its alike cells."""
        matrix = directions(features, split.fit, wanted=self.directions)

        def learn(values: np.ndarray, valid: np.ndarray) -> Usual:
            told = {"neighbours": self.neighbours, "components": self.components}
            reference, away, seen = learn_reference(values, valid, **told, rng=rng)
            own = (away.astype(np.float64) ** 2).sum(0) / np.maximum(seen.sum(0) - 1, 1)[:, None]
            others = shared(own, reference.known, reference.neighbours)
            scale = np.sqrt(self.pooled * others + (1 - self.pooled) * own) + 1e-6
            return Usual(**vars(reference), scale=scale.astype(np.float32))

        learned = fit_by_fold(along(features, matrix), split.fit, folds=self.folds, learn=learn)
        return CusumScorer(settings=self, directions=matrix, **learned)


@dataclass(frozen=True, kw_only=True, eq=False)
class Usual:
    """What history says of each cell."""

    mean: np.ndarray
    """float32 (cell, dim)."""
    known: np.ndarray
    """bool (cell,): seen often enough."""
    neighbours: np.ndarray
    """int32 (cell, neighbour)."""
    scale: np.ndarray
    """float32 (cell, dim): standard deviation of one date."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sums:
    """How far the sums of every cell are, after some dates."""

    total: np.ndarray
    """float64 (cell, dim): of the features of all dates so far."""
    count: np.ndarray
    """int (cell,): dates in it."""
    both: np.ndarray
    """float32 (2, cell, dim): up and down."""

    @classmethod
    def empty(cls, cells: int, dim: int) -> Self:
        """Before the first date."""
        return cls(
            total=np.zeros((cells, dim)),
            count=np.zeros(cells, int),
            both=np.zeros((2, cells, dim), np.float32),
        )

    def after(self, date: np.ndarray, seen: np.ndarray, model: Usual, settings: Cusum) -> Sums:
        """The sums after one more date: its features (cell, dim), and bool (cell,) where it counts."""
        n, old = np.maximum(self.count, 1)[:, None], seen & (self.count > 0)
        away = less_common(date - self.total / n, old, model.neighbours)
        r = away / model.scale * np.sqrt(n / (n + 1))
        both = self.both
        if settings.reset is not None:
            both = np.where(both > settings.reset, 0, both)
        raised = np.maximum(both + np.stack([r, -r]) - settings.drift, 0)
        return Sums(
            total=self.total + np.where(seen[:, None], date, 0),
            count=self.count + seen,
            both=np.where(old[:, None], raised, self.both).astype(np.float32),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class CusumScorer:
    """What was learned from the whole history, and with each fold of it left out."""

    settings: Cusum
    models: tuple[Usual, ...]
    """The whole history's, then one per fold."""
    directions: np.ndarray
    """float32 (dim, direction): what features are reduced to; no columns where they are not."""
    history_ids: tuple[str, ...]
    """Scene ids of history, in time order."""
    history_fold: np.ndarray
    """int (history,): which fold a history date was left out in."""

    def score(self, features: Features, times: Sequence[int] | None = None) -> Scores:
        """Scores of all times, or of those with the given indices; the sums begin at the first time."""
        features = along(features, self.directions)
        index = list(range(len(features.times))) if times is None else list(times)
        cells, dim = self.models[0].mean.shape
        values, valid = np.zeros((len(index), cells), np.float32), np.zeros((len(index), cells), bool)
        sums = Sums.empty(cells, dim)
        for t in range(max(index, default=-1) + 1):
            model = model_of(self, features.times.scene_id[t])
            date, ok = flat(features, t)
            sums = sums.after(date, ok & model.known, model, self.settings)
            for k in (k for k, wanted in enumerate(index) if wanted == t):
                valid[k] = ok & model.known & (sums.count > _WARM)
                values[k] = np.sqrt((sums.both.max(0) ** 2).mean(-1))
        shape = (len(index), *features.grid.shape)
        return scores_of(features, index, values.reshape(shape), valid.reshape(shape), detector="cusum")

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        arrays = to_arrays(self.models, _FIELDS)
        arrays |= {"history_fold": self.history_fold.astype(np.int64), "directions": self.directions}
        config = {"detector": "cusum", "settings": self.settings.model_dump(mode="json")}
        save_model(folder, config={**config, "history_ids": list(self.history_ids)}, arrays=arrays)

    @classmethod
    def from_pretrained(cls, folder: Path) -> CusumScorer:
        """Load what `save` wrote."""
        config, arrays = load_model(folder)
        return cls(
            settings=Cusum(**config["settings"]),
            models=from_arrays(Usual, _FIELDS, arrays),
            history_ids=tuple(config["history_ids"]),
            history_fold=arrays["history_fold"],
            directions=arrays["directions"],
        )


_FIELDS = (*REFERENCE, "scale")
