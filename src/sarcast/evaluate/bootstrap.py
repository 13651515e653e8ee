"""Figures with intervals by resampling what is independent: events, and blocks of cells, never single cells.

Cells of one event rise and fall together, and so do neighbours: resampling cells gives intervals many times
too narrow. Here an event drawn twice counts all its cells twice (Efron's percentile bootstrap on clusters).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Protocol

import numpy as np

from sarcast.errors import DataError, SettingsError, ShapeError
from sarcast.values import Estimate

_CHUNK = 2_000_000


class Statistic(Protocol):
    """A figure of scores against labels, for one weighting (n,) or many (draws, n)."""

    def __call__(
        self, scores: np.ndarray, labels: np.ndarray, *, weights: np.ndarray | None = None
    ) -> np.ndarray:
        """The figure: a scalar, or (draws,)."""


def event_bootstrap(
    scores: np.ndarray,
    labels: np.ndarray,
    event_ids: np.ndarray,
    *,
    statistics: Mapping[str, Statistic],
    block_ids: np.ndarray | None = None,
    draws: int = 500,
    level: float = 0.95,
    seed: int,
) -> dict[str, Estimate]:
    """Figures with intervals over events.

    Args:
        scores: (n,), higher is more anomalous.
        labels: bool (n,).
        event_ids: (n,): which event a positive cell belongs to; not read where `labels` is False.
        statistics: Name -> figure (`curves.roc_auc`, `functools.partial(recall_at_false_alarms, rate=...)`).
        block_ids: (n,): which block a negative cell belongs to; blocks are drawn too. None keeps all
            negatives as they are. Not read where `labels` is True.
        draws: Resamples.
        level: Of the interval, in (0, 1).
        seed: Of the draws.

    Returns:
        Name -> `Estimate`; `n` is the number of events. With one event only, the interval is NaN.

    Raises:
        DataError: No positive or no negative.
        ShapeError: Lengths differ.
    """
    figures = {name: partial(statistic, scores, labels) for name, statistic in statistics.items()}
    return _resample(figures, _Weights.of(labels, event_ids, block_ids), draws, level, seed)


def paired_difference(
    first: np.ndarray,
    second: np.ndarray,
    labels: np.ndarray,
    event_ids: np.ndarray,
    *,
    statistics: Mapping[str, Statistic],
    block_ids: np.ndarray | None = None,
    draws: int = 500,
    level: float = 0.95,
    seed: int,
) -> dict[str, Estimate]:
    """How much better `first` is than `second` on the same cells: differences on the same resamples.

    Arguments, result and errors as in `event_bootstrap`; a positive difference means `first` is higher.
    """
    figures = {
        name: partial(_difference, statistic, first, second, labels) for name, statistic in statistics.items()
    }
    return _resample(figures, _Weights.of(labels, event_ids, block_ids), draws, level, seed)


def block_bootstrap(
    values: np.ndarray,
    block_ids: np.ndarray,
    *,
    name: str = "mean",
    statistic: Callable[[np.ndarray], float] | None = None,
    resampled: str = "cell block",
    draws: int = 500,
    level: float = 0.95,
    seed: int,
) -> Estimate:
    """A figure of values with an interval over blocks.

    Args:
        values: (n,): numbers, or booleans for a share.
        block_ids: (n,): which block each belongs to (`cell_blocks`, a frame, a place).
        name: Of the estimate.
        statistic: Figure of one set of values; None means their mean, which is much faster.
        resampled: What a block is, in words.
        draws: Resamples of whole blocks.
        level: Of the interval, in (0, 1).
        seed: Of the draws.

    Returns:
        `Estimate` with `n` the number of blocks; with one block only, the interval is NaN.

    Raises:
        DataError: No values.
        ShapeError: Lengths differ.
    """
    _check(draws, level)
    values, block_ids = np.asarray(values), np.asarray(block_ids)
    if values.shape != block_ids.shape or values.ndim != 1:
        raise ShapeError(f"expected values and block_ids (n,), found {values.shape}, {block_ids.shape}")
    if not len(values):
        raise DataError("expected values to average, found none")
    _, index = np.unique(block_ids, return_inverse=True)
    blocks = int(index.max()) + 1
    counts = _counts(blocks, draws, np.random.default_rng(seed))
    if statistic is None:
        value = float(values.mean(dtype=np.float64))
        totals, sizes = np.bincount(index, values), np.bincount(index)
        drawn = (counts @ totals) / (counts @ sizes)
    else:
        value = float(statistic(values))
        drawn = np.array([statistic(np.repeat(values, row[index])) for row in counts])
    low, high = _interval(drawn, level, blocks)
    return Estimate(
        name=name, value=value, low=low, high=high, level=level, n=blocks, resampled=resampled, seed=seed
    )


def cell_blocks(
    shape: tuple[int, int, int], *, cells: int | None = 8, dates: int | None = None
) -> np.ndarray:
    """Which block each (time, row, col) is in: int64 of that shape.

    Args:
        shape: (time, row, col).
        cells: Side of a block in cells; None means the whole frame.
        dates: Dates in a block; None means all of them, so that what a place's history did to all its
            judged dates stays together.
    """
    if (cells is not None and cells < 1) or (dates is not None and dates < 1):
        raise SettingsError(f"expected blocks of at least 1 cell and 1 date, found {cells}, {dates}")
    parts = [
        np.arange(side) // (step or max(side, 1))
        for side, step in zip(shape, (dates, cells, cells), strict=True)
    ]
    sizes = [int(part[-1]) + 1 if len(part) else 1 for part in parts]
    time, row, col = parts
    return (time[:, None, None] * sizes[1] + row[None, :, None]) * sizes[2] + col[None, None, :]


def moving_blocks(
    dates: int, *, block: int | None = None, draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Dates of each resample of blocks of consecutive dates (Kuensch, 1989): int64 (draws, dates).

    Args:
        dates: How many there are, at least 1.
        block: Dates in a block; None means the square root of their number, rounded.
        draws: Resamples.
        rng: Of the draws.
    """
    block = round(dates**0.5) if block is None else block
    if not 1 <= block <= dates:
        raise SettingsError(f"expected a block of 1 to {dates} dates, found {block}")
    starts = rng.integers(dates - block + 1, size=(draws, -(-dates // block)))
    return (starts[..., None] + np.arange(block)).reshape(draws, -1)[:, :dates]


class _Weights:
    """How often each cell counts in each resample of the events (and of the blocks of negatives)."""

    def __init__(self, groups: list[tuple[np.ndarray, np.ndarray, int]], size: int, resampled: str) -> None:
        self.groups = groups
        self.size = size
        self.resampled = resampled
        self.events = groups[0][2]

    @classmethod
    def of(cls, labels: np.ndarray, event_ids: np.ndarray, block_ids: np.ndarray | None) -> _Weights:
        """Groups of cells that are drawn together: events of positives, blocks of negatives."""
        labels = np.asarray(labels).astype(bool)
        for name, ids in (("event_ids", event_ids), ("block_ids", block_ids)):
            if ids is not None and np.shape(ids) != labels.shape:
                raise ShapeError(f"expected {name} of shape {labels.shape}, found {np.shape(ids)}")
        if not labels.any() or labels.all():
            raise DataError(
                f"expected positives and negatives to judge, found {labels.sum()} of {len(labels)} positive"
            )
        groups = [_group(np.flatnonzero(labels), np.asarray(event_ids))]
        if block_ids is not None:
            groups.append(_group(np.flatnonzero(~labels), np.asarray(block_ids)))
        return cls(groups, len(labels), "event" if block_ids is None else "event and cell block")

    def chunks(self, draws: int, seed: int) -> Iterator[np.ndarray]:
        """Weights (some draws, n), all draws in all."""
        generators = [np.random.default_rng((seed, i)) for i in range(len(self.groups))]
        step = max(1, min(draws, _CHUNK // self.size))
        for start in range(0, draws, step):
            weights = np.ones((min(step, draws - start), self.size))
            for (cells, index, count), rng in zip(self.groups, generators, strict=True):
                weights[:, cells] = _counts(count, len(weights), rng)[:, index]
            yield weights


def _resample(
    figures: Mapping[str, Callable[..., np.ndarray]], weights: _Weights, draws: int, level: float, seed: int
) -> dict[str, Estimate]:
    """Every figure as it is, with the interval of its values over the resamples, the same for all."""
    _check(draws, level)
    plain = {name: float(figure()) for name, figure in figures.items()}
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in figures}
    for chunk in weights.chunks(draws, seed):
        for name, figure in figures.items():
            drawn[name].append(figure(weights=chunk))
    estimates = {}
    for name, value in plain.items():
        low, high = _interval(np.concatenate(drawn[name]), level, weights.events)
        estimates[name] = Estimate(
            name=name,
            value=value,
            low=low,
            high=high,
            level=level,
            n=weights.events,
            resampled=weights.resampled,
            seed=seed,
        )
    return estimates


def _difference(
    statistic: Statistic,
    first: np.ndarray,
    second: np.ndarray,
    labels: np.ndarray,
    *,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    return np.subtract(statistic(first, labels, weights=weights), statistic(second, labels, weights=weights))


def _group(cells: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Cells, the group each is in (0, 1, ...), and how many groups there are."""
    _, index = np.unique(ids[cells], return_inverse=True)
    return cells, index, int(index.max()) + 1


def _counts(groups: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """(draws, groups): how often each group is drawn, as many draws as groups, with replacement."""
    return rng.multinomial(groups, np.full(groups, 1 / groups), size=draws)


def _interval(drawn: np.ndarray, level: float, groups: int) -> tuple[float, float]:
    if groups < 2:
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _check(draws: int, level: float) -> None:
    if draws < 1 or not 0 < level < 1:
        raise SettingsError(f"need draws >= 1 and 0 < level < 1, got {draws}, {level}")
