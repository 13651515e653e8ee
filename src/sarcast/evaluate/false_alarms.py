"""False alarms: how often p-values fall below a level where nothing happened, with a block interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sarcast.errors import DataError, ShapeError
from sarcast.evaluate.bootstrap import block_bootstrap, cell_blocks
from sarcast.values import Estimate


def share_below(
    p_values: Sequence[np.ndarray],
    valid: Sequence[np.ndarray],
    *,
    below: float = 1e-3,
    cells: int | None = 8,
    dates: int | None = None,
    draws: int = 500,
    level: float = 0.95,
    seed: int,
) -> Estimate:
    """Share of valid p-values under `below`, pooled over stacks; `below` itself is what it should be.

    Blocks of cells and dates are resampled, never across stacks. The default, 8 x 8 cells through all dates,
    keeps together what one place's history does to all its judged dates; where whole frames err together
    (rain, a gain step) use cells=None, dates=1.

    Args:
        p_values: One array (time, row, col) per stack, judged dates only.
        valid: bool, the same shapes.
        below: Level counted, strictly below.
        cells: Side of a block in cells; None means the whole frame.
        dates: Dates in a block; None means all.
        draws: Resamples.
        level: Of the interval, in (0, 1).
        seed: Of the draws.

    Returns:
        `Estimate`, `n` the number of blocks. When none is below, `high` is the exact binomial bound for
        independent cells, 1 - ((1 - level) / 2)^(1 / cells), since resampling zeros would give 0.

    Raises:
        DataError: Nothing valid.
        ShapeError: Shapes differ.
    """
    under, blocks, first = [], [], 0
    for p, seen in zip(p_values, valid, strict=True):
        if p.shape != seen.shape or p.ndim != 3:
            raise ShapeError(
                f"expected p-values and valid of one shape (time, row, col), found {p.shape}, {seen.shape}"
            )
        ids = cell_blocks(p.shape, cells=cells, dates=dates) + first
        first = int(ids.max(initial=first)) + 1
        under.append(p[seen] < below)
        blocks.append(ids[seen])
    if not sum(len(part) for part in under):
        raise DataError("expected valid p-values to count, found none")
    flags = np.concatenate(under)
    estimate = block_bootstrap(
        flags,
        np.concatenate(blocks),
        name=f"share of p < {below:g}",
        resampled=_words(cells, dates),
        draws=draws,
        level=level,
        seed=seed,
    )
    if not flags.any():
        return replace(estimate, low=0.0, high=float(1 - ((1 - level) / 2) ** (1 / len(flags))))
    return estimate


def _words(cells: int | None, dates: int | None) -> str:
    area = "frame" if cells is None else "cell block"
    return area if dates is None else f"{area} x {dates} date{'s' if dates > 1 else ''}"
