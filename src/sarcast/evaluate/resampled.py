"""Judged cells under resamples of events and blocks, by counting per group: fast for millions of cells.

The draws are those of `event_bootstrap` with the same seed, and so are the figures; but a cell is counted
once, not once a draw. Where positives have too many different scores for memory, the curve is thinned for the
interval alone, which is then moved to the exact figure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sarcast.errors import DataError
from sarcast.evaluate.curves import average_precision, recall_at_false_alarms, roc_auc
from sarcast.evaluate.grouped import GroupedCurve
from sarcast.evaluate.onset import JudgedCells
from sarcast.values import Estimate

_COUNTS = 20_000_000
"""Numbers kept for the counts of one curve, at most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Positives and negatives at and over each step of a score, under every draw; draw 0 has all once."""

    hits: np.ndarray
    """float64 (step, draw), highest score first."""
    alarms: np.ndarray
    """float64 (step, draw)."""
    roc_auc: np.ndarray
    """float64 (draw,)."""
    average_precision: np.ndarray
    """float64 (draw,)."""
    negatives: np.ndarray
    """float64 (draw,)."""

    def recall_at(self, rates: np.ndarray) -> np.ndarray:
        """Recall at each false-alarm rate, conservative as in `recall_at_false_alarms`: (rate, draw)."""
        rows = [np.where(self.alarms <= r * self.negatives * (1 + 1e-12), self.hits, 0).max(0) for r in rates]
        return np.stack(rows) / self.hits[-1]

    def precision_at(self, recalls: np.ndarray) -> np.ndarray:
        """Precision at the highest step that reaches each recall: (recall, draw)."""
        flagged = self.hits + self.alarms
        precision = np.divide(self.hits, flagged, out=np.zeros_like(self.hits), where=flagged > 0)
        first = [(self.hits >= r * self.hits[-1] * (1 - 1e-12)).argmax(axis=0) for r in recalls]
        return np.take_along_axis(precision, np.stack(first), axis=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Resampled:
    """Cells by event and block, and how often each event and block is drawn."""

    labels: np.ndarray
    """bool (n,)."""
    event: np.ndarray
    """int64 (n,): event of each positive, 0 up; 0 elsewhere."""
    block: np.ndarray
    """int64 (n,): block of each negative, 0 up; 0 elsewhere."""
    events: np.ndarray
    """float64 (draw, event); draw 0 has each once."""
    blocks: np.ndarray
    """float64 (draw, block)."""
    level: float
    seed: int

    @classmethod
    def of(cls, cells: JudgedCells, *, draws: int = 500, level: float = 0.95, seed: int) -> Resampled:
        """Draw events and blocks of judged cells.

        Raises:
            DataError: No positive or no negative.
        """
        if not cells.labels.any() or cells.labels.all():
            raise DataError(
                f"expected positives and negatives to judge, "
                f"found {cells.labels.sum()} of {len(cells)} positive"
            )
        event, events = _drawn(cells.event_ids, cells.labels, draws, (seed, 0))
        block, blocks = _drawn(cells.block_ids, ~cells.labels, draws, (seed, 1))
        return cls(
            labels=cells.labels,
            event=event,
            block=block,
            events=events,
            blocks=blocks,
            level=level,
            seed=seed,
        )

    def curve(self, scores: np.ndarray) -> Curve:
        """The curve of one score (n,), higher is more anomalous, under every draw."""
        groups = self.events.shape[1], self.blocks.shape[1]
        most = max(100, _COUNTS // (sum(groups) + 3 * len(self.events)))
        counted = GroupedCurve.of(scores, self.labels, self.event, self.block, groups=groups, most=most)
        auc, precision = counted.figures(self.events, self.blocks)
        return Curve(
            hits=counted.hits @ self.events.T,
            alarms=counted.alarms @ self.blocks.T,
            roc_auc=auc,
            average_precision=precision,
            negatives=self.blocks @ counted.negatives,
        )

    def over(self, scores: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """How many positives and negatives are at or over a threshold under every draw: two (draw,)."""
        chosen = scores >= threshold
        hits = np.bincount(self.event[chosen & self.labels], minlength=self.events.shape[1])
        alarms = np.bincount(self.block[chosen & ~self.labels], minlength=self.blocks.shape[1])
        return self.events @ hits, self.blocks @ alarms

    def band(self, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Interval over draws of (..., draw), draw 0 left out; NaN with one event only."""
        if self.events.shape[1] < 2:
            return np.full(drawn.shape[:-1], np.nan), np.full(drawn.shape[:-1], np.nan)
        low, high = np.quantile(drawn[..., 1:], [(1 - self.level) / 2, (1 + self.level) / 2], axis=-1)
        return low, high

    def estimate(self, name: str, drawn: np.ndarray, *, exact: float | None = None) -> Estimate:
        """A figure (draw,) with its interval, moved to the exact figure where that is given."""
        low, high = self.band(drawn)
        value = float(drawn[0]) if exact is None else exact
        return Estimate(
            name=name,
            value=value,
            low=float(low) + value - float(drawn[0]),
            high=float(high) + value - float(drawn[0]),
            level=self.level,
            n=self.events.shape[1],
            resampled="event and cell block",
            seed=self.seed,
        )


RATE = 1e-3
"""Of false alarms, at which recall is told."""


def figures(scores: np.ndarray, cells: Resampled) -> tuple[dict[str, Estimate], Curve]:
    """roc_auc, average_precision and recall at 1 false alarm per 1,000 of one score, and its curve."""
    curve = cells.curve(scores)
    drawn, exact = _drawn_figures(curve), _exact(scores, cells.labels)
    return {name: cells.estimate(name, drawn[name], exact=exact[name]) for name in drawn}, curve


def differences(
    first: np.ndarray, second: np.ndarray, curves: tuple[Curve, Curve], cells: Resampled
) -> dict[str, Estimate]:
    """The same three of `first` less those of `second`, on the same draws; `curves` are theirs."""
    drawn = [_drawn_figures(curve) for curve in curves]
    exact = [_exact(scores, cells.labels) for scores in (first, second)]
    return {
        name: cells.estimate(name, drawn[0][name] - drawn[1][name], exact=exact[0][name] - exact[1][name])
        for name in drawn[0]
    }


def _drawn_figures(curve: Curve) -> dict[str, np.ndarray]:
    return {
        "roc_auc": curve.roc_auc,
        "average_precision": curve.average_precision,
        "recall": curve.recall_at(np.array([RATE]))[0],
    }


def _exact(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {
        "roc_auc": float(roc_auc(scores, labels)),
        "average_precision": float(average_precision(scores, labels)),
        "recall": float(recall_at_false_alarms(scores, labels, rate=RATE)),
    }


def _drawn(
    ids: np.ndarray, chosen: np.ndarray, draws: int, seed: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Group of each chosen cell (0 elsewhere), and how often each group is drawn, first each once."""
    index = np.zeros(len(ids), np.int64)
    _, index[chosen] = np.unique(ids[chosen], return_inverse=True)
    groups = int(index.max(initial=0)) + 1
    drawn = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), size=draws)
    return index, np.concatenate([np.ones((1, groups)), drawn])
