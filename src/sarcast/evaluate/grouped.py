"""ROC-AUC and average precision under many resamples of groups, exactly and fast, by counting per group.

Where events and blocks are drawn, not cells, a curve needs no weight per cell: at every score of a positive
count the positives of each event and the negatives of each block that reach it; a resample is then a product
of these counts with how often each group was drawn. Equal to `curves` with weights, in a small part of the
time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sarcast.errors import DataError, ShapeError


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupedCurve:
    """Counts of positives and negatives at and above each score that a positive has, per group."""

    hits: np.ndarray
    """float64 (step, event): positives at or above the step's score, highest score first."""
    alarms: np.ndarray
    """float64 (step, block): negatives at or above it."""
    above: np.ndarray
    """float64 (step, block): negatives above it."""
    negatives: np.ndarray
    """float64 (block,)."""

    @classmethod
    def of(
        cls,
        scores: np.ndarray,
        labels: np.ndarray,
        events: np.ndarray,
        blocks: np.ndarray,
        *,
        groups: tuple[int, int],
        most: int | None = None,
    ) -> GroupedCurve:
        """Count.

        Args:
            scores: (n,), finite; higher is more anomalous.
            labels: bool (n,).
            events: int (n,): event of each positive, 0 up; not read elsewhere.
            blocks: int (n,): block of each negative, 0 up; not read elsewhere.
            groups: How many events and blocks there are.
            most: At most so many steps, evenly spread over those that positives have; None means all. With
                fewer than all, figures are approximate.

        Raises:
            DataError: No positive, no negative, or a score that is not finite.
            ShapeError: Lengths differ.
        """
        if not scores.shape == labels.shape == events.shape == blocks.shape or scores.ndim != 1:
            raise ShapeError(f"expected four arrays of one length, found {scores.shape}, {labels.shape}")
        if not labels.any() or labels.all() or not np.isfinite(scores).all():
            raise DataError(
                f"expected finite scores of positives and negatives, found {int(labels.sum())} positive of "
                f"{len(labels)}, {int((~np.isfinite(scores)).sum())} not finite"
            )
        steps = np.unique(scores[labels])
        if most is not None and len(steps) > most:
            steps = steps[np.linspace(0, len(steps) - 1, most).round().astype(int)]
        negative = scores[~labels]
        count = (len(steps), groups[0]), (len(steps), groups[1])
        return cls(
            hits=_reached(np.searchsorted(steps, scores[labels], "right"), events[labels], count[0]),
            alarms=_reached(np.searchsorted(steps, negative, "right"), blocks[~labels], count[1]),
            above=_reached(np.searchsorted(steps, negative, "left"), blocks[~labels], count[1]),
            negatives=np.bincount(blocks[~labels], minlength=groups[1]).astype(np.float64),
        )

    def figures(self, events: np.ndarray, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ROC-AUC and average precision of each resample.

        Args:
            events: (draw, event): how often each event was drawn.
            blocks: (draw, block): how often each block.

        Returns:
            Two float64 (draw,); NaN where a draw has no positives or no negatives.
        """
        hits, alarms, above = self.hits @ events.T, self.alarms @ blocks.T, self.above @ blocks.T
        gained = np.diff(hits, axis=0, prepend=0)
        positives, negatives = hits[-1], blocks @ self.negatives
        flagged = hits + alarms
        precision = np.divide(hits, flagged, out=np.zeros_like(hits), where=flagged > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            auc = 1 - (gained * (alarms + above)).sum(0) / (2 * positives * negatives)
            return auc, (gained * precision).sum(0) / positives


def _reached(steps_reached: np.ndarray, group: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(step, group), highest step first: how many cells of a group reach each step.

    `steps_reached` (n,) says how many of the steps, counted from the lowest, a cell reaches.
    """
    steps, groups = shape
    count = np.bincount(steps_reached * groups + group, minlength=(steps + 1) * groups)
    from_top = count.reshape(steps + 1, groups)[:0:-1]
    return np.cumsum(from_top, axis=0, dtype=np.float64)
