"""How scores become alarms and alarms become events: every choice, with its default."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sarcast.runtime.settings import Settings


class Rules(Settings):
    """From scores to events."""

    rule: Literal["false_alarms", "percentile"] = "false_alarms"
    """`false_alarms`: a p-value; `percentile`: the paper's fixed share of an area's scores."""
    false_alarms: float = Field(1e-3, gt=0, lt=0.5)
    """Share of cells that may be over the threshold on a date when nothing happens."""
    high: float = Field(0.1, gt=0, le=1)
    """Alarms are "high" where the p-value is under this share of `false_alarms`, else "low"."""
    percentile: float = Field(80.0, gt=0, lt=100)
    """For `percentile`: of all scores of the stack (T-SAR-JEPA: 75, 80, 85)."""
    confirm: int = Field(3, ge=2)
    """Alarmed dates that confirm an event."""
    patience: int = Field(2, ge=1)
    """Usable dates without alarm that finish an event."""
    min_cells: int = Field(1, ge=1)
    """Smallest event, cells."""
    texture_db: float = Field(1.0, ge=0)
    """An event whose mean level changed by less than this is a change of texture."""
