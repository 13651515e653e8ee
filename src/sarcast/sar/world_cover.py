"""The 11 land-cover classes of ESA WorldCover 2020 and 2021, with the numbers its maps hold."""

from __future__ import annotations

WORLD_COVER: dict[int, str] = {
    10: "tree cover",
    20: "shrubland",
    30: "grassland",
    40: "cropland",
    50: "built-up",
    60: "bare or sparse vegetation",
    70: "snow and ice",
    80: "permanent water",
    90: "herbaceous wetland",
    95: "mangroves",
    100: "moss and lichen",
}
CLASS_NAMES: tuple[str, ...] = tuple(WORLD_COVER.values())
CODES: tuple[int, ...] = tuple(WORLD_COVER)
CLASS: dict[str, int] = {name: index for index, name in enumerate(CLASS_NAMES)}
"""Name -> index, which is what label maps of sarcast hold."""
