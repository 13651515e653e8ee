"""Does a map that nobody drew outline a class? Thresholded, and judged by the overlap (Jaccard) with labels.

A map becomes a mask by Otsu's threshold, of each chip or of all together, without labels; which map,
threshold and side stand for a class is chosen on some chips and judged on others. Clusters become a mask by
choosing those that hold the class. All counts are pooled over chips before they are divided, so that a chip
without the class counts by what is found on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

SIDES = ("high", "low")
LEVEL = 0.95
_EACH = 8
"""Halvings behind each resample."""
_TRIES = 20
"""Halvings drawn for one that has the class on both sides."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """How the labels of a chip lie under the cells of a map."""

    hits: np.ndarray
    """int (cell, class): labelled pixels of each class."""
    counts: np.ndarray
    """int (cell,): labelled pixels."""
    totals: np.ndarray
    """int (class,): of the whole chip."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Masks:
    """Some ways to find a class, of which one is chosen."""

    name: str
    ways: tuple[str, ...]
    overlap: np.ndarray
    """int (chip, way): pixels of the class that were found."""
    union: np.ndarray
    """int (chip, way): pixels of the class or found."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """Clusters, of which some together stand for a class."""

    name: str
    hits: np.ndarray
    """int (chip, cluster): pixels of the class."""
    counts: np.ndarray
    """int (chip, cluster): labelled pixels."""
    totals: np.ndarray
    """int (chip,): pixels of the class."""


Way = Masks | Parts


def otsu(values: np.ndarray) -> float:
    """The threshold with the largest variance between what is over it and what is not (Otsu, 1979).

    Exact, without a histogram: halfway between two neighbouring values; the value where all are one.
    """
    ordered = np.sort(np.asarray(values, np.float64).ravel())
    n = len(ordered)
    below = np.cumsum(ordered)[:-1]
    count = np.arange(1, n)
    between = (ordered.sum() * count / n - below) ** 2 / (count * (n - count) / n)
    between[ordered[1:] == ordered[:-1]] = -1
    if n < 2 or between.max() < 0:
        return float(ordered[0])
    at = int(between.argmax())
    return float((ordered[at] + ordered[at + 1]) / 2)


def overlaps(found: np.ndarray, cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    """(overlap, union) of a mask, bool (cell,), with every class, int (class,)."""
    hit = cells.hits[found].sum(0)
    return hit, cells.counts[found].sum() + cells.totals - hit


def sides(
    values: np.ndarray, known: np.ndarray, cells: Cells, *, limit: float
) -> tuple[np.ndarray, np.ndarray]:
    """(overlap, union), int (side, class), of what lies over and under a threshold.

    Args:
        values: (cell,).
        known: bool (cell,): where there is a value; other cells are never found.
        cells: The labels.
        limit: The threshold; what is equal lies under it.
    """
    found = [overlaps(some & known, cells) for some in (values > limit, values <= limit)]
    return np.stack([one for one, _ in found]), np.stack([one for _, one in found])


def best_cut(values: np.ndarray, known: np.ndarray, cells: Cells, *, high: bool) -> np.ndarray:
    """(overlap, union), int (2, class), at the threshold best for each class: chosen on the labels judged by.

    Nothing over the threshold is among the choices; all that is over it counts as found, or all under it.
    """
    order = np.argsort(-values[known] if high else values[known], kind="stable")
    hits = np.cumsum(cells.hits[known][order], 0)
    union = np.cumsum(cells.counts[known][order])[:, None] + cells.totals - hits
    ordered = values[known][order]
    ends = np.append(ordered[1:] != ordered[:-1], True) if len(ordered) else np.zeros(0, bool)
    hits = np.concatenate([np.zeros((1, len(cells.totals)), int), hits[ends]])
    union = np.concatenate([cells.totals[None], union[ends]])
    at = jaccard(hits, union).argmax(0)[None]
    return np.concatenate([np.take_along_axis(x, at, 0) for x in (hits, union)])


def jaccard(overlap: np.ndarray, union: np.ndarray) -> np.ndarray:
    """Overlap over union; 0 where there is neither."""
    return np.asarray(overlap / np.maximum(union, 1))


def on_others(way: Way, learn: np.ndarray, judge: np.ndarray) -> float:
    """Jaccard on the chips that `judge` weighs, of what is best on those that `learn` weighs."""
    if isinstance(way, Masks):
        at = int(jaccard(learn @ way.overlap, learn @ way.union).argmax())
        return float(jaccard(judge @ way.overlap[:, at], judge @ way.union[:, at]))
    kept = _holding(way, learn)
    hit = judge @ way.hits[:, kept].sum(1)
    return float(jaccard(hit, judge @ (way.counts[:, kept].sum(1) + way.totals) - hit))


def optimistic(way: Way) -> tuple[str, float]:
    """(which, Jaccard) of the best on all chips: chosen on what it is judged by."""
    every = np.ones(len(way.union if isinstance(way, Masks) else way.totals))
    if isinstance(way, Masks):
        which = way.ways[int(jaccard(every @ way.overlap, every @ way.union).argmax())]
    else:
        which = "clusters " + " ".join(str(int(one)) for one in np.sort(_holding(way, every)))
    return which, on_others(way, every, every)


def in_halves(
    ways: Sequence[Way], present: np.ndarray, *, splits: int, resamples: int, seed: int
) -> list[dict[str, float]] | None:
    """For every way: chosen on one half of the chips, judged on the other; mean over halvings.

    Intervals resample chips with replacement; copies of a chip stay in one half. Halvings and resamples are
    alike for all ways, and the first way is compared with each other one on them.

    Args:
        ways: Ways to find one class.
        present: bool (chip,): the class is there; a halving needs it on both sides.
        splits: Halvings behind the figure.
        resamples: Of the chips, behind the interval.
        seed: Of both.

    Returns:
        value, low, high, and ahead, ahead_low, ahead_high (the first way less this one); None where fewer
        than two chips have the class.
    """
    if present.sum() < 2:
        return None
    rng = np.random.default_rng(seed)
    ones = np.ones(len(present))
    point = _mean(ways, present, ones, rng, count=splits)
    weights = rng.multinomial(len(present), ones / len(present), size=resamples).astype(float)
    tried = [_mean(ways, present, weight, rng, count=_EACH) for weight in weights]
    again = [one for one in tried if one is not None]
    if point is None or not again:
        return None
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    own = np.array([point, *np.quantile(again, ends, axis=0)])
    ahead = np.array([point[0] - point, *np.quantile([x[0] - x for x in again], ends, axis=0)])
    names = ("value", "low", "high", "ahead", "ahead_low", "ahead_high")
    return [dict(zip(names, map(float, one), strict=True)) for one in np.concatenate([own, ahead]).T]


def _mean(
    ways: Sequence[Way], present: np.ndarray, weight: np.ndarray, rng: Generator, *, count: int
) -> np.ndarray | None:
    """Figures (way,), mean over halvings; None where none has the class on both sides."""
    tried = [_halved(ways, present, weight, rng) for _ in range(count)]
    known = [one for one in tried if one is not None]
    return np.mean(known, 0) if known else None


def _halved(
    ways: Sequence[Way], present: np.ndarray, weight: np.ndarray, rng: Generator
) -> np.ndarray | None:
    """Figures (way,) of one halving with the class on both sides; None where none was drawn."""
    drawn = np.flatnonzero(weight)
    if (present[drawn]).sum() < 2:
        return None
    for _ in range(_TRIES):
        some = rng.permutation(drawn)
        learn, judge = np.zeros_like(weight), np.zeros_like(weight)
        learn[some[: len(some) // 2]] = weight[some[: len(some) // 2]]
        judge[some[len(some) // 2 :]] = weight[some[len(some) // 2 :]]
        if (learn * present).any() and (judge * present).any():
            return np.array([on_others(way, learn, judge) for way in ways])
    return None


def _holding(way: Parts, weight: np.ndarray) -> np.ndarray:
    """The clusters that together have the largest Jaccard: the purest first, as long as it rises."""
    hits, counts = weight @ way.hits, weight @ way.counts
    order = np.argsort(-jaccard(hits, counts), kind="stable")
    hit = np.cumsum(hits[order])
    score = jaccard(hit, np.cumsum(counts[order]) + weight @ way.totals - hit)
    return order[: int(score.argmax()) + 1]
