"""Weak changes of small patches on full-resolution maps: deviations from history, averaged at several scales.

Speckle hides a change of 1 dB in one pixel and not in fifty. An image filter has to spare the edges of the
ground; what is left after a cell's own history has none, so it is averaged instead: a filter matched to
compact changes of unknown size. Deviations are centred on clusters of cells alike in history, standardised,
and averaged by Gaussians of several widths; what is left around the widest average says how the texture
changed. Every field is read as a surprise against history's own fields, and the largest counts, the finer
ones with a handicap: they have more independent tries and heavier tails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from sarcast.detectors.matched import Averaging, Deviations
from sarcast.runtime.model import load_model, save_model
from sarcast.values import Features, Scores, Split


class MatchedFilter(Averaging):
    """Deviations from history, averaged over several neighbourhoods; the most surprising one counts."""

    def fit(self, features: Features, split: Split, *, rng: Generator) -> MatchedFilterScorer:
        """Mean, variance and clusters from the valid history, also with each fold of dates left out."""
        return MatchedFilterScorer(settings=self, deviations=Deviations.learn(self, features, split, rng=rng))


@dataclass(frozen=True, kw_only=True, eq=False)
class MatchedFilterScorer:
    """What is normal, and how large history's own fields are."""

    settings: MatchedFilter
    deviations: Deviations

    @property
    def directions(self) -> np.ndarray:
        """float32 (dim, direction): what features are reduced to; no columns where they are not."""
        return self.deviations.directions

    def score(self, features: Features, times: Sequence[int] | None = None) -> Scores:
        """Scores of all times, or of those with the given indices; history by the model that left it out."""
        return self.deviations.scored(features, times, detector="matched_filter")

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        config = {
            "detector": "matched_filter",
            "settings": self.settings.model_dump(mode="json"),
            "history_ids": list(self.deviations.history_ids),
        }
        save_model(folder, config=config, arrays=self.deviations.arrays())

    @classmethod
    def from_pretrained(cls, folder: Path) -> MatchedFilterScorer:
        """Load what `save` wrote."""
        config, arrays = load_model(folder)
        settings = MatchedFilter(**config["settings"])
        learned = Deviations.from_arrays(settings, tuple(config["history_ids"]), arrays)
        return cls(settings=settings, deviations=learned)
