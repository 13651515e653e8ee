"""How far a probe's figure may be trusted: groups of test data and draws of labels, resampled together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Measure = Callable[[np.ndarray], dict[str, np.ndarray]]
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """Figures of one way to see chips with one probe and one amount of labels."""

    by_draw: dict[str, np.ndarray]
    """Figure -> its value for each draw of labels."""
    resampled: dict[str, np.ndarray]
    """Figure -> its mean over draws, (resample,); resamples are alike for all rows, so rows can be paired."""


def judged(counts: np.ndarray, measure: Measure, *, resamples: int, seed: int) -> Judged:
    """Figures and their resamples.

    Args:
        counts: (draw, group, count): sums over each group of the test data, for each draw of labels.
        measure: Sums (..., count) -> figures (...).
        resamples: How many.
        seed: Of the resamples; equal seeds (and numbers of draws and groups) give equal resamples.
    """
    rng = np.random.default_rng(seed)
    draws, groups, _ = counts.shape
    weight = rng.multinomial(groups, np.full(groups, 1 / groups), size=resamples).astype(np.float64)
    which = rng.integers(draws, size=(resamples, draws))
    summed = np.stack([weight @ one for one in counts], 1)
    return Judged(
        by_draw=measure(counts.sum(1)),
        resampled={
            name: _mean(np.take_along_axis(values, which, 1)) for name, values in measure(summed).items()
        },
    )


def told(by_draw: np.ndarray, resampled: np.ndarray) -> dict[str, float | None]:
    """Mean over draws, their standard deviation, the 95 % interval: plain values, None where undefined."""
    known = by_draw[np.isfinite(by_draw)]
    again = resampled[np.isfinite(resampled)]
    if not (len(known) and len(again)):
        return {"mean": None, "std": None, "low": None, "high": None}
    low, high = np.quantile(again, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    spread = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    return {"mean": float(known.mean()), "std": spread, "low": float(low), "high": float(high)}


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the last axis, of those that are defined; NaN where none is."""
    count = np.isfinite(values).sum(-1)
    return np.divide(np.nansum(values, -1), count, out=np.full(len(values), np.nan), where=count > 0)
