"""The preprocessing card: how linear power becomes the [0, 1] a network sees, in training and after.

`db_clip` has fixed limits for every image: a bright place stays brighter than a dark one. `minmax_patch` is
the published way (T-SAR-JEPA): each image stretched by itself, so that level is lost; kept as its variant.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from sarcast.runtime.settings import Settings

Array = TypeVar("Array", np.ndarray, Tensor)
_SMALLEST = 1e-12


class Card(Settings):
    """What was done to pixels before the network, and what they were."""

    name: Literal["db_clip", "minmax_patch"] = "db_clip"
    """db_clip: fixed limits in dB; minmax_patch: dB, each image between its own minimum and maximum."""
    version: Literal[1] = 1
    """Of the scaling's definition."""
    low_db: float = -30.0
    """Becomes 0 (db_clip)."""
    high_db: float = 10.0
    """Becomes 1 (db_clip)."""
    unit: Literal["sigma0", "gamma0", "beta0", "uncalibrated"] | None = None
    """Of the power the network was trained on, where known."""
    looks: float | None = Field(None, gt=0)
    """Equivalent number of looks it was trained on, where known."""
    sensor: str | None = None
    """Sensors it was trained on, where known."""

    @model_validator(mode="after")
    def _in_order(self) -> Card:
        if not self.low_db < self.high_db:
            raise ValueError("low_db must be under high_db")
        return self


def scaled(power: Array, card: Card, valid: Array | None = None) -> Array:
    """Linear power as a network sees it; the one scaling of training and inference.

    Args:
        power: (..., y, x), linear.
        card: Which scaling.
        valid: bool, shape of `power`, where pixels count; None means everywhere.

    Returns:
        float32 in [0, 1], of the kind (numpy or torch) of `power`; 0 where not valid.
    """
    if isinstance(power, np.ndarray):
        ok = None if valid is None else torch.from_numpy(np.ascontiguousarray(valid))
        found: np.ndarray = scaled(torch.from_numpy(np.ascontiguousarray(power)), card, ok).numpy()
        return found
    ok = torch.ones_like(power, dtype=torch.bool) if valid is None else valid
    db = 10 * torch.log10(torch.where(ok, power, 1.0).float().clamp_min(_SMALLEST))
    if card.name == "db_clip":
        unit = (db - card.low_db) / (card.high_db - card.low_db)
    else:
        low = torch.where(ok, db, torch.inf).amin((-2, -1), keepdim=True)
        high = torch.where(ok, db, -torch.inf).amax((-2, -1), keepdim=True)
        unit = (db - low) / (high - low).clamp_min(1e-6)
    return torch.where(ok, unit.clamp(0, 1), 0.0)
