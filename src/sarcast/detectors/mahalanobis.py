"""Mahalanobis distance of the level in all polarisations jointly from a cell's own history.

A cell's covariance of the levels in dB over history is shrunk to that of the cells that behaved alike:
C = pooled C_alike + (1 - pooled) C_own, and the score is sqrt(d' C^-1 d / bands) of a date's deviation d from
history's mean, freed of what the alike cells did that day: persistent change. Two polarisations that move
together in history make a move of one alone the larger change. One polarisation is a z-score of the level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from pydantic import Field

from sarcast.detectors.by_fold import fit_by_fold, flat, load_folded, save_folded, score_by_fold
from sarcast.detectors.levels import (
    REFERENCE,
    deviation,
    learn_reference,
    levels,
    shared,
    squared_spread,
)
from sarcast.runtime.settings import Settings
from sarcast.values import Features, Scores, Split

_FLOOR = 1e-6


class Mahalanobis(Settings):
    """Distance of a date's levels from history by the covariance of the polarisations."""

    pooled: float = Field(0.5, ge=0, le=1)
    """Share of the covariance that is the alike cells'; the rest is the cell's own."""
    neighbours: int = Field(60, ge=0)
    """How many alike cells each date is centred on, and the covariance is shared with; 0 takes off the
    frame's median and shares with all cells."""
    components: int = Field(6, ge=1)
    """Principal components of history that say what is alike."""
    folds: int = Field(4, ge=2)
    """Groups of history dates left out in turn when history scores itself."""

    def fit(self, features: Features, split: Split, *, rng: Generator) -> MahalanobisScorer:
        """Mean and covariance of every cell's levels, and its alike cells."""

        def learn(values: np.ndarray, valid: np.ndarray) -> Gaussian:
            told = {"neighbours": self.neighbours, "components": self.components}
            reference, away, seen = learn_reference(values, valid, **told, rng=rng)
            own = squared_spread(away, seen)
            others = shared(own, reference.known, reference.neighbours)
            covariance = self.pooled * others + (1 - self.pooled) * own
            covariance += _FLOOR * np.eye(covariance.shape[-1])
            root = np.linalg.inv(np.linalg.cholesky(covariance)).astype(np.float32)
            return Gaussian(**vars(reference), whitening=root)

        learned = fit_by_fold(levels(features), split.fit, folds=self.folds, learn=learn)
        return MahalanobisScorer(settings=self, **learned)


@dataclass(frozen=True, kw_only=True, eq=False)
class Gaussian:
    """What is normal for each cell."""

    mean: np.ndarray
    """float32 (cell, band), dB."""
    known: np.ndarray
    """bool (cell,): seen often enough."""
    neighbours: np.ndarray
    """int32 (cell, neighbour)."""
    whitening: np.ndarray
    """float32 (cell, band, band): W with W C W' = 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MahalanobisScorer:
    """What was learned from the whole history, and with each fold of it left out."""

    settings: Mahalanobis
    models: tuple[Gaussian, ...]
    """The whole history's, then one per fold."""
    history_ids: tuple[str, ...]
    """Scene ids of history, in time order."""
    history_fold: np.ndarray
    """int (history,): which fold a history date was left out in."""

    def score(self, features: Features, times: Sequence[int] | None = None) -> Scores:
        """Scores of all times, or of those with the given indices; history by the model that left it out."""
        features = levels(features)

        def one(model: Gaussian, t: int) -> tuple[np.ndarray, np.ndarray]:
            date, valid = flat(features, t)
            seen = valid & model.known
            white = np.einsum("cij,cj->ci", model.whitening, deviation(model, date, seen))
            return np.sqrt((white**2).mean(-1)), seen

        return score_by_fold(self, features, times, one, detector="mahalanobis")

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        save_folded(folder, self, self.settings, _FIELDS, detector="mahalanobis")

    @classmethod
    def from_pretrained(cls, folder: Path) -> MahalanobisScorer:
        """Load what `save` wrote."""
        settings, learned = load_folded(folder, Gaussian, _FIELDS)
        return cls(settings=Mahalanobis(**settings), **learned)


_FIELDS = (*REFERENCE, "whitening")
