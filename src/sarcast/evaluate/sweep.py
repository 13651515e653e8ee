"""What every threshold would give, and the curves behind it: recall, false alarms, precision, with intervals.

Cells are judged as in `onset`; events and blocks of negatives are resampled as in `resampled`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from sarcast.errors import SettingsError
from sarcast.evaluate.resampled import Curve, Resampled
from sarcast.evaluate.shares import bounded
from sarcast.values import Estimate

P_VALUES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
PERCENTILES = (70, 75, 80, 85, 90)
"""Those of the published sweep (T-SAR-JEPA, arXiv 2606.05700)."""
RATES = np.append(0.0, np.logspace(-4, 0, 33).round(8))
"""False-alarm rates a ROC curve is drawn at."""
RECALLS = np.linspace(0.02, 1, 50).round(8)
"""Recalls a precision-recall curve is drawn at."""
MONTH_DAYS = 30.4375


@dataclass(frozen=True, kw_only=True)
class Swept:
    """One threshold."""

    name: str
    """p <= 0.001, P80, ..."""
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
    cells: Resampled,
    thresholds: Mapping[str, float],
    *,
    cells_per_km2_month: float | None = None,
) -> list[Swept]:
    """Recall, false alarms and precision at each threshold, all on the same resamples.

    Args:
        scores: (n,) of the judged cells; higher is more anomalous.
        cells: What they are, and the resamples.
        thresholds: Name -> threshold, in the units of the scores.
        cells_per_km2_month: Judged cells in a square kilometre and a month; None leaves that figure out.
    """
    return [
        _swept(name, float(threshold), scores, cells, cells_per_km2_month)
        for name, threshold in thresholds.items()
    ]


def roc_band(curve: Curve, cells: Resampled) -> Band:
    """Recall at each of `RATES`, conservative as in `recall_at_false_alarms`, with an interval at each."""
    drawn = curve.recall_at(RATES)
    low, high = cells.band(drawn)
    return Band(at=RATES, value=drawn[:, 0], low=low, high=high)


def precision_band(curve: Curve, cells: Resampled) -> Band:
    """Precision at the highest threshold that reaches each of `RECALLS`, with an interval at each."""
    drawn = curve.precision_at(RECALLS)
    low, high = cells.band(drawn)
    return Band(at=RECALLS, value=drawn[:, 0], low=low, high=high)


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


def _swept(
    name: str, threshold: float, scores: np.ndarray, cells: Resampled, per_km2_month: float | None
) -> Swept:
    hits, alarms = cells.over(scores, threshold)
    positives, negatives = cells.over(scores, -np.inf)
    flagged = hits + alarms
    precision = np.divide(hits, flagged, out=np.zeros_like(hits), where=flagged > 0)
    rate = bounded(cells.estimate("false_alarms", alarms / negatives), int(negatives[0]))
    chosen = scores >= threshold
    groups = len(np.unique(cells.event[chosen & cells.labels]))
    groups += len(np.unique(cells.block[chosen & ~cells.labels]))
    return Swept(
        name=name,
        threshold=threshold,
        recall=bounded(cells.estimate("recall", hits / positives), cells.events.shape[1]),
        false_alarms=rate,
        per_km2_month=None if per_km2_month is None else _times(rate, per_km2_month),
        precision=bounded(cells.estimate("precision", precision), groups),
    )


def _times(estimate: Estimate, factor: float) -> Estimate:
    low, high = estimate.low * factor, estimate.high * factor
    return replace(estimate, name="per_km2_month", value=estimate.value * factor, low=low, high=high)
