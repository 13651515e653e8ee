"""What a simulated scene is made of: every choice, with its default."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from sarcast.runtime.settings import Settings

Kind = Literal[
    "lava",
    "flood",
    "clearing",
    "excavation",
    "construction",
    "ship",
    "vehicles",
    "burnt",
    "wet",
    "texture",
]
KINDS: tuple[Kind, ...] = (
    "lava",
    "flood",
    "clearing",
    "excavation",
    "construction",
    "ship",
    "vehicles",
    "burnt",
    "wet",
    "texture",
)


class SimulateScene(Settings):
    """One place seen by a few radar satellites through time, with known events."""

    kind: Literal["capella", "opera"] = "capella"
    """capella: X-band HH, metre-class, 9 looks; opera: C-band VV and VH, 30 m."""
    shape: tuple[int, int] = (512, 512)
    """Pixels, (y, x)."""
    spacing_m: float | None = Field(default=None, gt=0)
    """Pixel spacing, metres; by default 1 (capella) or 30 (opera)."""
    cell: int | None = Field(default=None, ge=2)
    """Side in pixels of the cells events are sized for; by default 16 (capella) or 4 (opera)."""
    dates: int = Field(default=24, ge=1)
    """Acquisitions."""
    start: str = "2024-01-08"
    """Day of the first acquisition (UTC)."""
    interval_days: float | None = Field(default=None, gt=0)
    """Usual repeat; by default 3 (capella) or 12 (opera). Every fifth acquisition or so is missed."""
    gap_days: float = Field(default=30.0, ge=0)
    """One longer interruption, about a third into the series."""
    platforms: int = Field(default=3, ge=1, le=4)
    """Satellites that take turns."""
    looks: float | None = Field(default=None, gt=0)
    """Equivalent number of looks; by default 9 (capella) or 4.5 (opera)."""
    oversampling: float = Field(default=1.0, ge=1.0, le=4.0)
    """Pixels per resolution cell: over 1, speckle is correlated between neighbours."""
    clutter: Literal["gamma", "k"] = "gamma"
    """k multiplies every land cover by a further gamma texture of order `k_order`: K-distributed clutter."""
    k_order: float = Field(default=4.0, gt=0)
    """Order (shape) of that texture; smaller is spikier."""
    land_cover: Literal["mixed", "flat"] = "mixed"
    """flat: one bare, untextured surface, for measuring speckle."""
    incidence_deg: float = Field(default=37.0, ge=10, le=60)
    """At the scene centre."""
    incidence_spread_deg: float = Field(default=0.3, ge=0, le=2)
    """The incidence of a date differs by up to this."""
    orbit_direction: Literal["ascending", "descending"] = "ascending"
    """Direction of every pass."""
    look_side: Literal["left", "right"] = "right"
    """Side the radar looks to."""
    dynamics: float = Field(default=1.0, ge=0)
    """Scale of everything that changes and is no event (seasons, rain, wind, frost, crops, tide, traffic)."""
    gain_db: float = Field(default=0.2, ge=0, le=3)
    """Spread (standard deviation) of the satellites' gains."""
    jitter_px: float = Field(default=0.12, ge=0, le=2)
    """Spread of the misregistration of a date that georeferencing does not know, pixels per axis."""
    edge_px: int = Field(default=8, ge=0)
    """Widest strip without data along each side; it differs between dates."""
    stationary: bool = False
    """Texture and speckle only: no dynamics, gains, jitter or events (for false alarms)."""
    events: int | None = Field(default=None, ge=0)
    """How many events; by default 16 on 512 x 512 pixels of 16-pixel cells, in proportion to the cells."""
    kinds: tuple[Kind, ...] = KINDS
    """Kinds to plant, in turns."""
    strength_db: tuple[float, float] = (1.0, 12.0)
    """Smallest and largest change of mean level; each kind keeps to its own range inside it."""
    onset: tuple[float, float] = (0.55, 0.9)
    """Events begin between these fractions of the series."""
    transient: float = Field(default=0.25, ge=0, le=1)
    """Share of events that end again, among the kinds that can (ships and vehicles always do)."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if min(self.shape) < 16:
            raise ValueError("expected a shape of at least 16 x 16 pixels")
        if not 0 < self.strength_db[0] <= self.strength_db[1]:
            raise ValueError("expected 0 < smallest <= largest strength_db")
        if not 0 <= self.onset[0] <= self.onset[1] <= 1:
            raise ValueError("expected 0 <= first <= last onset <= 1")
        if not self.kinds:
            raise ValueError("expected at least one kind")
        if self.kind == "opera" and self.look_side == "left":
            raise ValueError("expected look_side right: Sentinel-1 looks to no other side")
        try:
            np.datetime64(self.start, "D")
        except ValueError:
            raise ValueError(f"expected start as a day like 2024-01-08, found {self.start}") from None
        return self

    @property
    def bands(self) -> tuple[str, ...]:
        """Polarisations, sorted."""
        return ("HH",) if self.kind == "capella" else ("VH", "VV")

    @property
    def pixel_m(self) -> float:
        """Pixel spacing, metres."""
        return self.spacing_m or (1.0 if self.kind == "capella" else 30.0)

    @property
    def cell_px(self) -> int:
        """Side of a cell, pixels."""
        return self.cell or (16 if self.kind == "capella" else 4)

    @property
    def repeat_days(self) -> float:
        """Usual repeat, days."""
        return self.interval_days or (3.0 if self.kind == "capella" else 12.0)

    @property
    def speckle_looks(self) -> float:
        """Equivalent number of looks."""
        return self.looks or (9.0 if self.kind == "capella" else 4.5)

    @property
    def event_count(self) -> int:
        """How many events are to be planted."""
        if self.stationary:
            return 0
        if self.events is not None:
            return self.events
        cells = (self.shape[0] / self.cell_px) * (self.shape[1] / self.cell_px)
        return max(1, min(60, round(16 * cells / 1024)))
