"""Which scores are alarms: a requested false-alarm rate, or the paper's percentile per area of interest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sarcast.decide.calibrate import Null
from sarcast.decide.rules import Rules
from sarcast.errors import ShapeError


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Two scores of one stack: alarms are at or above `low`, strong alarms at or above `high`."""

    low: float
    high: float
    p_low: float
    """p-value at `low`."""
    p_high: float

    def __post_init__(self) -> None:
        if not self.high >= self.low:
            raise ShapeError(f"need high >= low, got {self.high} and {self.low}")


def set_threshold(settings: Rules, null: Null, scores: np.ndarray) -> Threshold:
    """The threshold of one stack.

    Args:
        settings: The rule.
        null: What history's scores look like.
        scores: Valid scores of all dates; only the percentile rule looks at them.
    """
    if settings.rule == "percentile":
        low = float(np.percentile(scores, settings.percentile))
        high = float(np.percentile(scores, 100 - (100 - settings.percentile) * settings.high))
        p_low, p_high = (float(null.p_value(np.array(value))) for value in (low, high))
        return Threshold(low=low, high=max(high, low), p_low=p_low, p_high=p_high)
    p_high = settings.false_alarms * settings.high
    return Threshold(
        low=null.score_at(settings.false_alarms),
        high=null.score_at(p_high),
        p_low=settings.false_alarms,
        p_high=p_high,
    )
