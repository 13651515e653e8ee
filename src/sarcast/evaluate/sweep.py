"""What every threshold would give, and the curves behind it: recall, false alarms, precision, with intervals.

Cells are judged as in `onset`; events and blocks of negatives are resampled as in `bootstrap`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sarcast.errors import SettingsError
from sarcast.evaluate.bootstrap import resamples
from sarcast.evaluate.curves import Steps, steps
from sarcast.evaluate.onset import JudgedCells
from sarcast.evaluate.shares import bounded
from sarcast.values import Estimate

P_VALUES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
PERCENTILES = (70, 75, 80, 85, 90)
"""Those of the published sweep (T-SAR-JEPA, arXiv 2606.05700)."""
RATES = (0.0, *np.round(np.logspace(-4, 0, 33), 8).tolist())
"""False-alarm rates a ROC curve is drawn at."""
RECALLS = tuple(np.round(np.linspace(0.02, 1, 50), 8).tolist())
"""Recalls a precision-recall curve is drawn at."""
MONTH_DAYS = 30.4375


@dataclass(frozen=True, kw_only=True)
class Swept:
    """One threshold."""

    name: str
    """p < 0.001, P80, ..."""
    threshold: float
    """In the units of the scores."""
    recall: Estimate
    """Share of positive cells at or over it."""
    false_alarms: Estimate
    """Share of negative cells at or over it."""
    per_km2_month: Estimate | None
    """Negative cells at or over it, per square kilometre and month of acquisitions."""
    precision: Estimate
    """Share of cells at or over it that are positive; 0 where none is."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Band:
    """A curve with an interval at each of its points; with one event only, it is NaN."""

    at: np.ndarray
    """False-alarm rate or recall, (point,)."""
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def sweep(
    scores: np.ndarray,
    cells: JudgedCells,
    thresholds: Mapping[str, float],
    *,
    cells_per_km2_month: float | None = None,
    draws: int = 500,
    level: float = 0.95,
    seed: int,
) -> list[Swept]:
    """Recall, false alarms and precision at each threshold, all on the same resamples.

    Args:
        scores: (n,) of the judged cells; higher is more anomalous.
        cells: What they are.
        thresholds: Name -> threshold, in the units of the scores.
        cells_per_km2_month: Judged cells in a square kilometre and a month; None leaves that figure out.
        draws: Resamples.
        level: Of the intervals, in (0, 1).
        seed: Of the draws.
    """
    over = np.asarray(scores)[:, None] >= np.array(list(thresholds.values()), np.float64)
    drawn = resamples(cells.labels, cells.event_ids, cells.block_ids, draws=draws, seed=seed)
    plain = _figures(np.ones((1, len(cells))), cells.labels, over)
    figures = [_figures(weights, cells.labels, over) for weights in drawn]
    bands = [np.quantile(np.concatenate(part), _edges(level), axis=0) for part in zip(*figures, strict=True)]
    events = len(np.unique(cells.event_ids[cells.labels]))
    counted = {"recall": events, "false_alarms": int((~cells.labels).sum())}
    rows = []
    for i, (name, threshold) in enumerate(thresholds.items()):
        counted["precision"] = _groups(cells, over[:, i])
        told = {
            kind: bounded(_estimate(kind, plain[k][0, i], bands[k][:, i], events, level, seed), counted[kind])
            for k, kind in enumerate(counted)
        }
        rate = told["false_alarms"]
        scaled = None if cells_per_km2_month is None else _times(rate, cells_per_km2_month)
        rows.append(Swept(name=name, threshold=float(threshold), per_km2_month=scaled, **told))
    return rows


def roc_band(
    scores: np.ndarray, cells: JudgedCells, *, draws: int = 500, level: float = 0.95, seed: int
) -> Band:
    """Recall at each of `RATES`, conservative as in `recall_at_false_alarms`, with an interval at each."""
    return _band(scores, cells, _recall_at, RATES, draws, level, seed)


def precision_band(
    scores: np.ndarray, cells: JudgedCells, *, draws: int = 500, level: float = 0.95, seed: int
) -> Band:
    """Precision at the highest threshold that reaches each of `RECALLS`, with an interval at each."""
    return _band(scores, cells, _precision_at, RECALLS, draws, level, seed)


def cells_per_km2_month(times: np.ndarray, cell_m2: float) -> float | None:
    """How many cells are judged in a square kilometre and a month.

    Args:
        times: datetime64 (time,): judged dates, ascending.
        cell_m2: Area a cell stands for, square metres.

    Returns:
        1e6 / cell_m2 * dates a month; None with one date only, whose month is not known.
    """
    if not cell_m2 > 0:
        raise SettingsError(f"expected cells of a positive area, found {cell_m2} m2")
    if len(times) < 2:
        return None
    days = float((times[-1] - times[0]) / np.timedelta64(1, "s")) / 86400
    return 1e6 / cell_m2 * (len(times) - 1) * MONTH_DAYS / days if days > 0 else None


def _band(
    scores: np.ndarray,
    cells: JudgedCells,
    figure: Callable[[Steps, np.ndarray], np.ndarray],
    at: Sequence[float],
    draws: int,
    level: float,
    seed: int,
) -> Band:
    points = np.asarray(at, np.float64)
    drawn = [
        figure(steps(scores, cells.labels, weights), points)
        for weights in resamples(cells.labels, cells.event_ids, cells.block_ids, draws=draws, seed=seed)
    ]
    low, high = np.quantile(np.concatenate(drawn), _edges(level), axis=0)
    if len(np.unique(cells.event_ids[cells.labels])) < 2:
        low, high = np.full_like(low, np.nan), np.full_like(high, np.nan)
    return Band(at=points, value=figure(steps(scores, cells.labels), points), low=low, high=high)


def _recall_at(found: Steps, rates: np.ndarray) -> np.ndarray:
    """(..., step) -> (..., rate)."""
    total = found.alarms[..., -1:]
    recalls = [
        np.where(found.alarms <= rate * total * (1 + 1e-12), found.hits, 0).max(axis=-1) for rate in rates
    ]
    return np.stack(recalls, axis=-1) / found.hits[..., -1:]


def _precision_at(found: Steps, recalls: np.ndarray) -> np.ndarray:
    """(..., step) -> (..., recall)."""
    flagged = found.hits + found.alarms
    precision = np.divide(found.hits, flagged, out=np.zeros_like(found.hits), where=flagged > 0)
    first = [
        (found.hits >= recall * found.hits[..., -1:] * (1 - 1e-12)).argmax(axis=-1) for recall in recalls
    ]
    return np.take_along_axis(precision, np.stack(first, axis=-1), axis=-1)


def _figures(weights: np.ndarray, labels: np.ndarray, over: np.ndarray) -> tuple[np.ndarray, ...]:
    """Recall, false-alarm rate and precision, (draws, threshold) each, from weights (draws, n)."""
    positive, negative = weights[:, labels], weights[:, ~labels]
    hits, alarms = positive @ over[labels], negative @ over[~labels]
    flagged = hits + alarms
    precision = np.divide(hits, flagged, out=np.zeros_like(hits), where=flagged > 0)
    return hits / positive.sum(1, keepdims=True), alarms / negative.sum(1, keepdims=True), precision


def _groups(cells: JudgedCells, chosen: np.ndarray) -> int:
    """How many events and blocks of negatives the chosen cells are from."""
    events = np.unique(cells.event_ids[chosen & cells.labels])
    return len(events) + len(np.unique(cells.block_ids[chosen & ~cells.labels]))


def _edges(level: float) -> list[float]:
    return [(1 - level) / 2, (1 + level) / 2]


def _estimate(name: str, value: float, band: np.ndarray, events: int, level: float, seed: int) -> Estimate:
    low, high = (float(v) for v in band) if events > 1 else (float("nan"), float("nan"))
    return Estimate(
        name=name,
        value=float(value),
        low=low,
        high=high,
        level=level,
        n=events,
        resampled="event and cell block",
        seed=seed,
    )


def _times(estimate: Estimate, factor: float) -> Estimate:
    low, high = estimate.low * factor, estimate.high * factor
    return replace(estimate, name="per_km2_month", value=estimate.value * factor, low=low, high=high)
