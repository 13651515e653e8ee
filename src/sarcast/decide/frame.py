"""What a whole frame did, and what a cell did beside it: a new satellite or rain is not an event.

Each cell's score is standardised by its own history; the median over a date's cells is the frame's score, and
what is left of a cell's score without it, and without what the frame spread more than in history, is local.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sarcast.errors import DataError

_CELLS = 20
"""With fewer cells nothing is said of a frame."""
_DATES = 6
"""With no more frames of history there is no p-value."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """What scores of history's frames were like."""

    total: np.ndarray
    """float64 (row, col): sum of the cell's scores in history."""
    count: np.ndarray
    """int64 (row, col): on how many dates it was seen."""
    usual: float
    """Mean score of all cells of history: a cell's mean counts it as one more date."""
    scale: np.ndarray
    """float32 (row, col): standard deviation of a new date's score, half the cell's own, half all cells'."""
    width: float
    """Usual spread of a frame's standardised scores."""
    history: np.ndarray
    """float64 (frame,): the frame scores of history, each against the other dates."""

    def level(self, values: np.ndarray, valid: np.ndarray, *, held: bool) -> np.ndarray:
        """(row, col) mean of each cell's history, without the date at hand where it is `held` out."""
        total = self.total - np.where(valid, values, 0) if held else self.total
        count = self.count - valid if held else self.count
        found: np.ndarray = (total + self.usual) / (count + 1)
        return found

    def score(self, values: np.ndarray, valid: np.ndarray, *, held: bool) -> float:
        """How far the middle of a frame lies from history, in standard deviations of a cell.

        Args:
            values: (row, col) scores of one date.
            valid: bool (row, col).
            held: The date is one of history's.

        Returns:
            0 where fewer than 20 cells are valid.
        """
        return self._middle(self._standardised(values, valid, held))[0]

    def p_value(self, score: float, *, held: bool) -> float | None:
        """Chance of a frame's score at least as high (Student's t on history's frames); None with few.

        Args:
            score: From `score`.
            held: The date is one of history's, and left out of it.
        """
        from scipy.stats import t

        others = self.history
        if len(others) <= _DATES:
            return None
        if held:
            others = np.delete(others, np.abs(others - score).argmin())
        n = len(others)
        spread = max(float(others.std(ddof=1)), 1e-9) * np.sqrt(1 + 1 / n)
        return float(np.clip(t.sf((score - others.mean()) / spread, n - 1), 1e-30, 1))

    def local(self, values: np.ndarray, valid: np.ndarray, *, held: bool) -> np.ndarray:
        """Scores of one date less what the whole frame did; a quiet frame never makes a cell more anomalous.

        Args:
            values: (row, col).
            valid: bool (row, col).
            held: The date is one of history's.

        Returns:
            float32 (row, col) in the unit of the scores; 0 where not valid.
        """
        standard = self._standardised(values, valid, held)
        middle, width = self._middle(standard)
        level = self.level(values, valid, held=held)
        beside = np.where(valid, (values - level) / self.scale, 0) - max(middle, 0)
        beside = np.where(beside > 0, beside / max(1, width), beside)
        return np.where(valid, level + beside * self.scale, 0).astype(np.float32)

    def _standardised(self, values: np.ndarray, valid: np.ndarray, held: bool) -> np.ndarray:
        """(cell,) of the valid cells."""
        found: np.ndarray = ((values - self.level(values, valid, held=held)) / self.scale)[valid]
        return found

    def _middle(self, standard: np.ndarray) -> tuple[float, float]:
        """Median of a frame, and its spread over the usual one."""
        if len(standard) < _CELLS:
            return 0.0, 1.0
        return float(np.median(standard)), _spread(standard) / self.width


def learn_frame(values: np.ndarray, valid: np.ndarray) -> Frame:
    """What frames of history are like.

    Args:
        values: (time, row, col) scores of history.
        valid: bool (time, row, col).

    Raises:
        DataError: Nothing valid.
    """
    if not valid.any():
        raise DataError("expected scores of history, found none that is valid")
    seen = np.where(valid, values, 0).astype(np.float64)
    count, usual = valid.sum(0), float(seen[valid].mean())
    mean = (seen.sum(0) + usual) / (count + 1)
    square = (np.where(valid, seen - mean, 0) ** 2).sum(0) / np.maximum(count - 1, 1)
    pooled = max(float(square[count > 1].mean()) if (count > 1).any() else 1.0, 1e-12)
    scale = np.sqrt(0.5 * pooled + 0.5 * np.where(count > 1, square, pooled)).astype(np.float32)
    start = Frame(total=seen.sum(0), count=count, usual=usual, scale=scale, width=1.0, history=np.zeros(0))
    frames = [start._standardised(v, ok, True) for v, ok in zip(seen, valid, strict=True)]
    frames = [one for one in frames if len(one) >= _CELLS]
    return Frame(
        total=start.total,
        count=count,
        usual=usual,
        scale=scale,
        width=float(np.median([_spread(one) for one in frames])) if frames else 1.0,
        history=np.array([np.median(one) for one in frames], np.float64),
    )


def _spread(values: np.ndarray) -> float:
    """1.48 times the median absolute deviation."""
    return max(1.4826 * float(np.median(np.abs(values - np.median(values)))), 1e-6)
