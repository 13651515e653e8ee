"""Where coherence fell: change as a judge knows it, from each place's own history, never an input to a model.

A cell changed where the coherence of a pair that ends on the date lies further under the cell's median over
history's pairs of like duration, in units of its own spread (MAD), than left-out pairs of history do. What
all coherent cells keep together that date (weather, orbits apart) is a factor that is taken out. A cell whose
total loss could not be told from its own scatter has no information: it is neither changed nor unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sarcast.errors import DataError, SettingsError, ShapeError
from sarcast.sar.coherence_statistics import (
    coherence_spread,
    expected_coherence,
    looks_of_floor,
    unbiased_coherence,
)
from sarcast.values import PatchGrid

FEWEST_PAIRS = 4
"""Of history, of like duration, for a median and a spread."""
FEWEST_LOOKS = 4.0
"""An estimate of coherence from fewer is no use to anyone: the noise floor is taken no higher."""
_ALIKE = 0.25
"""Share by which durations may differ."""
_LEAST_KEPT = 0.1
"""Of their coherence, by all cells of a map together: less cannot be made good."""
_LOWEST = 1.0
"""Percentile of cells whose mean coherence is taken for the noise floor."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CoherenceSeries:
    """Coherence of pairs of dates on the cells of the scores."""

    values: np.ndarray
    """float32 (pair, row, col) in [0, 1]; 0 where not valid."""
    valid: np.ndarray
    """bool (pair, row, col)."""
    first: np.ndarray
    """datetime64[D] (pair,)."""
    second: np.ndarray
    """datetime64[D] (pair,), later than `first`."""

    def __post_init__(self) -> None:
        pairs = len(self.values)
        if self.valid.shape != self.values.shape or not len(self.first) == len(self.second) == pairs:
            raise ShapeError(
                f"expected masks and dates of {pairs} maps, found {self.valid.shape} and {len(self.first)}"
            )
        if not (self.first < self.second).all():
            raise ShapeError("expected pairs whose first date is the earlier")

    @property
    def days(self) -> np.ndarray:
        """float64 (pair,): duration."""
        return np.asarray((self.second - self.first) / np.timedelta64(1, "D"), np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class CoherenceLabels:
    """What coherence says of the cells of some dates."""

    dates: np.ndarray
    """Indices of the judged times that a pair ends on."""
    pairs: np.ndarray
    """Index of the pair that judged each."""
    changed: np.ndarray
    """bool (date, row, col)."""
    unchanged: np.ndarray
    """bool (date, row, col); what is neither has no information, or is in between."""
    informative: np.ndarray
    """bool (date, row, col): a total loss would have been seen."""
    drop: np.ndarray
    """float32 (date, row, col): unbiased coherence that was expected, from history and from what all cells
    kept that date, less what was found; 0 where there is no estimate."""
    floor: float
    """Coherence that nothing is estimated as."""
    looks: float


def cell_means(values: np.ndarray, valid: np.ndarray, grid: PatchGrid) -> tuple[np.ndarray, np.ndarray]:
    """Mean of a map over each cell.

    Args:
        values: (y, x), on the grid's image.
        valid: bool (y, x).
        grid: The cells.

    Returns:
        (mean, valid): float32 and bool (row, col); valid where at least half of a cell is.
    """
    if values.shape != grid.image or valid.shape != grid.image:
        raise ShapeError(f"expected a map {grid.image}, found {values.shape} and {valid.shape}")
    total, count = (_cell_sums(part, grid) for part in (np.where(valid, values, 0), valid))
    enough = count >= 0.5 * grid.patch**2
    mean = np.divide(total, count, out=np.zeros_like(total), where=enough)
    return mean.astype(np.float32), enough


def label_changes(
    series: CoherenceSeries,
    *,
    dates: np.ndarray,
    history: np.ndarray,
    judged: np.ndarray,
    looks: float | None = None,
    changed_p: float = 1e-3,
    unchanged_p: float = 0.2,
) -> CoherenceLabels:
    """Changed and unchanged cells of the judged dates that a pair ends on.

    Of several pairs that end on a date the shortest one is taken that has pairs of like duration in history.

    Args:
        series: Coherence on the cells.
        dates: datetime64 (time,) of the scores.
        history: bool (time,): a pair belongs to history when it ends by the last of these.
        judged: bool (time,).
        looks: Independent looks of a cell's coherence; None takes them from the maps: the floor is the mean
            coherence of the least coherent 1 % of cells, too high where none is free of coherence.
        changed_p: A drop is a change where at most this share of history's left-out drops is as large.
        unchanged_p: And none where at least this share is.

    Returns:
        The labels.

    Raises:
        DataError: No judged date has a pair with enough of history's to compare it with.
        SettingsError: The shares are not 0 < changed_p < unchanged_p < 1.
    """
    if not 0 < changed_p < unchanged_p < 1:
        raise SettingsError(f"need 0 < changed_p < unchanged_p < 1, got {changed_p} and {unchanged_p}")
    days = dates.astype("datetime64[D]")
    past = series.second <= days[history].max()
    chosen = _pairs_to_judge(series, days, judged, past)
    if not chosen:
        raise DataError(
            f"expected a pair of maps that ends on a judged date and {FEWEST_PAIRS} of history that last as "
            f"long, found none among {len(series.first)} maps, {int(past.sum())} of them in history"
        )
    looks = _looks(series) if looks is None else looks
    found = [_judge(series, pair, _alike(series, pair, past), looks) for pair in chosen.values()]
    changed, unchanged, informative, drop = (
        np.stack(part) for part in zip(*(_decide(*one, changed_p, unchanged_p) for one in found), strict=True)
    )
    return CoherenceLabels(
        dates=np.array(list(chosen)),
        pairs=np.array(list(chosen.values())),
        changed=changed,
        unchanged=unchanged,
        informative=informative,
        drop=drop,
        floor=float(expected_coherence(0, looks)),
        looks=looks,
    )


def _cell_sums(values: np.ndarray, grid: PatchGrid) -> np.ndarray:
    """Sum over each cell: float64 (row, col)."""
    total = np.zeros((grid.image[0] + 1, grid.image[1] + 1))
    total[1:, 1:] = values.astype(np.float64).cumsum(axis=0).cumsum(axis=1)
    top, left = grid.tops[:, None], grid.lefts[None, :]
    low, right = top + grid.patch, left + grid.patch
    sums: np.ndarray = total[low, right] - total[top, right] - total[low, left] + total[top, left]
    return sums


def _looks(series: CoherenceSeries) -> float:
    """From the noise floor: the least coherent cells of every other map, as the maps between show them."""
    floors = []
    for start in (0, 1):
        chosen, other = (_means(series, slice(at, None, 2)) for at in (start, 1 - start))
        known = np.isfinite(chosen) & np.isfinite(other)
        if known.any():
            lowest = chosen[known] <= np.percentile(chosen[known], _LOWEST)
            floors.append(float(other[known][lowest].mean()))
    if not floors:
        raise DataError("expected two maps with coherence on the cells of the scores, found fewer")
    return max(FEWEST_LOOKS, looks_of_floor(float(np.mean(floors))))


def _means(series: CoherenceSeries, maps: slice) -> np.ndarray:
    """Mean of each cell over some maps (row, col); NaN where none measured it."""
    count = series.valid[maps].sum(axis=0)
    total = (series.values[maps] * series.valid[maps]).sum(axis=0, dtype=np.float64)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _pairs_to_judge(
    series: CoherenceSeries, days: np.ndarray, judged: np.ndarray, past: np.ndarray
) -> dict[int, int]:
    """Judged time -> the shortest pair that ends on it and has pairs of like duration in history."""
    chosen = {}
    for time in np.flatnonzero(judged):
        ends = np.flatnonzero((series.second == days[time]) & ~past)
        for pair in ends[np.argsort(series.days[ends], kind="stable")]:
            if len(_alike(series, int(pair), past)) >= FEWEST_PAIRS:
                chosen[int(time)] = int(pair)
                break
    return chosen


def _alike(series: CoherenceSeries, pair: int, past: np.ndarray) -> np.ndarray:
    days = series.days
    return np.flatnonzero(past & (np.abs(days - days[pair]) <= max(1.0, _ALIKE * days[pair])))


def _judge(
    series: CoherenceSeries, pair: int, alike: np.ndarray, looks: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(deviation, that of a total loss, drop, valid: (row, col); deviations of history left out: (n,))."""
    past = np.where(series.valid[alike], unbiased_coherence(series.values[alike], looks), np.nan)
    now = unbiased_coherence(series.values[pair], looks)
    valid = series.valid[pair] & (series.valid[alike].sum(axis=0) >= FEWEST_PAIRS)
    past[:, ~valid] = 0
    level = np.nanmedian(past, axis=0)
    coherent = valid & (level > 2 * coherence_spread(0.0, looks))
    past /= _common(past, level, coherent)[:, None, None]
    level, scale = _level_and_scale(past, looks)
    expected = level * _common(now[None], level, coherent)[0]
    drop = np.where(valid, expected - now, 0)
    whole = np.where(valid, expected / scale, -np.inf)
    left_out = [_left_out(past, k, coherent, looks) for k in range(len(past))]
    return drop / scale, whole, drop, valid, np.concatenate(left_out)


def _common(maps: np.ndarray, level: np.ndarray, coherent: np.ndarray) -> np.ndarray:
    """Share of their level that the coherent cells keep together on each map: float64 (map,)."""
    kept = np.ones(len(maps))
    for i, one in enumerate(maps):
        shares = one[coherent] / level[coherent]
        if np.isfinite(shares).any():
            kept[i] = max(_LEAST_KEPT, float(np.nanmedian(shares)))
    return kept


def _level_and_scale(past: np.ndarray, looks: float) -> tuple[np.ndarray, np.ndarray]:
    """Median over pairs, and its MAD as a standard deviation: at least what speckle alone gives."""
    level = np.nanmedian(past, axis=0)
    spread = 1.4826 * np.nanmedian(np.abs(past - level), axis=0)
    return level, np.maximum(spread, np.maximum(coherence_spread(np.clip(level, 0, 1), looks), 1e-3))


def _left_out(past: np.ndarray, at: int, coherent: np.ndarray, looks: float) -> np.ndarray:
    """Deviations of one pair of history from the others', where it was measured."""
    level, scale = _level_and_scale(np.delete(past, at, axis=0)[:, coherent], looks)
    found = (level - past[at][coherent]) / scale
    kept: np.ndarray = found[np.isfinite(found)]
    return kept


def _decide(
    deviation: np.ndarray,
    whole: np.ndarray,
    drop: np.ndarray,
    valid: np.ndarray,
    left_out: np.ndarray,
    changed_p: float,
    unchanged_p: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(changed, unchanged, informative, drop) of one date."""
    null = np.sort(left_out)
    p, p_whole = (
        (1 + len(null) - np.searchsorted(null, values)) / (1 + len(null)) for values in (deviation, whole)
    )
    informative = valid & (p_whole <= changed_p)
    changed, unchanged = informative & (p <= changed_p), informative & (p >= unchanged_p)
    return changed, unchanged, informative, drop.astype(np.float32)
