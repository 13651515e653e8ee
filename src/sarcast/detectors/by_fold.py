"""Models of the whole history and without each fold of its dates: which scores which date, how they are kept.

A date of history is scored by the model that left its fold out, so that its score is a fair sample of
"nothing happened"; every other date is scored by the model of the whole history.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from sarcast.detectors.base import history, scores_of
from sarcast.detectors.cross_fit import date_folds, fold_of, kept_dates
from sarcast.runtime.model import load_model, save_model
from sarcast.runtime.settings import Settings, as_json
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
    one: Callable[[M, int], tuple[np.ndarray, np.ndarray]],
    *,
    detector: str,
) -> Scores:
    """Scores of all times, or of those with the given indices, each date by itself.

    Args:
        scorer: What was learned.
        features: (time, row, col, dim).
        times: Indices; None for all.
        one: Model and index of a date -> scores and bool: scored, (cell,) each.
        detector: Its name.
    """
    index = list(range(len(features.times))) if times is None else list(times)
    values = np.zeros((len(index), *features.grid.shape), np.float32)
    valid = np.zeros(values.shape, bool)
    for k, t in enumerate(index):
        found, scored = one(model_of(scorer, features.times.scene_id[t]), t)
        values[k], valid[k] = found.reshape(values[k].shape), scored.reshape(values[k].shape)
    return scores_of(features, index, values, valid, detector=detector)


def flat(features: Features, t: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (cell, dim) and validity (cell,) of one date."""
    valid = features.valid[t].ravel()
    return features.values[t].reshape(len(valid), -1), valid


def to_arrays(models: Sequence[object], fields: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays of every model by a name of their own."""
    return {f"{i}.{name}": getattr(model, name) for i, model in enumerate(models) for name in fields}


def from_arrays(
    kind: Callable[..., M], fields: Sequence[str], arrays: dict[str, np.ndarray]
) -> tuple[M, ...]:
    """What `to_arrays` took apart; `history_fold` among the arrays says how many models there are."""
    count = 1 + int(arrays["history_fold"].max(initial=0)) + 1
    return tuple(kind(**{name: arrays[f"{i}.{name}"] for name in fields}) for i in range(count))


def fit_by_fold(
    features: Features, fit: np.ndarray, *, folds: int, learn: Callable[[np.ndarray, np.ndarray], M]
) -> dict[str, Any]:
    """What a scorer keeps: `models` (the whole history's first), `history_ids` and `history_fold`.

    Args:
        features: (time, row, col, dim).
        fit: bool (time,): history.
        folds: Groups of its dates left out in turn.
        learn: History (time, cell, dim), 0 where not valid, and bool (time, cell) -> a model.

    Raises:
        DataError: Fewer than three dates of history, or no cell seen on three.
    """
    values, valid = history(features, fit, at_least=3)
    dates = np.flatnonzero(fit)
    fold = date_folds(len(dates), folds)
    return {
        "models": tuple(learn(values[k], valid[k]) for k in kept_dates(fold)),
        "history_ids": tuple(features.times.scene_id[i] for i in dates),
        "history_fold": fold,
    }


def save_folded(
    folder: Path, scorer: Folded[Any], settings: Settings, fields: Sequence[str], *, detector: str
) -> None:
    """Write config.json and model.safetensors of a scorer that is its settings and its models."""
    arrays = {**to_arrays(scorer.models, fields), "history_fold": scorer.history_fold.astype(np.int64)}
    config = {"detector": detector, "settings": as_json(settings), "history_ids": list(scorer.history_ids)}
    save_model(folder, config=config, arrays=arrays)


def load_folded(
    folder: Path, kind: Callable[..., M], fields: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings as plain values, and what `fit_by_fold` gave, from what `save_folded` wrote."""
    config, arrays = load_model(folder)
    return config["settings"], {
        "models": from_arrays(kind, fields, arrays),
        "history_ids": tuple(config["history_ids"]),
        "history_fold": arrays["history_fold"],
    }
