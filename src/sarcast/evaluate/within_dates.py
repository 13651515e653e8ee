"""Do scores find what changed among the cells of one date? Frame-wide ups and downs cannot help there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sarcast.errors import ShapeError
from sarcast.evaluate.bootstrap import block_bootstrap
from sarcast.evaluate.curves import roc_auc
from sarcast.values import Estimate


def auc_within_dates(
    scores: np.ndarray,
    valid: np.ndarray,
    changed: np.ndarray,
    unchanged: np.ndarray,
    *,
    seed: int,
    draws: int = 500,
) -> dict[str, Estimate | None]:
    """ROC-AUC of scores against labels of some cells, with intervals over whole dates.

    Args:
        scores: float (date, row, col), higher is more anomalous.
        valid: bool (date, row, col).
        changed: bool (date, row, col): positives.
        unchanged: bool (date, row, col): negatives; what is neither is not judged.
        seed: Of the draws.
        draws: Resamples of dates.

    Returns:
        `within`: cells compared with cells of their own date only, dates weighted by their pairs of cells;
        `centred`: all cells together, less their date's median; `pooled`: all cells as they are, which a
        score that only tells dates apart can win. None where no cell is changed, or none unchanged.

    Raises:
        ShapeError: Shapes differ.
    """
    if not scores.shape == valid.shape == changed.shape == unchanged.shape:
        raise ShapeError(
            f"expected one shape (date, row, col), found {scores.shape}, {changed.shape}, {unchanged.shape}"
        )
    frames = [_frame(*one) for one in zip(scores, valid, changed, unchanged, strict=True)]
    frames = [(values, changed, middle) for values, changed, middle in frames if len(values)]
    figures = {
        "within": _within,
        "centred": lambda chosen: _pooled([(values - middle, y, middle) for values, y, middle in chosen]),
        "pooled": _pooled,
    }
    return {
        name: _over_dates(name, figure, frames, seed=seed, draws=draws) for name, figure in figures.items()
    }


Frame = tuple[np.ndarray, np.ndarray, float]
"""Scores of the labelled cells of a date, which of them changed, and the median of all its cells."""


def _frame(scores: np.ndarray, valid: np.ndarray, changed: np.ndarray, unchanged: np.ndarray) -> Frame:
    known = valid & (changed | unchanged)
    middle = float(np.median(scores[valid])) if valid.any() else 0.0
    return scores[known].astype(np.float64), changed[known], middle


def _over_dates(
    name: str, figure: Callable[[list[Frame]], float], frames: list[Frame], *, seed: int, draws: int
) -> Estimate | None:
    if not np.isfinite(figure(frames)):
        return None
    numbers = np.arange(len(frames))
    found = block_bootstrap(
        numbers,
        numbers,
        name=name,
        statistic=lambda drawn: figure([frames[int(i)] for i in drawn]),
        resampled="date",
        draws=draws,
        seed=seed,
    )
    return found


def _within(frames: list[Frame]) -> float:
    """NaN where no date has both kinds of cells."""
    both = [(values, y) for values, y, _ in frames if y.any() and not y.all()]
    weights = np.array([float(y.sum()) * float((~y).sum()) for _, y in both])
    areas = np.array([float(roc_auc(values, y)) for values, y in both])
    return float(weights @ areas / weights.sum()) if len(both) else float("nan")


def _pooled(frames: list[Frame]) -> float:
    """NaN where not both kinds of cells are there."""
    values, changed = (
        np.concatenate([frame[i] for frame in frames]) if frames else np.empty(0) for i in (0, 1)
    )
    if not len(changed) or not changed.any() or changed.all():
        return float("nan")
    return float(roc_auc(values, changed.astype(bool)))
