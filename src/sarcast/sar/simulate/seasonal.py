"""Simulated seasonal tiles whose land is known: 12 channels; class, canopy, built share, biomass per pixel.

The land is drawn, `backscatter` makes power of it, season by season, then slopes, texture, the point spread
function and speckle come over it. No channel is a label: slopes, soil moisture, canopy structure,
street directions and wind move the same channels, and C band saturates with biomass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from sarcast.runtime.settings import Settings
from sarcast.sar.seasons import SEASONS, SeasonalStack, in_channels
from sarcast.sar.simulate import backscatter
from sarcast.sar.simulate.climate import CLIMATES, Climate
from sarcast.sar.simulate.fields import gamma_texture, smooth_field
from sarcast.sar.simulate.ground import blur
from sarcast.sar.simulate.land_cover import CROPS
from sarcast.sar.simulate.seasonal_land import SeasonalLand, seasonal_land
from sarcast.sar.simulate.speckle import speckle
from sarcast.sar.world_cover import CLASS, CLASS_NAMES

_ORIGIN_M = (500_000.0, 5_000_000.0)
_CRS = "EPSG:32632"
_PIXEL_M = 10.0


class SimulateSeasons(Settings):
    """A region of seasonal tiles."""

    climate: Literal["temperate", "boreal", "tropical"] = "temperate"
    """Which land is common, how trees grow, what seasons do; three regions to learn in one and be judged in
    another."""
    tiles: tuple[int, int] = (8, 8)
    """Rows and columns of tiles, which touch."""
    side: int = Field(64, ge=16)
    """Of a tile, pixels of 10 m."""
    dates: tuple[int, int] = (5, 9)
    """Acquisitions a season has, least and most; a tile has the same in both bands."""
    looks: float = Field(4.4, gt=0)
    """Equivalent looks of one acquisition; those of Sentinel-1 GRD in IW."""
    slopes_db: float = Field(1.2, ge=0)
    """Standard deviation of what slopes do to all channels."""
    texture: float = Field(0.22, ge=0)
    """Coefficient of variation of the ground's own texture."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledTile:
    """A tile and what is true of it, (y, x) each."""

    image: SeasonalStack
    land_cover: np.ndarray
    """uint8: index into `class_names`."""
    vegetation: np.ndarray
    """float32: share under tree canopy, 0 to 1."""
    built: np.ndarray
    """float32: share built over, 0 to 1."""
    biomass: np.ndarray
    """float32: above ground, t/ha."""
    class_names: tuple[str, ...] = CLASS_NAMES


def simulate_seasons(settings: SimulateSeasons, *, rng: np.random.Generator) -> Iterator[LabelledTile]:
    """The tiles of a region, row by row, one after the other. The same generator state gives the same bytes.

    Args:
        settings: What to simulate.
        rng: Source of randomness; must come from a seed sequence (as `np.random.default_rng` does).
    """
    climate = CLIMATES[settings.climate]
    rows, cols = settings.tiles
    for_region, *for_tiles = rng.spawn(rows * cols + 1)
    tilt = np.stack(
        [smooth_field((rows, cols), scale_px=1.5, rng=for_region) for _ in range(len(CLASS_NAMES) + 1)], -1
    ) * np.array([0.8] * len(CLASS_NAMES) + [0.3])
    for number, own in enumerate(for_tiles):
        row, col = divmod(number, cols)
        land = seasonal_land(settings.side, climate, tilt=tilt[row, col], rng=own)
        yield LabelledTile(
            image=_image(settings, climate, land, (row, col), rng=own),
            land_cover=land.cover,
            vegetation=land.vegetation,
            built=land.built,
            biomass=land.biomass,
        )


def season_power(
    land: SeasonalLand, climate: Climate, season: int, *, moisture: np.ndarray, wind: np.ndarray
) -> np.ndarray:
    """Power of a tile in one season without slopes, texture and speckle, float (band, y, x), VV and VH.

    Args:
        land: The tile's.
        climate: Its region's.
        season: Index into SEASONS.
        moisture: Volumetric, of the soil, (y, x).
        wind: On water, 0 is usual, (y, x).
    """
    frozen = climate.frozen[season]
    ground = backscatter.soil(moisture, land.roughness, frozen=frozen)
    low = np.select(
        [land.cover == CLASS["cropland"], land.cover == CLASS["bare or sparse vegetation"]],
        [np.array([climate.leaf[crop][season] for crop in CROPS])[land.crop], 0.1],
        climate.leaf["herbs"][season],
    )
    under = np.maximum(1 - land.vegetation, 0.02)
    herbs = np.where(land.vegetation < 0.4, land.biomass, 0) * (low > 0)
    herbs = np.minimum(herbs / under, 12)
    needle, broad = climate.leaf["needle"][season], climate.leaf["broad"][season]
    leaf = land.broad * broad + (1 - land.broad) * needle
    trees = land.biomass / np.maximum(land.vegetation, 0.05)
    power = (1 - land.vegetation) * backscatter.canopy(ground, 0.5 * herbs, low, frozen=frozen)
    power += land.vegetation * backscatter.canopy(ground, trees, leaf, frozen=frozen)
    power = (1 - land.built) * power + backscatter.facades(land.built, land.streets_across)
    return _wet_and_white(power, land, climate, season, wind=wind, leaf=leaf, low=low)


def _wet_and_white(
    power: np.ndarray,
    land: SeasonalLand,
    climate: Climate,
    season: int,
    *,
    wind: np.ndarray,
    leaf: np.ndarray,
    low: np.ndarray,
) -> np.ndarray:
    """Water, wetlands, mangroves and lasting snow in the place of what was there."""
    water = backscatter.open_water(wind)
    ice = climate.frozen[season]
    water = (1 - ice) * water + ice * backscatter.soil(np.full_like(wind, 0.05), np.full_like(wind, 0.3))
    level = climate.water[season] * (1 - ice)
    wetland = level * backscatter.flooded(water, land.biomass, low) + (1 - level) * power
    mangroves = backscatter.flooded(water, land.biomass / np.maximum(land.vegetation, 0.3), leaf)
    return np.asarray(
        np.select(
            [
                land.cover == CLASS["permanent water"],
                land.cover == CLASS["herbaceous wetland"],
                land.cover == CLASS["mangroves"],
                land.cover == CLASS["snow and ice"],
            ],
            [water, wetland, mangroves, backscatter.snow(np.full_like(wind, climate.melting[season]))],
            power,
        )
    )


def _image(
    settings: SimulateSeasons,
    climate: Climate,
    land: SeasonalLand,
    place: tuple[int, int],
    *,
    rng: np.random.Generator,
) -> SeasonalStack:
    from affine import Affine
    from odc.geo.geobox import GeoBox

    shape = land.cover.shape
    texture = gamma_texture(shape, variation=settings.texture, scale_px=1.2, rng=rng)
    bright = gamma_texture(shape, variation=0.9, scale_px=0.8, rng=rng)
    still = 10 ** (0.1 * (settings.slopes_db * land.relief + 0.3 * rng.standard_normal((2, 1, 1))))
    still = still * np.where(land.built > 0.2, bright, texture)
    wet = 0.02 * smooth_field(shape, scale_px=settings.side / 8, rng=rng)
    power = np.zeros((2, len(SEASONS), *shape), np.float32)
    for season in range(len(SEASONS)):
        moisture = np.clip(climate.moisture[season] + wet + 0.035 * rng.standard_normal(), 0.03, 0.5)
        wind = 0.6 * rng.standard_normal() + 0.15 * smooth_field(shape, scale_px=settings.side / 8, rng=rng)
        mean = season_power(land, climate, season, moisture=moisture, wind=wind) * still
        dates = int(rng.integers(settings.dates[0], settings.dates[1] + 1))
        power[:, season] = blur(mean.astype(np.float32)) * speckle(
            (2, *shape), looks=dates * settings.looks, rng=rng
        )
    pixel = settings.side * _PIXEL_M
    left, top = _ORIGIN_M[0] + place[1] * pixel, _ORIGIN_M[1] - place[0] * pixel
    return in_channels(
        power,
        np.ones((len(SEASONS), *shape), bool),
        geobox=GeoBox(shape, Affine(_PIXEL_M, 0, left, 0, -_PIXEL_M, top), _CRS),
        name=f"{settings.climate}_{place[0]}_{place[1]}",
        statistic="mean",
        radiometry="gamma0",
    )
