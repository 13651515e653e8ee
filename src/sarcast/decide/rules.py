"""How scores become alarms and alarms become events: every choice, with its default."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sarcast.runtime.settings import Settings


class Rules(Settings):
    """From scores to events."""

    rule: Literal["false_alarms", "discoveries", "percentile"] = "false_alarms"
    """`false_alarms`: a p-value; `discoveries`: a p-value for each date, so that few of its alarms are false;
    `percentile`: the paper's fixed share of an area's scores."""
    false_alarms: float = Field(1e-3, gt=0, lt=0.5)
    """Share of cells that may be over the threshold on a date when nothing happens."""
    false_alarms_per_km2_month: float | None = Field(None, gt=0)
    """The same as alarmed cells a square kilometre and month when nothing happens; `false_alarms` then
    follows from the size of a cell and how often history was acquired."""
    fdr: float = Field(0.1, gt=0, lt=1)
    """For `discoveries`: share of a date's alarmed cells that may be false, on average."""
    dependence: Literal["positive", "any"] = "positive"
    """For `discoveries`: how cells may depend on each other. `positive`: as neighbours do
    (Benjamini-Hochberg); `any`: in every way (Benjamini-Yekutieli), for far fewer alarms."""
    high: float = Field(0.1, gt=0, le=1)
    """Alarms are "high" where the p-value is under this share of the rate, else "low"."""
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
