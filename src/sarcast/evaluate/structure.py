"""Where and when the scores of one site are high: variance shares, Moran's I, and every permutation test.

All in plain values, as they go into estimates.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from sarcast.evaluate.permutation import (
    expected_in_time,
    expected_recurrence,
    expected_within_dates,
    moran,
    neighbour_share,
    permutation_test,
    recurrence,
    rotated_in_time,
    toroidal,
    within_dates,
)
from sarcast.evaluate.two_way import share_intervals, spread, table

PERCENTILES = (75, 80, 85)
"""Of all scores of the site: thresholds of the published test."""


def structure(
    values: np.ndarray,
    cells: np.ndarray | None = None,
    *,
    percentiles: Sequence[float] = PERCENTILES,
    draws: int = 999,
    seed: int,
) -> dict[str, Any]:
    """Everything this module knows of one site's scores.

    Args:
        values: (time, row, col).
        cells: bool (row, col): which to use, valid on every date (`always_valid`); None means all.
        percentiles: Of the chosen scores: a cell at or over one is flagged.
        draws: Of each permutation test; half as many resamples for intervals.
        seed: Of all draws.

    Returns:
        `dates`, `cells`, `shares` (name -> estimate), `spread`, `moran`, and `flags`: P75 -> `flag_tests`.

    Raises:
        DataError: All scores are equal, or no two cells are neighbours.
    """
    rng = np.random.default_rng(seed)
    chosen = table(values, cells)
    shuffle = partial(within_dates, cells=cells)
    alike = permutation_test(
        values, statistic=partial(moran, cells=cells), shuffle=shuffle, draws=draws, rng=rng,
        expected=-1 / (chosen.shape[1] - 1),
    )  # fmt: skip
    shares = share_intervals(values, cells, draws=max(draws // 2, 1), seed=seed)
    spreads = spread(values, cells)
    limits = {f"P{percentile:g}": np.percentile(chosen, percentile) for percentile in percentiles}
    flags = {name: (values >= limit) & (cells is None or cells) for name, limit in limits.items()}
    return {
        "dates": len(chosen),
        "cells": chosen.shape[1],
        "shares": {name: asdict(one) for name, one in shares.items()},
        "spread": {**asdict(spreads), "ratio": spreads.ratio},
        "moran": alike.summary(),
        "flags": {name: flag_tests(one, cells, draws=draws, rng=rng) for name, one in flags.items()},
    }


def flag_tests(
    flags: np.ndarray, cells: np.ndarray | None = None, *, draws: int = 999, rng: np.random.Generator
) -> dict[str, Any]:
    """The permutation tests of one set of flags.

    Args:
        flags: bool (time, row, col), False outside `cells`.
        cells: bool (row, col): which take part; None means all.
        draws: Of each test.
        rng: Of the draws.

    Returns:
        `all_flagged`, `none_flagged`, `mixed`: numbers of dates. `observed` (`neighbour_share`) and its mean
        `expected_in_time` with places shuffled in time. Tests `within_dates` and `rotated_in_time` of it,
        `toroidal` of `recurrence` (None where some cells take no part: a map with holes cannot be wrapped).
        `kept`: (observed - mean within dates) / (observed - mean in time), the part of the excess that is
        about places; None without excess. Means are exact.
    """
    count = flags.sum(axis=(1, 2))
    n = flags[0].size if cells is None else int(cells.sum())
    test = partial(permutation_test, flags, draws=draws, rng=rng)
    in_dates, in_time = expected_within_dates(flags, cells), expected_in_time(flags)
    shuffle = partial(within_dates, cells=cells)
    within = test(statistic=neighbour_share, shuffle=shuffle, expected=in_dates)
    rotated = test(statistic=neighbour_share, shuffle=rotated_in_time, expected=in_time)
    moved = None
    if cells is None or cells.all():
        moved = test(statistic=recurrence, shuffle=toroidal, expected=expected_recurrence(flags)).summary()
    excess = within.observed - in_time
    return {
        "all_flagged": int((count == n).sum()),
        "none_flagged": int((count == 0).sum()),
        "mixed": int(((count > 0) & (count < n)).sum()),
        "observed": within.observed,
        "expected_in_time": in_time,
        "within_dates": within.summary(),
        "rotated_in_time": rotated.summary(),
        "toroidal": moved,
        "kept": (within.observed - in_dates) / excess if excess > 0 else None,
    }
