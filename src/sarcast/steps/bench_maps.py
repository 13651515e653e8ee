"""What a bench asks of a row, and scores of cells as maps at the stack's resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from sarcast.values import PatchGrid, Scores, Split, Stack


@dataclass(frozen=True, kw_only=True, eq=False)
class Maps:
    """Scores at the stack's resolution."""

    values: np.ndarray
    """float32 (time, y, x); 0 where not valid."""
    surprise: np.ndarray
    """float32 (time, y, x): -log10 p; 0 where not valid."""
    valid: np.ndarray
    """bool (time, y, x)."""


class Learned(Protocol):
    """What a row learned from history; history is encoded once."""

    @property
    def local(self) -> bool:
        """What the whole frame did is to be taken off the scores, as the main job would."""
        ...

    def history(self) -> Scores:
        """Scores of history's dates, each by what left it out."""
        ...

    def judge(self, stack: Stack) -> Scores:
        """Scores of the last date of a stack whose other dates are those learned from."""
        ...


class Row(Protocol):
    """A way to score a stack."""

    def learn(self, stack: Stack, split: Split, *, seed: int) -> Learned:
        """Learn from `split.fit`; the last date is judged."""
        ...


def spread(scores: Scores) -> Maps:
    """Calibrated scores of cells as maps: each pixel is the mean of the valid cells that cover it."""
    assert scores.p_value is not None
    surprise = np.where(scores.valid, -np.log10(np.maximum(scores.p_value, 1e-30)), 0)
    values, valid = to_pixels(scores.values, scores.valid, scores.grid)
    return Maps(values=values, surprise=to_pixels(surprise, scores.valid, scores.grid)[0], valid=valid)


def to_pixels(values: np.ndarray, valid: np.ndarray, grid: PatchGrid) -> tuple[np.ndarray, np.ndarray]:
    """Means over the valid cells that cover each pixel, float32 (time, y, x), and where there is one.

    Args:
        values: (time, row, col).
        valid: bool, same shape.
        grid: The cells.
    """
    if grid.patch == grid.stride == 1:
        return values.astype(np.float32), valid
    total = np.zeros((len(values), *grid.image))
    count = np.zeros(total.shape, np.int32)
    for row, top in enumerate(grid.tops):
        for col, left in enumerate(grid.lefts):
            under = np.s_[:, top : top + grid.patch, left : left + grid.patch]
            total[under] += np.where(valid[:, row, col], values[:, row, col], 0)[:, None, None]
            count[under] += valid[:, row, col][:, None, None]
    return (total / np.maximum(count, 1)).astype(np.float32), count > 0


def pixel_scores(stack: Stack, times: np.ndarray, values: np.ndarray, valid: np.ndarray) -> Scores:
    """Scores of pixels as cells.

    Args:
        stack: Where they lie.
        times: int: which of its dates.
        values: (time, y, x).
        valid: bool, same shape.
    """
    from sarcast.values import PatchGrid, Scores

    return Scores(
        values=np.where(valid, values, 0).astype(np.float32),
        valid=valid,
        times=stack.times.take(times),
        grid=PatchGrid(image=values.shape[1:], patch=1, stride=1),
        geobox=stack.geobox,
        detector="plain",
        stack=stack.name,
    )
