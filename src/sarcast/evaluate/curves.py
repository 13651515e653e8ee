"""ROC-AUC, average precision and recall at a false-alarm rate, weighted and many weightings at once.

Every figure takes `weights` (n,) or (draws, n): one sort of the scores serves all draws of a bootstrap. Cells
with one score are one step of the curve: they are over a threshold together or not at all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sarcast.errors import DataError, SettingsError, ShapeError


def roc_auc(scores: np.ndarray, labels: np.ndarray, *, weights: np.ndarray | None = None) -> np.ndarray:
    """Chance that a positive scores higher than a negative, ties counted half (Hanley and McNeil, 1982).

    Args:
        scores: (n,), finite; higher is more anomalous.
        labels: bool (n,).
        weights: (n,) or (draws, n), not negative; None means 1 each.

    Returns:
        float64 in [0, 1]: a scalar, or (draws,).

    Raises:
        DataError: No positive, no negative, or a score that is not finite.
        ShapeError: Lengths differ.
    """
    found = steps(scores, labels, weights)
    hits, alarms = found.hits, found.alarms
    risen = np.diff(alarms, axis=-1, prepend=0)
    before = np.concatenate([np.zeros_like(hits[..., :1]), hits[..., :-1]], axis=-1)
    area = ((hits + before) * risen).sum(axis=-1) / 2
    return np.asarray(area / (hits[..., -1] * alarms[..., -1]))


def average_precision(
    scores: np.ndarray, labels: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """Mean precision over the steps of recall: sum (R_k - R_(k-1)) P_k, no interpolation.

    Arguments, result and errors as in `roc_auc`.
    """
    found = steps(scores, labels, weights)
    hits, flagged = found.hits, found.hits + found.alarms
    precision = np.divide(hits, flagged, out=np.zeros_like(hits), where=flagged > 0)
    gained = np.diff(hits, axis=-1, prepend=0)
    return np.asarray((gained * precision).sum(axis=-1) / hits[..., -1])


def recall_at_false_alarms(
    scores: np.ndarray, labels: np.ndarray, *, rate: float = 1e-3, weights: np.ndarray | None = None
) -> np.ndarray:
    """Share of positives over the lowest threshold that at most `rate` of the negatives reach.

    Conservative: cells with equal scores go together, so the rate held is at most `rate`; with fewer than
    1 / rate negatives no negative may be over the threshold.

    Args:
        scores: (n,), finite; higher is more anomalous.
        labels: bool (n,).
        rate: Share of negatives that may be flagged, in [0, 1).
        weights: (n,) or (draws, n), not negative; None means 1 each.

    Returns:
        float64 in [0, 1]: a scalar, or (draws,).

    Raises:
        DataError: No positive, no negative, or a score that is not finite.
        SettingsError: `rate` is out of range.
        ShapeError: Lengths differ.
    """
    if not 0 <= rate < 1:
        raise SettingsError(f"expected a false-alarm rate in [0, 1), found {rate}")
    found = steps(scores, labels, weights)
    allowed = found.alarms <= rate * found.alarms[..., -1:] * (1 + 1e-12)
    return np.asarray(np.where(allowed, found.hits, 0).max(axis=-1) / found.hits[..., -1])


class Steps(NamedTuple):
    """Weight of positives and of negatives at or above each step's score, highest first: (..., step)."""

    hits: np.ndarray
    alarms: np.ndarray


def steps(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> Steps:
    """The corners of the ROC curve: only negatives pass between them. Arguments, errors as in `roc_auc`."""
    scores, labels = np.asarray(scores), np.asarray(labels).astype(bool)
    weights = np.ones(scores.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    if scores.ndim != 1 or labels.shape != scores.shape or weights.shape[-1:] != scores.shape:
        found = (scores.shape, labels.shape, weights.shape)
        raise ShapeError(f"expected scores, labels and weights of one length, found {found}")
    if not np.isfinite(scores).all():
        raise DataError(
            f"expected finite scores, found {np.count_nonzero(~np.isfinite(scores))} that are not"
        )
    order = np.argsort(-scores, kind="stable")
    positive = labels[order]
    ends = _corners(scores[order], positive)
    hits = _risen(weights, order[positive], np.cumsum(positive)[ends])
    alarms = _risen(weights, order[~positive], np.cumsum(~positive)[ends])
    for name, total in (("positives", hits), ("negatives", alarms)):
        if not total.shape[-1] or not (total[..., -1] > 0).all():
            raise DataError(f"expected positives and negatives to judge, found no {name}")
    return Steps(hits, alarms)


def _corners(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Last cell of each step where the curve can turn: every score a positive has, the one before, the last.

    Between them only negatives pass and the curve runs level, so nothing is lost.
    """
    if not len(scores):
        return np.zeros(0, np.int64)
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    rises = np.diff(np.cumsum(positive)[ends], prepend=0) > 0
    return np.asarray(ends[rises | np.append(rises[1:], True)])


def _risen(weights: np.ndarray, chosen: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Total weight of the first `counts` of the `chosen` cells, from sums of the parts between."""
    parts, at = np.unique(counts[counts > 0], return_inverse=True)
    total = np.zeros((*weights.shape[:-1], len(counts)))
    if len(parts):
        starts = np.concatenate([[0], parts[:-1]])
        sums = np.add.reduceat(weights[..., chosen[: parts[-1]]], starts, axis=-1)
        total[..., len(counts) - len(at) :] = np.cumsum(sums, axis=-1)[..., at]
    return total
