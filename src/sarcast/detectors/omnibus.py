"""Sequential omnibus test: the likelihood ratio of "this date equals its reference" for L-look intensities.

Conradsen, Nielsen, Schou and Skriver (2003, 2016); the formulas are in `sarcast.sar.omnibus`. Levels in dB
become power, each date is freed of its gain (the median over the frame of what cells deviate from their own
history), polarisations add up as a diagonal covariance does. The score is -log10 of the test's own p-value.
The reference is history, for persistent change, or the last K dates, for innovation.

The p-value holds for speckle: what else moves a cell in history (season, moisture) lowers the looks that are
estimated from it, for all cells alike. Where cells differ in that, read the calibrated p-value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.random import Generator
from pydantic import Field

from sarcast.detectors.by_fold import fit_by_fold, flat, load_folded, save_folded, score_by_fold
from sarcast.detectors.levels import REFERENCE, deviation, last_dates, learn_reference, levels
from sarcast.runtime.settings import Settings
from sarcast.sar.decibel import from_db
from sarcast.sar.omnibus import FEWEST_LOOKS, one_more
from sarcast.sar.temporal_looks import looks_of_log_variance
from sarcast.values import Features, Scores, Split


class Omnibus(Settings):
    """Is a date's intensity that of the reference? Gamma-distributed, with L looks."""

    reference: Literal["history", "last"] = "history"
    """What a date is compared with. history: all of history, for persistent change. last: the cell's last
    dates, for innovation."""
    context: int = Field(7, ge=1)
    """K: dates before, of which the valid ones are the reference `last`; half of them have to be."""
    looks: float | None = Field(None, ge=FEWEST_LOOKS)
    """Looks of a level. When not given, estimated from how levels scatter over history, all cells and
    polarisations pooled."""
    folds: int = Field(4, ge=2)
    """Groups of history dates left out in turn when history scores itself."""

    def fit(self, features: Features, split: Split, *, rng: Generator) -> OmnibusScorer:
        """Sum of every cell's power over history, and the looks."""

        def learn(values: np.ndarray, valid: np.ndarray) -> Usual:
            reference, away, seen = learn_reference(values, valid, neighbours=0, components=1, rng=rng)
            power = np.where(seen[..., None], from_db(away), 0)
            looks = _looks(away, seen) if self.looks is None else self.looks
            return Usual(
                **vars(reference),
                total=power.sum(0, dtype=np.float64),
                count=seen.sum(0).astype(np.int32),
                looks=np.array([looks]),
            )

        learned = fit_by_fold(levels(features), split.fit, folds=self.folds, learn=learn)
        return OmnibusScorer(settings=self, **learned)


@dataclass(frozen=True, kw_only=True, eq=False)
class Usual:
    """What history says of each cell."""

    mean: np.ndarray
    """float32 (cell, band), dB."""
    known: np.ndarray
    """bool (cell,): seen often enough."""
    neighbours: np.ndarray
    """int32 (cell, 0): the gain is the frame's."""
    total: np.ndarray
    """float64 (cell, band): power over history, each date freed of its gain, in units of the cell's mean."""
    count: np.ndarray
    """int32 (cell,): dates in it."""
    looks: np.ndarray
    """float64 (1,)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OmnibusScorer:
    """What was learned from the whole history, and with each fold of it left out."""

    settings: Omnibus
    models: tuple[Usual, ...]
    """The whole history's, then one per fold."""
    history_ids: tuple[str, ...]
    """Scene ids of history, in time order."""
    history_fold: np.ndarray
    """int (history,): which fold a history date was left out in."""

    def score(self, features: Features, times: Sequence[int] | None = None) -> Scores:
        """-log10 p of all times, or of those with the given indices; history by what left it out."""
        features = levels(features)

        def against_history(model: Usual, t: int) -> tuple[np.ndarray, np.ndarray]:
            date, valid = flat(features, t)
            seen = valid & model.known
            return _surprise(model.total, model.count, deviation(model, date, seen), seen, model), seen

        def against_last(model: Usual, t: int) -> tuple[np.ndarray, np.ndarray]:
            away, seen = last_dates(model, features, t, self.settings.context)
            count = seen[:-1].sum(0)
            scored = seen[-1] & (2 * count >= self.settings.context)
            total = np.where(seen[:-1, :, None], from_db(away[:-1]), 0).sum(0, dtype=np.float64)
            return _surprise(total, count, away[-1], scored, model), scored

        one = against_history if self.settings.reference == "history" else against_last
        return score_by_fold(self, features, times, one, detector="omnibus")

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        save_folded(folder, self, self.settings, _FIELDS, detector="omnibus")

    @classmethod
    def from_pretrained(cls, folder: Path) -> OmnibusScorer:
        """Load what `save` wrote."""
        settings, learned = load_folded(folder, Usual, _FIELDS)
        return cls(settings=Omnibus(**settings), **learned)


_FIELDS = (*REFERENCE, "total", "count", "looks")


def _surprise(
    total: np.ndarray, count: np.ndarray, away: np.ndarray, scored: np.ndarray, model: Usual
) -> np.ndarray:
    """-log10 p (cell,) of one date's deviations (cell, band), dB; 0 where not scored."""
    power = from_db(away.astype(np.float64))
    test = one_more(total, count, power, looks=float(model.looks[0]), valid=scored)
    return np.where(scored, -test.log_p / np.log(10), 0)


def _looks(away: np.ndarray, seen: np.ndarray) -> float:
    """Looks whose speckle scatters like history's deviations (time, cell, band), dB."""
    freedom = np.maximum(seen.sum(0) - 1, 0).sum() * away.shape[-1]
    variance = (away.astype(np.float64) ** 2).sum() / max(freedom, 1)
    return max(looks_of_log_variance(max(variance, 1e-6) * (np.log(10) / 10) ** 2), FEWEST_LOOKS)
