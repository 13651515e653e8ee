"""Models of the whole history and without each fold of its dates: which scores which date, how they are kept.

A date of history is scored by the model that left its fold out, so that its score is a fair sample of
"nothing happened"; every other date is scored by the model of the whole history.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import numpy as np

from sarcast.detectors.base import scores_of
from sarcast.detectors.cross_fit import fold_of
from sarcast.values import Features, Scores

M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)


class Folded(Protocol[M_co]):
    """A scorer that holds one model for the whole history and one for each fold."""

    @property
    def models(self) -> tuple[M_co, ...]:
        """The whole history's, then one per fold."""
        ...

    @property
    def history_ids(self) -> tuple[str, ...]:
        """Scene ids of history, in time order."""
        ...

    @property
    def history_fold(self) -> np.ndarray:
        """Fold that each history date was left out in, int (history,)."""
        ...


def model_of(scorer: Folded[M], scene_id: str) -> M:
    """The model that has not seen this acquisition."""
    fold = fold_of(scorer.history_ids, scorer.history_fold, scene_id)
    return scorer.models[0 if fold is None else 1 + fold]


def score_by_fold(
    scorer: Folded[M],
    features: Features,
    times: Sequence[int] | None,
    one: Callable[[M, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    *,
    detector: str,
) -> Scores:
    """Scores of all times, or of those with the given indices, each date by itself.

    Args:
        scorer: What was learned.
        features: (time, row, col, dim).
        times: Indices; None for all.
        one: Model, one date's features (cell, dim) and validity (cell,) -> scores and bool, (cell,) each.
        detector: Its name.
    """
    index = list(range(len(features.times))) if times is None else list(times)
    values = np.zeros((len(index), *features.grid.shape), np.float32)
    valid = np.zeros(values.shape, bool)
    for k, t in enumerate(index):
        date, seen = features.values[t].reshape(valid[k].size, -1), features.valid[t].ravel()
        found, scored = one(model_of(scorer, features.times.scene_id[t]), date, seen)
        values[k], valid[k] = found.reshape(values[k].shape), scored.reshape(values[k].shape)
    return scores_of(features, index, values, valid, detector=detector)


def to_arrays(models: Sequence[object], fields: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays of every model by a name of their own."""
    return {f"{i}.{name}": getattr(model, name) for i, model in enumerate(models) for name in fields}


def from_arrays(
    kind: Callable[..., M], fields: Sequence[str], arrays: dict[str, np.ndarray]
) -> tuple[M, ...]:
    """What `to_arrays` took apart; `history_fold` among the arrays says how many models there are."""
    count = 1 + int(arrays["history_fold"].max(initial=0)) + 1
    return tuple(kind(**{name: arrays[f"{i}.{name}"] for name in fields}) for i in range(count))
