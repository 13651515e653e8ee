"""The published figures of T-SAR-JEPA (arXiv 2606.05700), recomputed from its released scores.

Formulas are those of the released evaluation, restated: what it calls a statistic is computed here on the
same numbers, so that differences to the published ones are rounding only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sarcast.errors import ArtefactError, ShapeError
from sarcast.evaluate.permutation import published_test
from sarcast.evaluate.places import summary
from sarcast.evaluate.satellites import Recovery, recover_satellites, transition_flags

SWEEP = (70, 75, 80, 85, 90)
"""Percentiles of the published threshold sweep."""
TESTED = (75, 80, 85)
"""Percentiles of the published permutation tests."""

Results = Mapping[str, Any]
"""The published figures, as released."""


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
    def order(self) -> np.ndarray:
        """Flat (row, col) index of every cell in the order of the released names, COLUMN_ROW as text."""
        rows, cols = self.values.shape[1:]
        names = {f"{col}_{row}": row * cols + col for row in range(rows) for col in range(cols)}
        return np.array([names[name] for name in sorted(names)])

    @property
    def by_cell(self) -> np.ndarray:
        """float64 (cell, time), in `order`."""
        return self.values.reshape(len(self.dates), -1).T[self.order]


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
    return summary(scores.by_cell.ravel())


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


def permutation_tests(scores: ReleasedScores) -> dict[str, dict[str, float]]:
    """The published tests of one site: P75 -> observed, null_mean, null_std, p_value, ratio."""
    flags = np.stack([scores.values >= np.percentile(scores.by_cell, p) for p in TESTED])
    return {
        f"P{percentile}": {
            "observed": test.observed,
            "null_mean": test.null_mean,
            "null_std": test.null_std,
            "p_value": test.share_at_least,
            "ratio": test.ratio,
        }
        for percentile, test in zip(TESTED, published_test(flags, order=scores.order), strict=True)
    }


def satellites(scores: ReleasedScores, results: Results) -> Recovery:
    """Which satellite took each frame, as the published correlations tell."""
    given = figures(results, "geometry", scores.site)
    return recover_satellites(
        scores.by_cell,
        list(given["unique_satellites"]),
        spearman=given["satellite_spearman_r"],
        pearson_r=given["transition_pearson_r"],
        transitions=given["n_transitions"] // scores.by_cell.shape[0],
    )


def geometry(scores: ReleasedScores, labels: Sequence[str] | None) -> dict[str, float]:
    """Correlations of all scores with the satellite, as released: a frame counts once for each of its cells.

    Args:
        scores: Of one site.
        labels: Satellite of each frame; None, where they are not known, leaves the number of scores alone.
    """
    from scipy.stats import pearsonr, spearmanr

    cells = len(scores.by_cell)
    found = {"n_matched": float(scores.values.size)}
    if labels is None:
        return found
    index = np.searchsorted(np.unique(labels), labels)
    changed = transition_flags(labels)
    rank = spearmanr(scores.by_cell.ravel(), np.tile(index, cells))
    linear = pearsonr(scores.by_cell.ravel(), np.tile(changed, cells))
    return found | {
        "satellite_spearman_r": float(rank.statistic),
        "satellite_p_value": float(rank.pvalue),
        "transition_pearson_r": float(linear.statistic),
        "transition_p_value": float(linear.pvalue),
        "n_transitions": float(changed.sum() * cells),
    }


def recomputed(
    sites: Mapping[str, ReleasedScores], results: Results, found: Mapping[str, Recovery]
) -> list[Row]:
    """Every published figure that the scores alone give, beside its value.

    Args:
        sites: Released scores by site.
        results: Published figures.
        found: Satellites by site (`satellites`).

    Raises:
        ArtefactError: A figure that should be there is not.
    """
    rows = []
    for site, scores in sites.items():
        rows += _rows(f"{site}", figures(results, "cross_aoi", site), cross_site(scores))
    for name, swept in threshold_sweep(list(sites.values())).items():
        rows += _rows(f"threshold {name}", figures(results, "threshold_sweep", name), swept)
    for site, scores in sites.items():
        for name, test in permutation_tests(scores).items():
            rows += _rows(f"{site} {name}", figures(results, "permutation_test", f"{site}_{name}"), test)
    for site, scores in sites.items():
        labels = found[site].solutions[0] if found[site].unique else None
        rows += _rows(f"{site}", figures(results, "geometry", site), geometry(scores, labels))
    every = {"n": float(sum(scores.values.size for scores in sites.values()))}
    for method, stored in results.get("baseline_stats", {}).items():
        rows += _rows(f"baseline {method}", stored, every)
    return rows


def figures(results: Results, section: str, name: str) -> dict[str, Any]:
    """Published figures of one section and name.

    Raises:
        ArtefactError: There are none.
    """
    found = results.get(section, {}).get(name)
    if not isinstance(found, dict):
        raise ArtefactError(f"expected published figures {section}/{name}, found none in the results")
    return found


def _rows(name: str, published: Mapping[str, Any], again: Mapping[str, float]) -> list[Row]:
    """A row for every figure that is in both."""
    return [
        Row(f"{name} {key}", float(published[key]), float(again[key])) for key in published if key in again
    ]
