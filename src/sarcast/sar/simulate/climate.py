"""Three climates for seasonal tiles: which land is common, how trees grow, and what seasons do."""

from __future__ import annotations

from dataclasses import dataclass

from sarcast.sar.simulate.land_cover import CROPS
from sarcast.sar.world_cover import CLASS_NAMES

PLANTS = ("needle", "broad", "herbs", *CROPS)
"""What has leaves: evergreen and leaf-shedding trees, herbs, and crops."""


@dataclass(frozen=True, kw_only=True)
class Climate:
    """What tiles of a region have in common. Seasons are DJF, MAM, JJA, SON."""

    common: tuple[float, ...]
    """How common each class of WorldCover is: the weights of a Dirichlet draw for each tile."""
    stand_t_ha: float
    """Median biomass under closed trees."""
    broad: float
    """Share of trees that shed their leaves."""
    moisture: tuple[float, float, float, float]
    """Volumetric, of the soil."""
    frozen: tuple[float, float, float, float]
    """Share of the season in frost."""
    melting: tuple[float, float, float, float]
    """Wetness of lasting snow."""
    water: tuple[float, float, float, float]
    """How high wetlands stand in water, 0 to 1."""
    leaf: dict[str, tuple[float, float, float, float]]
    """Leaf area of each of `PLANTS`, m2 per m2."""


def _common(**weights: float) -> tuple[float, ...]:
    """In the order of WorldCover's classes, underscores for spaces; unnamed ones do not occur."""
    named = {name.replace("_", " "): weight for name, weight in weights.items()}
    named["built-up"] = named.pop("built", 0.0)
    named["bare or sparse vegetation"] = named.pop("bare", 0.0)
    return tuple(named.get(name, 0.0) for name in CLASS_NAMES)


_TEMPERATE_LEAF = {
    "needle": (4.0, 4.0, 4.5, 4.5),
    "broad": (0.3, 2.5, 5.0, 2.5),
    "herbs": (0.6, 2.0, 2.5, 1.5),
    "cereal": (0.6, 3.5, 1.5, 0.1),
    "hay": (0.8, 3.0, 2.0, 2.0),
    "maize": (0.0, 0.3, 4.0, 1.2),
    "irrigated": (0.2, 1.0, 3.5, 3.0),
    "fallow": (0.3, 0.6, 0.8, 0.5),
}

CLIMATES: dict[str, Climate] = {
    "temperate": Climate(
        common=_common(
            tree_cover=1.2, shrubland=0.35, grassland=0.9, cropland=1.4, built=0.7, bare=0.2,
            snow_and_ice=0.08, permanent_water=0.4, herbaceous_wetland=0.25, mangroves=0.03,
            moss_and_lichen=0.08,
        ),
        stand_t_ha=120,
        broad=0.5,
        moisture=(0.30, 0.24, 0.14, 0.22),
        frozen=(0.25, 0.0, 0.0, 0.0),
        melting=(0.1, 0.5, 1.0, 0.4),
        water=(0.8, 0.7, 0.2, 0.4),
        leaf=_TEMPERATE_LEAF,
    ),
    "boreal": Climate(
        common=_common(
            tree_cover=1.5, shrubland=0.5, grassland=0.5, cropland=0.25, built=0.25, bare=0.3,
            snow_and_ice=0.3, permanent_water=0.7, herbaceous_wetland=0.6, moss_and_lichen=0.7,
        ),
        stand_t_ha=70,
        broad=0.25,
        moisture=(0.28, 0.34, 0.22, 0.28),
        frozen=(0.95, 0.4, 0.0, 0.2),
        melting=(0.0, 0.2, 0.9, 0.2),
        water=(0.3, 0.9, 0.5, 0.5),
        leaf=_TEMPERATE_LEAF | {"broad": (0.1, 0.8, 4.5, 1.0), "herbs": (0.1, 0.5, 2.2, 0.9)},
    ),
    "tropical": Climate(
        common=_common(
            tree_cover=1.7, shrubland=0.6, grassland=0.7, cropland=0.8, built=0.4, bare=0.25,
            permanent_water=0.5, herbaceous_wetland=0.4, mangroves=0.5,
        ),
        stand_t_ha=200,
        broad=0.85,
        moisture=(0.14, 0.20, 0.34, 0.28),
        frozen=(0.0, 0.0, 0.0, 0.0),
        melting=(0.0, 0.0, 0.0, 0.0),
        water=(0.3, 0.4, 1.0, 0.8),
        leaf={
            "needle": (4.5, 4.5, 5.0, 5.0),
            "broad": (4.5, 4.0, 5.5, 5.5),
            "herbs": (0.8, 1.0, 3.0, 2.2),
            "cereal": (2.0, 0.3, 0.5, 1.0),
            "hay": (1.2, 1.5, 3.0, 2.5),
            "maize": (0.4, 0.6, 3.8, 1.5),
            "irrigated": (3.0, 1.0, 3.5, 3.0),
            "fallow": (0.4, 0.4, 1.2, 0.8),
        },
    ),
}  # fmt: skip
