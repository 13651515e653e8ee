"""Which scores are alarms: a false-alarm rate, a rate of false discoveries, or the paper's percentile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sarcast.decide.multiple import benjamini_hochberg, benjamini_yekutieli
from sarcast.decide.nulls import Calibrated, Tail
from sarcast.decide.rules import Rules
from sarcast.errors import DataError, ShapeError
from sarcast.values import Scores, Times

MONTH_DAYS = 30.436875
"""A twelfth of the Gregorian year."""


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Where alarms of one stack begin: at a score where there is one for all cells, else at a p-value."""

    low: float | None
    """Alarms are at or above it; None where p-values decide."""
    high: float | None
    """The same for strong alarms."""
    p_low: float
    """Alarms are at or under it; the largest of all dates where they differ."""
    p_high: float
    by_date: tuple[tuple[float, float], ...] | None = None
    """(p_low, p_high) of every time where dates differ; 0 where nothing is an alarm."""

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise ShapeError(f"need both scores or none, got {self.low} and {self.high}")
        if self.low is not None and self.high is not None and not self.high >= self.low:
            raise ShapeError(f"need high >= low, got {self.high} and {self.low}")

    def alarms(self, scores: Scores) -> tuple[np.ndarray, np.ndarray]:
        """Bool (time, row, col) twice: alarms, and strong alarms.

        Raises:
            ShapeError: p-values decide and there are none, or dates differ and are others.
        """
        if self.low is not None and self.by_date is None:
            return scores.valid & (scores.values >= self.low), scores.valid & (scores.values >= self.high)
        if scores.p_value is None:
            raise ShapeError("expected calibrated scores, found no p_value")
        limits = np.array(self.by_date or [(self.p_low, self.p_high)] * len(scores.times), np.float32)
        if len(limits) != len(scores.times):
            raise ShapeError(f"expected {len(limits)} dates, found {len(scores.times)}")
        low, high = (scores.valid & (scores.p_value <= one[:, None, None]) for one in limits.T)
        return low, high


def set_threshold(settings: Rules, null: Calibrated, scores: Scores) -> Threshold:
    """The threshold of one stack.

    Args:
        settings: The rule.
        null: What history's scores look like.
        scores: Of all dates; `discoveries` looks at each date, `percentile` at all of them.

    Raises:
        ShapeError: `discoveries` of scores that are not calibrated.
    """
    if settings.rule == "percentile":
        return _percentile(settings, null, scores.values[scores.valid])
    if settings.rule == "discoveries":
        return _discoveries(settings, scores)
    p_low, p_high = settings.false_alarms, settings.false_alarms * settings.high
    one = isinstance(null, Tail)
    return Threshold(
        low=null.pooled.score_at(p_low) if one else None,
        high=null.pooled.score_at(p_high) if one else None,
        p_low=p_low,
        p_high=p_high,
    )


@dataclass(frozen=True, kw_only=True)
class Rate:
    """What a number of false alarms an area and month comes to."""

    false_alarms: float
    """Share of cells a date."""
    cell_km2: float
    acquisitions_per_month: float


def rate_of(per_km2_month: float, *, scores: Scores, history: np.ndarray) -> Rate:
    """The share of cells a date that gives so many alarmed cells a square kilometre and month.

    Args:
        per_km2_month: Alarmed cells wanted when nothing happens.
        scores: Their cells; a cell stands for the ground of one stride by one stride.
        history: bool (time,): dates whose frequency counts, so that later ones move nothing.

    Raises:
        DataError: Fewer than two dates of history, or a rate that half of all cells would pass.
    """
    monthly = _per_month(scores.times.take(history))
    cell = _cell_km2(scores)
    share = per_km2_month * cell / monthly
    if not share < 0.5:
        raise DataError(
            f"expected a rate under {0.5 * monthly / cell:.3g} alarmed cells a square kilometre and month, "
            f"for cells of {cell:.3g} km2 seen {monthly:.3g} times a month, found {per_km2_month:g}"
        )
    return Rate(false_alarms=share, cell_km2=cell, acquisitions_per_month=monthly)


def _percentile(settings: Rules, null: Calibrated, scores: np.ndarray) -> Threshold:
    low = float(np.percentile(scores, settings.percentile))
    high = float(np.percentile(scores, 100 - (100 - settings.percentile) * settings.high))
    p_low, p_high = (float(null.pooled.p_value(np.array(value))) for value in (low, high))
    return Threshold(low=low, high=max(high, low), p_low=p_low, p_high=p_high)


def _discoveries(settings: Rules, scores: Scores) -> Threshold:
    if scores.p_value is None:
        raise ShapeError("expected calibrated scores, found no p_value")
    step = benjamini_hochberg if settings.dependence == "positive" else benjamini_yekutieli
    limits = tuple(
        (step(p[ok], fdr=settings.fdr), step(p[ok], fdr=settings.fdr * settings.high))
        for p, ok in zip(scores.p_value, scores.valid, strict=True)
    )
    p_low, p_high = (max((pair[i] for pair in limits), default=0.0) for i in (0, 1))
    return Threshold(low=None, high=None, p_low=p_low, p_high=p_high, by_date=limits)


def _per_month(times: Times) -> float:
    if len(times) < 2 or times.days[-1] == 0:
        raise DataError(f"expected at least two dates of history for a rate by month, found {len(times)}")
    return float((len(times) - 1) / times.days[-1] * MONTH_DAYS)


def _cell_km2(scores: Scores) -> float:
    """Ground of one stride by one stride at the middle of the scene."""
    from pyproj import Geod
    from shapely import box

    a, side = scores.geobox.transform, scores.grid.stride
    crs = scores.geobox.crs
    if crs is None or crs.projected:
        return abs(a.a * a.e - a.b * a.d) * side**2 / 1e6
    y, x = (n / 2 for n in scores.grid.image)
    left, right = (a.a * at + a.b * y + a.c for at in (x, x + side))
    top, bottom = (a.d * x + a.e * at + a.f for at in (y, y + side))
    square = box(min(left, right), min(top, bottom), max(left, right), max(top, bottom))
    return abs(float(Geod(ellps="WGS84").geometry_area_perimeter(square)[0])) / 1e6
