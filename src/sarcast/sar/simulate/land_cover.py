"""Land cover: the classes with how they scatter, and the map of one place made from random fields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sarcast.sar.simulate.fields import highest, rotated, smooth_field


@dataclass(frozen=True, kw_only=True)
class Cover:
    """How one class scatters and what moves it."""

    name: str
    hh_db: float
    """Mean sigma0 in X band, HH, at 37 degrees incidence."""
    vv_db: float
    """Mean gamma0 in C band, VV."""
    vh_db: float
    """Mean gamma0 in C band, VH."""
    incidence_power: float
    """sigma0 falls as cos(incidence) to this power."""
    variation: float
    """Coefficient of variation of the metre-scale texture."""
    texture_px: float
    """Its correlation scale, pixels."""
    season_db: float = 0.0
    """Amplitude of the annual cycle."""
    rain_db: float = 0.0
    """Rise right after a usual rain."""
    frost_db: float = 0.0
    """Drop while frozen."""
    wind_db: float = 0.0
    """Response to wind, dB per unit of it."""


COVERS: tuple[Cover, ...] = (
    Cover(name="water", hh_db=-19.5, vv_db=-17, vh_db=-25, incidence_power=8, variation=0.12, texture_px=5,
          wind_db=1.3),
    Cover(name="tidal flat", hh_db=-14.5, vv_db=-13.5, vh_db=-22, incidence_power=4, variation=0.25,
          texture_px=5),
    Cover(name="bare soil", hh_db=-13, vv_db=-12.5, vh_db=-21, incidence_power=2.5, variation=0.28,
          texture_px=2.5, rain_db=0.9),
    Cover(name="fields", hh_db=-11.5, vv_db=-11, vh_db=-18, incidence_power=1.5, variation=0.18,
          texture_px=1.5, rain_db=0.4, frost_db=0.3),
    Cover(name="grass", hh_db=-12, vv_db=-12, vh_db=-18.5, incidence_power=1.5, variation=0.22,
          texture_px=2.5, season_db=0.5, rain_db=0.3, frost_db=2.0),
    Cover(name="forest", hh_db=-9, vv_db=-8.5, vh_db=-14, incidence_power=1, variation=0.7, texture_px=1.2,
          season_db=0.3, rain_db=0.15, frost_db=0.6),
    Cover(name="urban", hh_db=-8, vv_db=-6.5, vh_db=-13.5, incidence_power=1, variation=0.7, texture_px=1.2),
    Cover(name="road", hh_db=-18, vv_db=-15, vh_db=-23, incidence_power=3, variation=0.15, texture_px=2),
    Cover(name="parking", hh_db=-15, vv_db=-11, vh_db=-19, incidence_power=2, variation=0.2, texture_px=1.5),
    Cover(name="lava", hh_db=-7, vv_db=-9, vh_db=-16, incidence_power=1, variation=0.6, texture_px=2),
)  # fmt: skip
CLASS_NAMES: tuple[str, ...] = tuple(cover.name for cover in COVERS)
INDEX: dict[str, int] = {name: index for index, name in enumerate(CLASS_NAMES)}
CROPS: tuple[str, ...] = ("cereal", "hay", "maize", "irrigated", "fallow")


@dataclass(frozen=True, kw_only=True, eq=False)
class Land:
    """The map of one place."""

    cover: np.ndarray
    """uint8 (y, x): index into COVERS."""
    parcel: np.ndarray
    """int32 (y, x): parcel of fields, counted from 1; 0 elsewhere."""
    crop: np.ndarray
    """uint8 (parcels + 1,): index into CROPS; entry 0 is unused."""
    slot: np.ndarray
    """int32 (y, x): parking slot, counted from 1; 0 elsewhere."""
    height: np.ndarray
    """float32 (y, x): smooth relief of unit variance."""
    shore: np.ndarray
    """float32 (y, x): height over the lowest tide as a share of the tidal range, within the tidal flat."""
    angle_rad: float
    """Direction of streets and parcels."""


def flat_land(shape: tuple[int, int]) -> Land:
    """Bare soil everywhere."""
    zeros = np.zeros(shape, np.float32)
    return Land(
        cover=np.full(shape, INDEX["bare soil"], np.uint8),
        parcel=np.zeros(shape, np.int32),
        crop=np.zeros(1, np.uint8),
        slot=np.zeros(shape, np.int32),
        height=zeros,
        shore=zeros,
        angle_rad=0.0,
    )


def mixed_land(shape: tuple[int, int], *, fine: bool, rng: np.random.Generator) -> Land:
    """A coast with a tidal flat, forest, a town with car parks, grass, bare ground, roads and parcels.

    Args:
        shape: (rows, cols).
        fine: Metre-class pixels: roads, streets and parking slots are resolved.
        rng: Source of randomness.
    """
    scale = min(shape) / 9
    height = smooth_field(shape, scale_px=1.4 * scale, rng=rng)
    angle = float(rng.uniform(0.15, 0.6) * rng.choice([-1, 1]))
    sea = _sea_level(shape, height, rng)
    cover = np.full(shape, INDEX["fields"], np.uint8)
    free = np.ones(shape, bool)

    frayed = 0.12 * smooth_field(shape, scale_px=2.5, rng=rng) + 0.15 * smooth_field(
        shape, scale_px=7, rng=rng
    )

    def lay(name: str, scale_px: float, share: float) -> None:
        field = smooth_field(shape, scale_px=scale_px, rng=rng) + frayed
        where = highest(field, share, among=free)
        cover[where] = INDEX[name]
        free[where] = False

    wet = highest(sea, 0.16)
    water = highest(sea, 0.12)
    cover[wet], cover[water], free[wet] = INDEX["tidal flat"], INDEX["water"], False
    lay("forest", 0.8 * scale, 0.22)
    lay("urban", 1.1 * scale, 0.12)
    lay("grass", 0.6 * scale, 0.10)
    lay("bare soil", 0.5 * scale, 0.07)
    parcel = parcels(shape, angle, 34 if fine else 11, rng)
    slot = np.zeros(shape, np.int32)
    if fine:
        slot = _car_parks(cover, angle, rng)
        cover[slot > 0] = INDEX["parking"]
        roads = _roads(shape, angle, rng) & (cover != INDEX["water"]) & (cover != INDEX["tidal flat"])
        cover[roads] = INDEX["road"]
        slot[roads] = 0
    parcel[cover != INDEX["fields"]] = 0
    crop = rng.choice(len(CROPS), size=int(parcel.max()) + 1, p=(0.3, 0.25, 0.2, 0.1, 0.15)).astype(np.uint8)
    return Land(
        cover=cover,
        parcel=parcel,
        crop=crop,
        slot=slot,
        height=height,
        shore=_shore(sea, wet & ~water),
        angle_rad=angle,
    )


def _sea_level(shape: tuple[int, int], height: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Higher is deeper: a slope to one side of the frame, bent by the relief."""
    along, _ = rotated(shape, float(rng.uniform(0, 2 * np.pi)))
    return (2.2 * along / max(shape) * 2 - 0.9 * height).astype(np.float32)


def _shore(sea: np.ndarray, tidal: np.ndarray) -> np.ndarray:
    if not tidal.any():
        return np.zeros(sea.shape, np.float32)
    deep, dry = float(sea[tidal].max()), float(sea[tidal].min())
    return np.clip((deep - sea) / max(deep - dry, 1e-6), 0, 1).astype(np.float32)


def parcels(shape: tuple[int, int], angle: float, width: float, rng: np.random.Generator) -> np.ndarray:
    """Strips of uneven width, each cut to uneven lengths: int32 parcel numbers from 1."""
    along, across = rotated(shape, angle)
    reach = float(np.hypot(*shape))
    count = int(np.ceil(reach / (0.5 * width))) + 1
    strips = -reach / 2 + np.cumsum(rng.uniform(0.6, 1.6, count) * width)
    strip = np.searchsorted(strips, across)
    starts = rng.uniform(0, 3 * width, count + 1).astype(np.float32)
    lengths = (rng.uniform(1.2, 3.2, count + 1) * width).astype(np.float32)
    piece = np.floor((along + reach / 2 + starts[strip]) / lengths[strip]).astype(np.int64)
    _, number = np.unique(strip * (piece.max() + 1) + piece, return_inverse=True)
    return (number.reshape(shape) + 1).astype(np.int32)


def _car_parks(cover: np.ndarray, angle: float, rng: np.random.Generator) -> np.ndarray:
    """Rectangles of parking slots (3 x 6 pixels) within the town: int32 slot numbers from 1, else 0."""
    along, across = rotated(cover.shape, angle)
    town = cover == INDEX["urban"]
    rows, cols = np.nonzero(town)
    inside = np.zeros(cover.shape, bool)
    for _ in range(max(1, round(town.sum() / 8000))) if len(rows) else ():
        at = int(rng.integers(len(rows)))
        half = rng.uniform(10, 20, 2)
        near = np.abs(along - along[rows[at], cols[at]]) < half[0]
        inside |= near & (np.abs(across - across[rows[at], cols[at]]) < half[1]) & town
    key = (np.floor(along / 3) + 10000) * 100000 + np.floor(across / 6) + 10000
    _, number = np.unique(key, return_inverse=True)
    return np.where(inside, number.reshape(cover.shape) + 1, 0).astype(np.int32)


def _roads(shape: tuple[int, int], angle: float, rng: np.random.Generator) -> np.ndarray:
    """A few long, gently bent roads, about 4 pixels wide, along and across the parcels."""
    roads = np.zeros(shape, bool)
    for turn in (0.0, np.pi / 2):
        along, across = rotated(shape, angle + turn)
        for _ in range(max(1, round(min(shape) / 260))):
            middle = rng.uniform(-0.4, 0.4) * min(shape)
            bend = 0.05 * min(shape) * np.sin(along / (0.35 * max(shape)) + rng.uniform(0, 2 * np.pi))
            roads |= np.abs(across - middle - bend) < 2.0
    return np.asarray(ndimage.binary_closing(roads) | roads)
