"""What is counted of guesses, and figures from the counts.

Counts of parts of the test data add up: a confusion matrix over all pixels of all chips, sums of squares over
all tiles. Figures are made from sums, never averaged over batches or chips. Arrays may have leading axes.
"""

from __future__ import annotations

import numpy as np


def confusion(
    truth: np.ndarray, guess: np.ndarray, part: np.ndarray, *, classes: int, parts: int
) -> np.ndarray:
    """Confusion matrices, float64 (part, true class x guessed class); truth under 0 is no label, left out.

    Args:
        truth: int, classes from 0 on, any shape.
        guess: int, the same.
        part: int of that shape, which part of the data each is in.
        classes: How many there are.
        parts: How many there are.
    """
    kept = truth >= 0
    cell = (part[kept] * classes + truth[kept]) * classes + guess[kept]
    return np.bincount(cell, minlength=parts * classes**2).reshape(parts, -1).astype(np.float64)


def class_figures(counts: np.ndarray, class_names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Figures accuracy, macro_f1, miou and the iou of each class, NaN for one that does not occur.

    Means are over classes that occur, in truth or guess.

    Args:
        counts: (..., true class x guessed class), sums of `confusion`.
        class_names: Of the classes.
    """
    matrix = counts.reshape(*counts.shape[:-1], len(class_names), len(class_names))
    hit = np.diagonal(matrix, axis1=-2, axis2=-1)
    true, said = matrix.sum(-1), matrix.sum(-2)
    overlap, f1 = _ratio(hit, true + said - hit), _ratio(2 * hit, true + said)
    return {
        "accuracy": _ratio(hit.sum(-1), matrix.sum((-2, -1))),
        "macro_f1": _mean(f1),
        "miou": _mean(overlap),
        **{f"iou_{name}": overlap[..., i] for i, name in enumerate(class_names)},
    }


def overlaps(counts: np.ndarray, part: np.ndarray, *, classes: int, parts: int) -> np.ndarray:
    """Sum of chips' own mIoU, and the number of chips that have one: float64 (part, 2).

    Args:
        counts: (chip, true class x guessed class), of `confusion` with a part for each chip.
        part: int (chip,), which part of the data each chip is in.
        classes: How many there are.
        parts: How many there are.
    """
    own = class_figures(counts, tuple(map(str, range(classes))))["miou"]
    terms = (np.nan_to_num(own), np.isfinite(own))
    return np.stack([np.bincount(part, one, minlength=parts) for one in terms], 1).astype(np.float64)


def pixel_figures(counts: np.ndarray, class_names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Figures of `class_figures`, and miou_mean_of_chips, as in published means over batches.

    Each chip's mIoU is over the classes in it alone, so a rare class counts where it is, and what all chips
    say of it is never added up: for comparison with figures made so, and with none of ours.

    Args:
        counts: (..., true class x guessed class and 2): sums of `confusion` and, after them, of `overlaps`.
        class_names: Of the classes.
    """
    chips = {"miou_mean_of_chips": _ratio(counts[..., -2], counts[..., -1])}
    return {**class_figures(counts[..., :-2], class_names), **chips}


def squares(truth: np.ndarray, guess: np.ndarray, part: np.ndarray, *, parts: int) -> np.ndarray:
    """Number, squared errors, truth and squared truth (less its mean), summed: float64 (part, 4)."""
    truth = truth.astype(np.float64)
    centred = truth - truth.mean()
    terms = (np.ones(len(truth)), (guess - truth) ** 2, centred, centred**2)
    return np.stack([np.bincount(part, one, minlength=parts) for one in terms], 1).astype(np.float64)


def number_figures(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Figures rmse, in the labels' unit, and r2: 1 - squared error over that of the mean of the truth."""
    count, error, level, square = np.moveaxis(sums, -1, 0)
    return {"rmse": np.sqrt(error / count), "r2": 1 - _ratio(error, square - level**2 / count)}


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """NaN where there is nothing to divide by."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=np.asarray(below) > 0)


def _mean(values: np.ndarray) -> np.ndarray:
    return _ratio(np.nansum(values, -1), np.isfinite(values).sum(-1))
