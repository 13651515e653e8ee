"""Log-ratio: how many decibels a level is from its reference, without a scale (Rignot and van Zyl, 1993).

Each date is first freed of what the frame, or the cells that behaved alike, did together. The reference is
the mean over history, for persistent change, or over the last K dates, for innovation: what is new today.
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
from sarcast.detectors.levels import REFERENCE, Reference, deviation, last_dates, learn_reference, levels
from sarcast.runtime.settings import Settings
from sarcast.values import Features, Scores, Split


class LogRatio(Settings):
    """Change of the level in dB: root mean square over the polarisations."""

    reference: Literal["history", "last"] = "history"
    """What a date is compared with. history: the mean over history, for persistent change. last: the mean of
    the cell's last dates, for innovation."""
    context: int = Field(7, ge=1)
    """K: dates before, of which the valid ones are the reference `last`; half of them have to be."""
    neighbours: int = Field(60, ge=0)
    """How many alike cells each date is centred on; 0 takes off the frame's median."""
    components: int = Field(6, ge=1)
    """Principal components of history that say what is alike."""
    folds: int = Field(4, ge=2)
    """Groups of history dates left out in turn when history scores itself."""

    def fit(self, features: Features, split: Split, *, rng: Generator) -> LogRatioScorer:
        """Mean level of every cell, and its alike cells."""

        def learn(values: np.ndarray, valid: np.ndarray) -> Reference:
            told = {"neighbours": self.neighbours, "components": self.components}
            return learn_reference(values, valid, **told, rng=rng)[0]

        learned = fit_by_fold(levels(features), split.fit, folds=self.folds, learn=learn)
        return LogRatioScorer(settings=self, **learned)


@dataclass(frozen=True, kw_only=True, eq=False)
class LogRatioScorer:
    """What was learned from the whole history, and with each fold of it left out."""

    settings: LogRatio
    models: tuple[Reference, ...]
    """The whole history's, then one per fold."""
    history_ids: tuple[str, ...]
    """Scene ids of history, in time order."""
    history_fold: np.ndarray
    """int (history,): which fold a history date was left out in."""

    def score(self, features: Features, times: Sequence[int] | None = None) -> Scores:
        """Scores in dB of all times, or of those with the given indices."""
        features = levels(features)

        def against_history(model: Reference, t: int) -> tuple[np.ndarray, np.ndarray]:
            date, valid = flat(features, t)
            seen = valid & model.known
            return size(deviation(model, date, seen)), seen

        def against_last(model: Reference, t: int) -> tuple[np.ndarray, np.ndarray]:
            away, seen = last_dates(model, features, t, self.settings.context)
            count = seen[:-1].sum(0)
            scored = seen[-1] & (2 * count >= self.settings.context)
            usual = away[:-1].sum(0) / np.maximum(count, 1)[:, None]
            return np.where(scored, size(away[-1] - usual), 0), scored

        one = against_history if self.settings.reference == "history" else against_last
        return score_by_fold(self, features, times, one, detector="log_ratio")

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        save_folded(folder, self, self.settings, REFERENCE, detector="log_ratio")

    @classmethod
    def from_pretrained(cls, folder: Path) -> LogRatioScorer:
        """Load what `save` wrote."""
        settings, learned = load_folded(folder, Reference, REFERENCE)
        return cls(settings=LogRatio(**settings), **learned)


def size(change: np.ndarray) -> np.ndarray:
    """Root mean square over the polarisations, (cell, band) -> (cell,)."""
    return np.sqrt((change**2).mean(-1))
