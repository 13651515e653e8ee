"""Which satellite took each frame, found from two published correlations and the number of transitions.

The released evaluation correlates scores with the satellite's place in the sorted list of names (Spearman)
and with whether a frame's satellite differs from the frame's before (Pearson). With few transitions, r as
printed (16 digits) tells the sum of the scores at transitions, and only one set of frames has that sum; rho
then tells which satellite took which stretch. With many transitions, too many sets have the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise, product
from math import comb, log10

import numpy as np

from sarcast.errors import DataError
from sarcast.evaluate.correlation import pearson, ranks

_RELATIVE = 1e-13
"""Of a correlation: what rounding in the last digits may have done to it."""
_SAME_RHO = 1e-12
_CHANCE = 1e-2
"""Sets of frames that fit by chance: with more expected, a set that fits says nothing."""


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """Every assignment of satellites to frames that gives the published figures."""

    solutions: tuple[tuple[str, ...], ...]
    """Name of each frame's satellite; empty when there are too many sets to tell."""
    sets_log10: float
    """How many sets of frames could be the transitions: decimal logarithm."""
    chance: float
    """Sets expected to fit the published r by chance."""

    @property
    def unique(self) -> bool:
        """Exactly one assignment fits."""
        return len(self.solutions) == 1


def recover_satellites(
    by_cell: np.ndarray, names: list[str], *, spearman: float, pearson_r: float, transitions: int
) -> Recovery:
    """Search all sets of transitions and all orders of satellites.

    Args:
        by_cell: float64 (cell, time): scores, every cell on every date.
        names: Satellites that were used, all of them.
        spearman: Published rho of scores with the index of the satellite in the sorted names.
        pearson_r: Published r of scores with "the satellite differs from the frame's before".
        transitions: Frames that differ from the one before.

    Raises:
        DataError: Nothing fits: the figures are not of these scores.
    """
    times = by_cell.shape[1]
    target, tolerance = _target(by_cell, pearson_r, transitions)
    sums = by_cell.sum(axis=0)[1:]
    sets = comb(times - 1, transitions)
    spread = np.sort(sums)[-transitions:].sum() - np.sort(sums)[:transitions].sum()
    chance = float(sets * 2 * tolerance / spread)
    if chance > _CHANCE:
        return Recovery(solutions=(), sets_log10=log10(sets), chance=chance)
    score_ranks = ranks(by_cell.T.ravel()).reshape(times, -1)
    found = {
        labels
        for frames in _sets_with_sum(sums, transitions, target, tolerance)
        for labels in _orders(frames, score_ranks, sorted(names), spearman)
    }
    if not found:
        raise DataError("expected an assignment of satellites with the published correlations, found none")
    return Recovery(solutions=tuple(sorted(found)), sets_log10=log10(sets), chance=chance)


def transition_flags(labels: Sequence[str]) -> np.ndarray:
    """float64 (time,): 1 where the satellite is not that of the frame before; the first frame 0."""
    names = np.array(labels)
    return np.append(0.0, (names[1:] != names[:-1]).astype(float))


def _target(by_cell: np.ndarray, r: float, transitions: int) -> tuple[float, float]:
    """Sum of all scores at transitions that gives r, and how far rounding may have moved it."""
    share = transitions / by_cell.shape[1]
    scale = by_cell.size * by_cell.std() * np.sqrt(share * (1 - share))
    return float(r * scale + by_cell.size * by_cell.mean() * share), float(scale * _RELATIVE)


def _sets_with_sum(sums: np.ndarray, size: int, target: float, tolerance: float) -> set[tuple[int, ...]]:
    """Sets of `size` positions whose values add up to the target: two halves that meet in the middle."""
    first, second = (_subsets(len(sums), part) for part in (size // 2, size - size // 2))
    left, right = (sums[part].sum(axis=1) for part in (first, second))
    order = np.argsort(right)
    low = np.searchsorted(right[order], target - left - tolerance)
    high = np.searchsorted(right[order], target - left + tolerance, side="right")
    found = set()
    for i in np.flatnonzero(high > low):
        for j in order[low[i] : high[i]]:
            chosen = {*first[i].tolist(), *second[j].tolist()}
            if len(chosen) == size:
                found.add(tuple(sorted(chosen)))
    return found


def _subsets(n: int, size: int) -> np.ndarray:
    return np.array(list(combinations(range(n), size)), np.int64).reshape(comb(n, size), size)


def _orders(
    frames: tuple[int, ...], score_ranks: np.ndarray, names: list[str], rho: float
) -> list[tuple[str, ...]]:
    """Assignments with these transitions (position 0 is the second frame) that give rho."""
    times, cells = score_ranks.shape
    stretch = np.searchsorted(np.array(frames) + 1, np.arange(times), side="right")
    found = []
    for order in product(range(len(names)), repeat=len(frames) + 1):
        if len(set(order)) < len(names) or any(a == b for a, b in pairwise(order)):
            continue
        index = np.array(order)[stretch]
        if abs(pearson(score_ranks.ravel(), np.repeat(ranks(index), cells)) - rho) <= _SAME_RHO:
            found.append(tuple(names[i] for i in index))
    return found
