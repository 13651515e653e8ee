"""What land scatters in C band, VV and VH: soil, canopy, leaves, facades, flooded stems, water and snow.

Linear gamma0, as sums of the shares of a pixel. Levels at the ends are those of Sentinel-1 over plain
examples of each kind, within a few dB; what matters is how they move with moisture, biomass, leaves, frost:

- soil: dB rise with volumetric moisture (0.2 dB per per cent) and roughness; frost takes the moisture away;
- canopy: water cloud model (Attema and Ulaby, 1978): volume (1 - t) + ground t, with the two-way
  transmissivity t = exp(-(biomass / scale + leaf loss x leaf area)): VH rises with biomass and saturates at
  some 100 t/ha, as C band does;
- built area: double bounce of facades, strong in VV, stronger where streets run along the orbit;
- flooded vegetation: stems and water bounce twice; calm water mirrors away, wind roughens it;
- snow: dry it scatters in its volume, wet it absorbs.
"""

from __future__ import annotations

import numpy as np

BANDS = ("VV", "VH")


def _each(vv: float, vh: float) -> np.ndarray:
    """A number of each band, float32 (band, 1, 1)."""
    return np.array([vv, vh], np.float32)[:, None, None]


VOLUME = 10 ** (0.1 * _each(-7.7, -13.2))
"""Of a closed canopy."""
SCALE_T_HA = _each(32.0, 42.0)
"""Biomass of a canopy that lets 1 / e through, both ways."""
LEAF_LOSS = _each(0.10, 0.08)
"""Optical depth of one square metre of leaves per square metre, both ways."""
SOIL_DB = _each(-17.0, -25.5)
"""Dry and smooth."""
MOISTURE_DB = _each(20.0, 18.0)
"""Per unit of volumetric moisture."""
ROUGHNESS_DB = _each(2.0, 3.0)
"""From smooth (0) to ploughed (1)."""
FACADE = 10 ** (0.1 * _each(-1.5, -9.5))
"""Of a pixel all built over, streets along the orbit."""
ACROSS_DB = _each(-6.0, -2.0)
"""What is left of it, in dB, with streets at 45 degrees."""
WATER_DB = _each(-19.5, -26.5)
"""In usual wind."""
WIND_DB = _each(3.0, 1.5)
"""Per unit of wind."""
STEMS = 10 ** (0.1 * _each(-6.0, -14.0))
"""Of a closed stand of stems in water."""
DRY_SNOW_DB = _each(-8.5, -14.5)
WET_SNOW_DB = _each(-17.5, -24.0)
FROZEN_CANOPY_DB = _each(-1.6, -2.2)


def soil(moisture: np.ndarray, roughness: np.ndarray, *, frozen: float = 0.0) -> np.ndarray:
    """Bare ground, (band, y, x).

    Args:
        moisture: Volumetric, 0 to 0.5, (y, x).
        roughness: 0 to 1, (y, x).
        frozen: 0 thawed to 1 frozen: ice scatters as dry ground does.
    """
    wet = moisture * (1 - 0.85 * frozen)
    return np.asarray(10 ** (0.1 * (SOIL_DB + MOISTURE_DB * wet + ROUGHNESS_DB * roughness)))


def transmissivity(biomass: np.ndarray, leaf: np.ndarray) -> np.ndarray:
    """Share of power that passes a canopy both ways, (band, y, x); biomass in t/ha, leaf area in m2 a m2."""
    return np.asarray(np.exp(-(biomass / SCALE_T_HA + LEAF_LOSS * leaf)))


def canopy(ground: np.ndarray, biomass: np.ndarray, leaf: np.ndarray, *, frozen: float = 0.0) -> np.ndarray:
    """Ground (band, y, x) under plants: the water cloud model."""
    through = transmissivity(biomass, leaf)
    volume = VOLUME * 10 ** (0.1 * FROZEN_CANOPY_DB * frozen)
    return np.asarray(volume * (1 - through) + ground * through)


def flooded(water: np.ndarray, biomass: np.ndarray, leaf: np.ndarray) -> np.ndarray:
    """Plants in water (band, y, x): the water below, and stems with it, seen through what stands above."""
    through = transmissivity(biomass, leaf)
    stems = STEMS * (1 - np.exp(-biomass / 8)) * np.sqrt(through)
    return np.asarray(canopy(water, biomass, leaf) + stems)


def facades(share: np.ndarray, across: float) -> np.ndarray:
    """Double bounce of a built share 0 to 1 (y, x); `across`: streets run along at 0, at 45 degrees at 1."""
    return np.asarray(share * FACADE * 10 ** (0.1 * ACROSS_DB * across))


def open_water(wind: np.ndarray) -> np.ndarray:
    """Water (band, y, x); wind 0 is usual, -1 calm, 1 strong."""
    return np.asarray(10 ** (0.1 * (WATER_DB + WIND_DB * wind)))


def snow(wet: np.ndarray) -> np.ndarray:
    """Snow and ice (band, y, x): 0 dry to 1 wet."""
    return np.asarray(10 ** (0.1 * ((1 - wet) * DRY_SNOW_DB + wet * WET_SNOW_DB)))
