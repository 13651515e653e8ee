"""What can be said of scores without truth: how many alarms, what they follow, whether places differ.

None of it says that an alarm is right. A share of p-values far over its level, scores that follow the
satellite, or flags that a shuffle within dates cannot tell from chance say that alarms are wrong.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from sarcast.errors import DataError, ShapeError
from sarcast.evaluate.confounding import acquisition_covariates, associations, frame_scores
from sarcast.evaluate.false_alarms import share_below
from sarcast.evaluate.structure import structure
from sarcast.evaluate.two_way import always_valid
from sarcast.values import Scores

LEVEL = 1e-3
"""The p-value whose share is counted, and at which flags are tested."""
WINDOW = 128
"""Permutation tests look at no more rows and columns than these, in the middle of the frame."""


def unlabelled(
    scores: Scores, *, judged: np.ndarray, usable: np.ndarray, draws: int = 199, seed: int
) -> dict[str, Any]:
    """Figures of one stack's scores, in plain values.

    Args:
        scores: All dates.
        judged: bool (time,): `Split.judge`.
        usable: bool (time,): dates the quality checks let pass; others are left out everywhere.
        draws: Of each permutation test.
        seed: Of all draws.

    Returns:
        `dates` (judged and usable). `share_below`: share of valid p-values under 1e-3 on them, with intervals
        over `cells` (8 x 8 blocks through all dates) and `frames` (whole frames by date); None where scores
        are not calibrated. `structure`: variance shares, Moran's I and permutation tests of
        `evaluate.structure`, or None and `structure_why` in words. `acquisition`: what the mean score of the
        frame goes with, over all usable dates; empty with fewer than three.
    """
    if not judged.shape == usable.shape == scores.times.time.shape:
        raise ShapeError(f"expected judged and usable of {len(scores.times)} dates, found {judged.shape}")
    dates = np.flatnonzero(judged & usable)
    told: dict[str, Any] = {"dates": len(dates), "share_below": None}
    valid = scores.valid[dates]
    if scores.p_value is not None and valid.any():
        p, blocks = scores.p_value[dates], {"cells": (8, None), "frames": (None, 1)}
        told["share_below"] = {
            name: asdict(share_below([p], [valid], below=LEVEL, cells=cells, dates=every, seed=seed))
            for name, (cells, every) in blocks.items()
        }
    told |= _structure(scores.values[dates], valid, draws, seed)
    told["acquisition"] = _acquisition(scores, usable, seed)
    return told


def _structure(values: np.ndarray, valid: np.ndarray, draws: int, seed: int) -> dict[str, Any]:
    rows, cols = (slice((n - min(n, WINDOW)) // 2, (n + min(n, WINDOW)) // 2) for n in values.shape[1:])
    values, valid = values[:, rows, cols], valid[:, rows, cols]
    try:
        found = structure(values, always_valid(valid), draws=draws, seed=seed)
    except DataError as error:
        return {"structure": None, "structure_why": str(error)}
    return {"structure": found, "structure_why": None}


def _acquisition(scores: Scores, usable: np.ndarray, seed: int) -> list[dict[str, Any]]:
    dates = np.flatnonzero(usable)
    series = frame_scores(scores.values[dates], scores.valid[dates])
    if np.isfinite(series).sum() < 3:
        return []
    covariates = acquisition_covariates(scores.times.take(dates))
    return [asdict(one) for one in associations(series, covariates, seed=seed)]
