"""How high ROC-AUC gets by chance when all positive cells lie in a few frames.

Where scores are one number a frame, AUC ranks frames, not cells: 99 positive cells in one frame are one
draw, not 99. Labels here know nothing; the spread of their AUC is what a published AUC has to exceed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sarcast.errors import DataError
from sarcast.evaluate.correlation import ranks


@dataclass(frozen=True, kw_only=True)
class Concentration:
    """AUC of labels without information, positives in `frames` frames."""

    frames: int
    mean: float
    std: float
    at_least: float
    """Chance of the observed AUC or more: (1 + #) / (1 + draws)."""


def auc_by_concentration(
    by_date: np.ndarray,
    *,
    observed: float,
    positives: int,
    judged: int,
    frames: Sequence[int],
    draws: int = 2000,
    rng: np.random.Generator,
) -> list[Concentration]:
    """Chance of an AUC when positives are spread at random over the cells of so many frames.

    Args:
        by_date: (time, cell): scores of the frames that may have been judged.
        observed: The AUC to be exceeded.
        positives: Positive cells.
        judged: Frames judged, drawn at random from all.
        frames: Numbers of frames the positives lie in; those that cannot hold them are left out.
        draws: Of frames and labels.
        rng: Of the draws.

    Raises:
        DataError: Fewer frames than judged, or no negative is left.
    """
    dates, cells = by_date.shape
    if dates < judged or not 0 < positives < judged * cells:
        raise DataError(
            f"expected {judged} frames with positive and negative cells, found {dates} frames of {cells} "
            f"cells, {positives} positive"
        )
    counts = [k for k in frames if k <= judged and positives <= k * cells]
    found = np.empty((draws, len(counts)))
    for draw in range(draws):
        chosen = by_date[rng.permutation(dates)[:judged]]
        place = ranks(chosen.ravel())
        for i, k in enumerate(counts):
            total = place[rng.permutation(k * cells)[:positives]].sum()
            below = total - positives * (positives + 1) / 2
            found[draw, i] = below / (positives * (len(place) - positives))
    return [
        Concentration(
            frames=k,
            mean=float(one.mean()),
            std=float(one.std()),
            at_least=float((1 + np.count_nonzero(one >= observed)) / (1 + draws)),
        )
        for k, one in zip(counts, found.T, strict=True)
    ]
