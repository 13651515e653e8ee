"""Temporal coefficient of variation, made causal: how much one more date raises it (REACTIV).

REACTIV (Colin Koeniguer and Nicolas, 2020) maps the standard deviation of a pixel's amplitude over all dates,
divided by its mean. Over a whole stack that is blind to one last date: among many dates an odd one shares the
figure with every other change of the series. Here a date is judged by how much its amplitude raises the
squared coefficient of the n dates of history, counted from the lowest that any date could bring it to:

    score = sqrt((n + 1) (g^2 with the date - lowest g^2)) / usual g

so that a date which is off by the usual coefficient scores about 1. A coefficient hardly notices a date that
gets darker, as amplitudes end at 0; that of the reciprocal is judged too, and the larger rise counts. The
reference is history: persistent change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from pydantic import Field
from scipy.special import gammaln

from sarcast.detectors.by_fold import fit_by_fold, flat, load_folded, save_folded, score_by_fold
from sarcast.detectors.levels import REFERENCE, deviation, learn_reference, levels, shared
from sarcast.runtime.settings import Settings
from sarcast.values import Features, Scores, Split


class CoefficientOfVariation(Settings):
    """Rise of the amplitude's coefficient of variation when one more date joins history."""

    looks: float | None = Field(None, gt=0)
    """Looks that say how much a level varies without change. When not given, the alike cells say so."""
    pooled: float = Field(0.5, ge=0, le=1)
    """Share of the usual squared coefficient that the looks or the alike cells give; the rest is the cell's
    own."""
    neighbours: int = Field(60, ge=0)
    """How many alike cells each date is centred on; 0 takes off the frame's median and shares with all."""
    components: int = Field(6, ge=1)
    """Principal components of history that say what is alike."""
    folds: int = Field(4, ge=2)
    """Groups of history dates left out in turn when history scores itself."""

    def fit(self, features: Features, split: Split, *, rng: Generator) -> CoefficientOfVariationScorer:
        """Sums of every cell's amplitude and its reciprocal over history."""

        def learn(values: np.ndarray, valid: np.ndarray) -> Usual:
            told = {"neighbours": self.neighbours, "components": self.components}
            reference, away, seen = learn_reference(values, valid, **told, rng=rng)
            both = np.where(seen[..., None], _amplitudes(away), 0)
            total, square, count = both.sum(1), (both**2).sum(1), seen.sum(0).astype(np.int32)
            own = coefficient(total, square, count) ** 2
            if self.looks is None:
                others = np.stack([shared(one, reference.known, reference.neighbours) for one in own])
            else:
                others = np.full(own.shape, speckle_coefficient(self.looks) ** 2)
            usual = np.sqrt(self.pooled * others + (1 - self.pooled) * own) + 1e-6
            return Usual(**vars(reference), total=total, square=square, count=count, usual=usual)

        learned = fit_by_fold(levels(features), split.fit, folds=self.folds, learn=learn)
        return CoefficientOfVariationScorer(settings=self, **learned)


@dataclass(frozen=True, kw_only=True, eq=False)
class Usual:
    """What history says of each cell; the first axis of two is the amplitude and its reciprocal."""

    mean: np.ndarray
    """float32 (cell, band), dB."""
    known: np.ndarray
    """bool (cell,): seen often enough."""
    neighbours: np.ndarray
    """int32 (cell, neighbour)."""
    total: np.ndarray
    """float64 (2, cell, band): sum over history, in units of the cell's usual amplitude."""
    square: np.ndarray
    """float64 (2, cell, band): sum of squares."""
    count: np.ndarray
    """int32 (cell,): dates of history."""
    usual: np.ndarray
    """float64 (2, cell, band): coefficient of variation without change."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CoefficientOfVariationScorer:
    """What was learned from the whole history, and with each fold of it left out."""

    settings: CoefficientOfVariation
    models: tuple[Usual, ...]
    """The whole history's, then one per fold."""
    history_ids: tuple[str, ...]
    """Scene ids of history, in time order."""
    history_fold: np.ndarray
    """int (history,): which fold a history date was left out in."""

    def score(self, features: Features, times: Sequence[int] | None = None) -> Scores:
        """Scores of all times, or of those with the given indices; history by the model that left it out."""
        features = levels(features)

        def one(model: Usual, t: int) -> tuple[np.ndarray, np.ndarray]:
            date, valid = flat(features, t)
            seen = valid & model.known
            new = _amplitudes(deviation(model, date, seen))
            after, lowest = (
                coefficient(model.total + value, model.square + value**2, model.count + 1) ** 2
                for value in (new, model.square / np.maximum(model.total, 1e-12))
            )
            rise = np.maximum(after - lowest, 0) * (model.count + 1)[:, None]
            score = np.sqrt((rise / model.usual**2).max(0).mean(-1))
            return np.where(seen, score, 0), seen

        return score_by_fold(self, features, times, one, detector="coefficient_of_variation")

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        save_folded(folder, self, self.settings, _FIELDS, detector="coefficient_of_variation")

    @classmethod
    def from_pretrained(cls, folder: Path) -> CoefficientOfVariationScorer:
        """Load what `save` wrote."""
        settings, learned = load_folded(folder, Usual, _FIELDS)
        return cls(settings=CoefficientOfVariation(**settings), **learned)


_FIELDS = (*REFERENCE, "total", "square", "count", "usual")


def coefficient(total: np.ndarray, square: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Standard deviation over mean, from sums over dates.

    Args:
        total: Sum of positive values (..., cell, band).
        square: Sum of their squares.
        count: How many (cell,).

    Returns:
        Shape of `total`; the standard deviation is the unbiased one's root; 0 for fewer than two values.
    """
    n = np.maximum(count, 2)[:, None]
    variance = np.maximum(square - total**2 / n, 0) / (n - 1)
    return np.where(count[:, None] >= 2, np.sqrt(variance) / np.maximum(total / n, 1e-12), 0)


def speckle_coefficient(looks: float) -> float:
    """Coefficient of variation of the amplitude of L-look speckle (Nakagami): .52 at one look."""
    ratio = np.exp(gammaln(looks) + gammaln(looks + 1) - 2 * gammaln(looks + 0.5))
    return float(np.sqrt(ratio - 1))


def _amplitudes(away: np.ndarray) -> np.ndarray:
    """Deviations in dB -> amplitude and its reciprocal, float64 (2, ...)."""
    half = away.astype(np.float64) / 20
    return np.stack([10**half, 10**-half])
