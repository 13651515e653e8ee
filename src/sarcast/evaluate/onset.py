"""The cells on which planted events are judged: at their onset, where they cover a cell.

Protocol, for every judged date and every valid cell:
- positive: an event whose onset is this date covers at least half of the cell;
- negative: no event that has begun by this date, at any time, touches the cell at all;
- left out: everything else: partly covered cells, and cells of events at later dates than their onset, while
  they last and after they end. Whether a change is still seen later is another question than whether its
  onset is found.
A cell stays negative until the first event that touches it begins. An event that covers half of no valid
cell at a judged onset has no positive; `JudgedCells.missed` names it, so that it is not forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sarcast.errors import ShapeError
from sarcast.evaluate.bootstrap import cell_blocks
from sarcast.values import PatchGrid


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedCells:
    """Flat arrays, one entry per judged (time, row, col)."""

    index: np.ndarray
    """int64 (n,): position in the flattened (time, row, col) scores: `scores.values.ravel()[index]`."""
    labels: np.ndarray
    """bool (n,): True at an event's onset."""
    event_ids: np.ndarray
    """int64 (n,): which event (position in the order given); -1 for negatives."""
    block_ids: np.ndarray
    """int64 (n,): which block of cells, through all dates (`cell_blocks`)."""
    missed: tuple[int, ...]
    """Events without a single positive cell: too small for a cell, onset not judged, or not valid then."""

    def __post_init__(self) -> None:
        if len({len(self.index), len(self.labels), len(self.event_ids), len(self.block_ids)}) > 1:
            raise ShapeError("JudgedCells: arrays differ in length")

    def __len__(self) -> int:
        return len(self.index)


def onset_cells(
    cover: np.ndarray,
    onset: np.ndarray,
    *,
    valid: np.ndarray,
    judged: np.ndarray,
    least: float = 0.5,
    block: int = 8,
) -> JudgedCells:
    """Positives and negatives for events at their onset, as the protocol above says.

    Args:
        cover: float (event, row, col): share of each cell an event covers (`cell_cover`).
        onset: int (event,): index of the first date an event is on (`onset_index`); the number of dates or
            more means never.
        valid: bool (time, row, col): where there is a score.
        judged: bool (time,): dates to judge (`Split.judge`, less dates flagged unusable).
        least: Share of a cell an event must cover for a positive, in (0, 1].
        block: Side of a block of cells for resampling negatives.

    Returns:
        `JudgedCells`, ordered by (time, row, col).

    Raises:
        ShapeError: Shapes do not match.
    """
    events, (times, *cells) = len(cover), valid.shape
    if cover.shape != (events, *cells) or onset.shape != (events,) or judged.shape != (times,):
        raise ShapeError(
            f"expected cover (event, {cells[0]}, {cells[1]}), onset (event,) and judged ({times},), "
            f"found {cover.shape}, {onset.shape}, {judged.shape}"
        )
    event = np.full(valid.shape, -1, np.int64)
    begun = np.zeros(valid.shape, bool)
    for t in np.flatnonzero(judged):
        begun[t] = (cover[onset <= t] > 0).any(axis=0)
        now = np.flatnonzero(onset == t)
        if len(now):
            best = cover[now].argmax(axis=0)
            enough = np.take_along_axis(cover[now], best[None], axis=0)[0] >= least
            event[t] = np.where(enough, now[best], -1)
    used = valid & judged[:, None, None] & ((event >= 0) | ~begun)
    index = np.flatnonzero(used)
    chosen = event.ravel()[index]
    return JudgedCells(
        index=index,
        labels=chosen >= 0,
        event_ids=chosen,
        block_ids=cell_blocks(valid.shape, cells=block).ravel()[index],
        missed=tuple(sorted(set(range(events)) - set(chosen.tolist()))),
    )


def cell_cover(mask: np.ndarray, grid: PatchGrid) -> np.ndarray:
    """Share of each cell that a mask covers: bool (..., y, x) -> float64 (..., row, col).

    Raises:
        ShapeError: The mask is not of the grid's image.
    """
    if mask.shape[-2:] != grid.image:
        raise ShapeError(f"expected a mask of {grid.image}, found {mask.shape[-2:]}")
    total = np.zeros((*mask.shape[:-2], grid.image[0] + 1, grid.image[1] + 1), np.int64)
    total[..., 1:, 1:] = mask.astype(np.int64).cumsum(axis=-2).cumsum(axis=-1)
    top, left = grid.tops[:, None], grid.lefts[None, :]
    below, right = top + grid.patch, left + grid.patch
    inside = (
        total[..., below, right] - total[..., top, right] - total[..., below, left] + total[..., top, left]
    )
    return np.asarray(inside / grid.patch**2)


def onset_index(times: np.ndarray, onset: np.datetime64) -> int:
    """Position of the first date at or after `onset`; the number of dates when it is later than all."""
    return int(np.count_nonzero(times < onset))
