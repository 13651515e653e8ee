"""Sentinel-1 seasons in 12 channels: VV-VH, VV and VH in dB of four seasons (M3LEO, arXiv 2406.04230)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from sarcast.errors import ShapeError
from sarcast.sar.decibel import to_db

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

SEASONS = ("DJF", "MAM", "JJA", "SON")
"""Three calendar months each, from December; the same months on both hemispheres, as M3LEO has them."""
KINDS = ("VV-VH", "VV", "VH")
CHANNELS: tuple[str, ...] = tuple(f"{kind} {season}" for kind in KINDS for season in SEASONS)
"""In the order of M3LEO's loader: all seasons of the ratio, then of VV, then of VH."""
Statistic = Literal["mean", "median"]


@dataclass(frozen=True, kw_only=True, eq=False)
class SeasonalStack:
    """One place in the 12 `CHANNELS`."""

    db: np.ndarray
    """float32 (channel, y, x), dB; 0 where not valid."""
    valid: np.ndarray
    """bool (channel, y, x)."""
    geobox: GeoBox
    name: str
    """Of the place or tile."""
    statistic: str
    """What a season is of its dates: mean (of power), median, or unknown."""
    radiometry: str = "uncalibrated"

    def __post_init__(self) -> None:
        expected = (len(CHANNELS), *self.geobox.shape)
        if self.db.shape != expected or self.valid.shape != expected:
            raise ShapeError(
                f"expected db and valid of shape {expected}, found {self.db.shape} and {self.valid.shape}, "
                f"in {self.name}"
            )
        if not np.isfinite(self.db[self.valid]).all():
            raise ShapeError("SeasonalStack.db must be finite wherever SeasonalStack.valid is True")

    @property
    def seasons(self) -> tuple[str, ...]:
        """Seasons with anything valid."""
        return tuple(name for i, name in enumerate(SEASONS) if self.valid[i :: len(SEASONS)].any())


def season_of(time: np.ndarray) -> np.ndarray:
    """Index into `SEASONS` of each UTC time, int (time,): December, January and February are 0."""
    month = time.astype("datetime64[M]").astype(np.int64) % 12 + 1
    return np.asarray(month % 12 // 3)


def season_year(time: np.ndarray) -> np.ndarray:
    """The year a season is counted to, int (time,): a December belongs to the winter of the next year."""
    month = time.astype("datetime64[M]").astype(np.int64)
    return np.asarray((month + 1) // 12 + 1970)


def in_channels(
    power: np.ndarray, valid: np.ndarray, *, geobox: GeoBox, name: str, statistic: str, radiometry: str
) -> SeasonalStack:
    """The 12 channels from seasonal power.

    Args:
        power: (band, season, y, x), linear; bands VV and VH.
        valid: bool (season, y, x) or of the shape of `power`; the ratio needs both bands.
        geobox: The grid.
        name: Of the place.
        statistic: mean, median or unknown.
        radiometry: Of the power.
    """
    ok = np.broadcast_to(valid, power.shape)
    db = to_db(np.where(ok, power, 1).astype(np.float32))
    return of_db(db, ok, geobox=geobox, name=name, statistic=statistic, radiometry=radiometry)


def of_db(
    db: np.ndarray, valid: np.ndarray, *, geobox: GeoBox, name: str, statistic: str, radiometry: str
) -> SeasonalStack:
    """The 12 channels from dB and validity (band, season, y, x) of VV and VH; others as `in_channels`."""
    values = np.concatenate([db[:1] - db[1:], db]).reshape(len(CHANNELS), *db.shape[2:])
    ok = np.concatenate([valid[:1] & valid[1:], valid]).reshape(values.shape)
    return SeasonalStack(
        db=np.where(ok, values, 0).astype(np.float32),
        valid=ok,
        geobox=geobox,
        name=name,
        statistic=statistic,
        radiometry=radiometry,
    )
