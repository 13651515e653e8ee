"""What every detector promises: settings that fit, and a scorer that scores, saves and loads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.random import Generator

from sarcast.errors import DataError
from sarcast.values import Features, Scores, Split


class Scorer(Protocol):
    """What was learned. Every date is scored by itself, so a later date never moves an earlier score."""

    def score(self, features: Features, times: Sequence[int] | None = None) -> Scores:
        """Scores of all times, or of those with the given indices.

        Times of history are scored by what the *other* dates or places know (left out, cross-fitted), so
        that they are fair samples of "nothing happened" for calibration; where that cannot be had, they are
        not valid.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        ...


class Detector(Protocol):
    """Settings of a detector; learns from history only."""

    def fit(self, features: Features, split: Split, *, rng: Generator) -> Scorer:
        """Learn from `split.fit`."""
        ...


def scores_of(
    features: Features, index: Sequence[int], values: np.ndarray, valid: np.ndarray, *, detector: str
) -> Scores:
    """Scores (time, row, col) of some of the times of `features`."""
    return Scores(
        values=np.where(valid, values, 0).astype(np.float32),
        valid=valid,
        times=features.times.take(np.array(index, dtype=int)),
        grid=features.grid,
        geobox=features.geobox,
        detector=detector,
        encoder=features.encoder,
        stack=features.stack,
    )


def history(features: Features, fit: np.ndarray, *, at_least: int) -> tuple[np.ndarray, np.ndarray]:
    """Flattened history: float32 (time, cell, dim), 0 where not valid, and bool (time, cell).

    Raises:
        DataError: Too few dates, or no cell seen often enough.
    """
    if fit.sum() < at_least:
        raise DataError(f"expected at least {at_least} usable dates of history, found {int(fit.sum())}")
    values = features.values[fit].reshape(int(fit.sum()), -1, features.values.shape[-1])
    valid = features.valid[fit].reshape(len(values), -1)
    if not (valid.sum(0) >= at_least).any():
        raise DataError(f"expected cells seen on at least {at_least} dates of history, found none")
    return np.where(valid[..., None], values, 0), valid
