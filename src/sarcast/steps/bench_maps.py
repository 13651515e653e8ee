"""What a bench asks of a row, and scores as maps at the stack's resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from sarcast.values import PatchGrid, Split, Stack


@dataclass(frozen=True, kw_only=True, eq=False)
class Maps:
    """Scores at the stack's resolution."""

    values: np.ndarray
    """float32 (time, y, x); 0 where not valid."""
    valid: np.ndarray
    """bool (time, y, x)."""


class Learned(Protocol):
    """What a row learned from history; history is encoded once."""

    def history(self) -> Maps:
        """Scores of history's dates, each by what left it out."""
        ...

    def judge(self, stack: Stack) -> Maps:
        """Scores of the last date of a stack whose other dates are those learned from: one map."""
        ...


class Row(Protocol):
    """A way to score a stack."""

    def learn(self, stack: Stack, split: Split, *, seed: int) -> Learned:
        """Learn from `split.fit`; the last date is judged."""
        ...


def spread(values: np.ndarray, valid: np.ndarray, grid: PatchGrid) -> Maps:
    """Cells to pixels: each pixel is the mean of the valid cells that cover it.

    Args:
        values: (time, row, col).
        valid: bool, same shape.
        grid: The cells.
    """
    if grid.patch == grid.stride == 1:
        return Maps(values=values, valid=valid)
    total = np.zeros((len(values), *grid.image))
    count = np.zeros(total.shape, np.int32)
    for row, top in enumerate(grid.tops):
        for col, left in enumerate(grid.lefts):
            under = np.s_[:, top : top + grid.patch, left : left + grid.patch]
            total[under] += np.where(valid[:, row, col], values[:, row, col], 0)[:, None, None]
            count[under] += valid[:, row, col][:, None, None]
    mean = total / np.maximum(count, 1)
    return Maps(values=mean.astype(np.float32), valid=count > 0)


def stacked(maps: Sequence[tuple[np.ndarray, np.ndarray]]) -> Maps:
    """Maps of (y, x) scores and validity, one date after the other."""
    values, valid = zip(*maps, strict=True)
    return Maps(values=np.stack(values).astype(np.float32), valid=np.stack(valid))
