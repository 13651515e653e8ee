"""The land of one seasonal tile: WorldCover classes, canopy cover, biomass, built share, parcels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sarcast.sar.simulate.climate import Climate
from sarcast.sar.simulate.fields import highest, smooth_field
from sarcast.sar.simulate.land_cover import CROPS, parcels
from sarcast.sar.world_cover import CLASS, CLASS_NAMES

_LEAST_SHARE = 0.01
"""A class with less of a tile is not there."""
_CANOPY = {
    "tree cover": (0.78, 0.12),
    "shrubland": (0.18, 0.08),
    "grassland": (0.04, 0.03),
    "cropland": (0.02, 0.02),
    "built-up": (0.16, 0.10),
    "herbaceous wetland": (0.05, 0.03),
    "mangroves": (0.80, 0.10),
}
"""Share under trees: mean and standard deviation; none in other classes."""
_STAND = {"shrubland": 0.35, "built-up": 0.6, "mangroves": 0.9}
"""Biomass under closed canopy over that of the region's trees, where not 1."""
_HERBS_T_HA = {"shrubland": 9.0, "grassland": 2.5, "cropland": 3.0, "herbaceous wetland": 7.0,
               "moss and lichen": 1.5, "bare or sparse vegetation": 0.3}  # fmt: skip
"""Biomass that is no tree's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SeasonalLand:
    """Maps (y, x) of one tile."""

    cover: np.ndarray
    """uint8: index into WorldCover's classes."""
    vegetation: np.ndarray
    """float32: share under tree canopy, 0 to 1."""
    biomass: np.ndarray
    """float32: above ground, t/ha."""
    built: np.ndarray
    """float32: share built over, 0 to 1."""
    broad: np.ndarray
    """float32: share of the trees that shed their leaves."""
    crop: np.ndarray
    """uint8: index into CROPS, where the class is cropland."""
    relief: np.ndarray
    """float32: how much slopes turn to the radar, standard deviation 1."""
    roughness: np.ndarray
    """float32: of the ground, 0 to 1."""
    streets_across: float
    """0: streets run along the orbit; 1: at 45 degrees."""


def seasonal_land(side: int, climate: Climate, *, tilt: np.ndarray, rng: np.random.Generator) -> SeasonalLand:
    """Draw the land of one tile.

    Args:
        side: Pixels.
        climate: Of its region.
        tilt: float (class + 1,): what this part of the region has more of (natural logarithm), and at the end
            the age of its trees; neighbours are alike.
        rng: Source of randomness.
    """
    shape = (side, side)
    cover = _cover(shape, climate, tilt[:-1], rng)
    number = parcels(shape, float(rng.uniform(0, np.pi)), max(4.0, side / 9), rng)
    crop = rng.choice(len(CROPS), size=int(number.max()) + 1, p=(0.35, 0.2, 0.25, 0.1, 0.1))[number]
    vegetation = _canopy(cover, rng)
    age = 0.35 * smooth_field(shape, scale_px=side / 6, rng=rng) + 0.25 * rng.standard_normal() + tilt[-1]
    stand = climate.stand_t_ha * np.exp(age) * _by_class(cover, _STAND, 1.0)
    herbs = _by_class(cover, _HERBS_T_HA, 0.0) * np.exp(
        0.3 * smooth_field(shape, scale_px=side / 10, rng=rng)
    )
    built = _built(cover, rng)
    mixture = 1 / (1 + np.exp(-2.5 * smooth_field(shape, scale_px=side / 8, rng=rng)))
    rough = 0.35 + 0.15 * smooth_field(shape, scale_px=2, rng=rng) + 0.35 * (cover == CLASS["cropland"])
    return SeasonalLand(
        cover=cover,
        vegetation=vegetation,
        biomass=((vegetation * stand + (1 - vegetation) * herbs) * (1 - built)).astype(np.float32),
        built=built,
        broad=np.clip(mixture * 2 * climate.broad, 0, 1).astype(np.float32),
        crop=crop.astype(np.uint8),
        relief=smooth_field(shape, scale_px=side / 7, rng=rng),
        roughness=np.clip(rough, 0, 1).astype(np.float32),
        streets_across=float(rng.uniform(0, 1)),
    )


def _cover(
    shape: tuple[int, int], climate: Climate, tilt: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Classes by share: water low, mangroves and wetland around it, others where their fields are high."""
    weights = np.array(climate.common) * np.exp(tilt)
    share = np.zeros(len(CLASS_NAMES))
    share[weights > 0] = rng.dirichlet(weights[weights > 0])
    share[share < _LEAST_SHARE] = 0
    share /= share.sum()
    low = smooth_field(shape, scale_px=min(shape) / 6, rng=rng)
    frayed = 0.25 * smooth_field(shape, scale_px=2, rng=rng)
    cover = np.full(shape, int(share.argmax()), np.uint8)
    free = np.ones(shape, bool)
    by_water = [CLASS[name] for name in ("permanent water", "mangroves", "herbaceous wetland")]
    others = [i for i in np.argsort(share) if i not in by_water and i != share.argmax()]
    for index in (*by_water, *others):
        own = low if index in by_water else smooth_field(shape, scale_px=min(shape) / 8, rng=rng)
        where = highest(own + frayed, float(share[index]), among=free)
        cover[where], free[where] = index, False
    return cover


def _canopy(cover: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    mean = _by_class(cover, {name: both[0] for name, both in _CANOPY.items()}, 0.0)
    spread = _by_class(cover, {name: both[1] for name, both in _CANOPY.items()}, 0.0)
    rough = smooth_field(cover.shape, scale_px=4, rng=rng) + 0.5 * smooth_field(
        cover.shape, scale_px=1, rng=rng
    )
    return np.clip(mean + spread * (rough + rng.normal()), 0, 0.98).astype(np.float32) * (mean > 0)


def _built(cover: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dense where towns are wide; a farm here and there in fields."""
    from scipy.ndimage import gaussian_filter

    town = cover == CLASS["built-up"]
    dense = gaussian_filter(town.astype(np.float32), max(1.0, min(cover.shape) / 20))
    share = np.where(town, 0.25 + 0.5 * dense + 0.12 * smooth_field(cover.shape, scale_px=2, rng=rng), 0)
    farms = (rng.random(cover.shape) < 0.004) & np.isin(cover, (CLASS["cropland"], CLASS["grassland"]))
    return np.clip(np.where(farms, 0.4, share), 0, 0.95).astype(np.float32)


def _by_class(cover: np.ndarray, values: dict[str, float], other: float) -> np.ndarray:
    return np.array([values.get(name, other) for name in CLASS_NAMES], np.float32)[cover]
