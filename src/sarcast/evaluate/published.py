"""The published figures of T-SAR-JEPA (arXiv 2606.05700), recomputed from its released scores.

Formulas are those of the released evaluation, restated: what it calls a statistic is computed here on the
same numbers, so that differences to the published ones are rounding only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sarcast.errors import ShapeError

SWEEP = (70, 75, 80, 85, 90)
"""Percentiles of the published threshold sweep."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReleasedScores:
    """The released scores of one site: every cell has a score on every date."""

    site: str
    values: np.ndarray
    """float64 (time, row, col)."""
    dates: np.ndarray
    """datetime64[D] (time,), increasing."""

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or len(self.values) != len(self.dates):
            raise ShapeError(
                f"ReleasedScores: expected (time, row, col) and a date per time, "
                f"found {self.values.shape} and {len(self.dates)} dates"
            )
        if not np.isfinite(self.values).all() or not (np.diff(self.dates) > np.timedelta64(0, "D")).all():
            raise ShapeError(f"ReleasedScores: expected finite scores on increasing dates, at {self.site}")

    @property
    def by_cell(self) -> np.ndarray:
        """float64 (cell, time), in the order of the released files: column by column, each from row 0."""
        return self.values.transpose(2, 1, 0).reshape(-1, len(self.dates))


@dataclass(frozen=True)
class Row:
    """One published figure beside the recomputed one."""

    item: str
    published: float
    recomputed: float

    @property
    def difference(self) -> float:
        """Absolute."""
        return abs(self.recomputed - self.published)


def cross_site(scores: ReleasedScores) -> dict[str, float]:
    """Mean, standard deviation (ddof 0), extremes, median, 80th and 90th percentile, count of all scores."""
    every = scores.by_cell.ravel()
    return {
        "mean": float(np.mean(every)),
        "std": float(np.std(every)),
        "min": float(np.min(every)),
        "max": float(np.max(every)),
        "median": float(np.median(every)),
        "n": float(len(every)),
        "p80": float(np.percentile(every, 80)),
        "p90": float(np.percentile(every, 90)),
    }


def threshold_sweep(sites: Sequence[ReleasedScores]) -> dict[str, dict[str, float]]:
    """Thresholds at the percentiles of all sites' scores, and how many are at or over each."""
    every = np.concatenate([site.by_cell.ravel() for site in sites])
    found = {}
    for percentile in SWEEP:
        value = np.percentile(every, percentile)
        flagged = int(np.count_nonzero(every >= value))
        share = float(flagged / len(every) * 100)
        found[f"P{percentile}"] = {"value": float(value), "n_flagged": float(flagged), "pct_flagged": share}
    return found


def compare(name: str, published: Mapping[str, float], recomputed: Mapping[str, float]) -> list[Row]:
    """A row for every figure that is in both."""
    return [
        Row(f"{name} {key}", float(published[key]), float(recomputed[key]))
        for key in published
        if key in recomputed
    ]
