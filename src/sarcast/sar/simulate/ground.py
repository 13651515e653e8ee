"""The ground as the radar would see it without speckle: distributed clutter and steady points, in power."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sarcast.sar.simulate.fields import gamma_texture, rotated, smooth_field
from sarcast.sar.simulate.land_cover import COVERS, INDEX, Land
from sarcast.sar.simulate.settings import SimulateScene

PSF_PX = 0.6
"""Standard deviation of the point spread function (of power), pixels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """What scatters, before the sensor's point spread function."""

    clutter: np.ndarray
    """float32 (band, y, x): mean power of distributed scatterers, texture included."""
    points: np.ndarray
    """float32 (band, y, x): power of point scatterers, most pixels 0."""

    @property
    def power(self) -> np.ndarray:
        """Their sum, float32 (band, y, x)."""
        return np.asarray(self.clutter + self.points)


def blur(power: np.ndarray) -> np.ndarray:
    """`power` (..., y, x) through the point spread function, float32."""
    sigma = (0,) * (power.ndim - 2) + (PSF_PX, PSF_PX)
    return np.asarray(ndimage.gaussian_filter(power, sigma, mode="nearest", truncate=5))


def make_ground(land: Land, settings: SimulateScene, *, rng: np.random.Generator) -> Ground:
    """Class means with relief, texture and structure, for every band of `settings`."""
    shape = land.cover.shape
    flat = settings.land_cover == "flat"
    fine = settings.kind == "capella"
    texture = np.ones(shape, np.float32) if flat else _texture(land, fine, rng)
    if settings.clutter == "k":
        texture = texture * gamma_texture(shape, variation=settings.k_order**-0.5, scale_px=1.0, rng=rng)
    if not flat:
        texture *= 10 ** (0.1 * _structure_db(land, fine, settings.look_side, rng))
    strength = np.zeros(shape, np.float32) if flat else _points(land, fine, rng)
    clutter, points = [], []
    for band in settings.bands:
        mean = class_power(band)[land.cover]
        clutter.append(mean * texture)
        points.append(strength * np.float32({"HH": 1.0, "VV": 1.0, "VH": 0.12}[band]))
    return Ground(clutter=np.stack(clutter), points=np.stack(points))


def class_power(band: str) -> np.ndarray:
    """Mean linear power of each class of COVERS in `band`, float32."""
    level = [{"HH": cover.hh_db, "VV": cover.vv_db, "VH": cover.vh_db}[band] for cover in COVERS]
    return (10 ** (0.1 * np.array(level))).astype(np.float32)


def _texture(land: Land, fine: bool, rng: np.random.Generator) -> np.ndarray:
    """Each class's own texture; at 30 m a pixel averages most of it away."""
    texture = np.ones(land.cover.shape, np.float32)
    for index, cover in enumerate(COVERS):
        where = land.cover == index
        if where.any():
            variation = cover.variation if fine else 0.4 * cover.variation
            scale = cover.texture_px if fine else 1.2
            texture[where] = gamma_texture(where.shape, variation=variation, scale_px=scale, rng=rng)[where]
    return texture


def _structure_db(land: Land, fine: bool, look_side: str, rng: np.random.Generator) -> np.ndarray:
    """Slopes, parcel rows, forest edges and buildings, dB (y, x). Range runs along x."""
    towards = 1 if look_side == "right" else -1
    slope = ndimage.gaussian_filter1d(land.height, 3, axis=1, order=1)
    level = np.float32(-0.8 * towards) * slope / max(float(slope.std()), 1e-6)
    level[(land.cover == INDEX["water"]) | (land.cover == INDEX["tidal flat"])] = 0
    own = rng.normal(0, 1.5, land.crop.size).astype(np.float32)
    own[0] = 0
    level += own[land.parcel]
    if not fine:
        patchy = 0.7 + 1.1 * (land.cover == INDEX["urban"]) - 0.6 * (land.cover == INDEX["water"])
        level += patchy.astype(np.float32) * smooth_field(land.cover.shape, scale_px=3, rng=rng)
    else:
        level += _rows_db(land, rng) + _forest_edges_db(land, towards) + _buildings_db(land, towards, rng)
    return np.asarray(level, np.float32)


def _rows_db(land: Land, rng: np.random.Generator) -> np.ndarray:
    """Plough lines and crop rows, in about every second parcel."""
    along, across = rotated(land.cover.shape, land.angle_rad)
    depth = np.where(rng.random(land.crop.size) < 0.5, rng.uniform(0.5, 1.6, land.crop.size), 0)
    depth[0] = 0
    turned = rng.random(land.crop.size) < 0.5
    period = rng.uniform(4, 8, land.crop.size).astype(np.float32)
    phase = np.where(turned[land.parcel], along, across) * np.float32(2 * np.pi) / period[land.parcel]
    return np.asarray(depth.astype(np.float32)[land.parcel] * np.sin(phase))


def _forest_edges_db(land: Land, towards: int) -> np.ndarray:
    """The edge facing the radar is bright, the far one throws a shadow some pixels long."""
    forest = land.cover == INDEX["forest"]
    rim = forest & ~np.roll(forest, 3 * towards, axis=1)
    shade = ~forest & np.roll(forest, 5 * towards, axis=1) & (land.cover != INDEX["urban"])
    return np.asarray(2.5 * rim.astype(np.float32) - 5 * shade.astype(np.float32))


def _buildings_db(land: Land, towards: int, rng: np.random.Generator) -> np.ndarray:
    """Blocks between streets; each building has a bright front (double bounce) and a dark back."""
    along, across = rotated(land.cover.shape, land.angle_rad)
    block = rng.uniform(26, 34, 2)
    u, v = np.mod(along, block[0]), np.mod(across, block[1])
    street = (u < 5) | (v < 5)
    lot_u, lot_v = np.mod(u - 5, 12), np.mod(v - 5, 10)
    key = (np.floor(along / 12).astype(int) * 7919 + np.floor(across / 10).astype(int)) % 997
    tall = rng.normal(0, 2.0, 997).astype(np.float32)[key]
    front, back = (lot_u < 2, lot_u > 8.5) if towards > 0 else (lot_u > 10, lot_u < 3.5)
    level = np.where(street, -7, np.where(front, 7 + tall, np.where(back, -6, -1 + 0.5 * tall)))
    level = np.where(~street & (lot_v < 1.5), -5, level)
    return np.where(land.cover == INDEX["urban"], level, 0).astype(np.float32)


def _points(land: Land, fine: bool, rng: np.random.Generator) -> np.ndarray:
    """Peaks of point scatterers before the point spread function, co-polar power (y, x)."""
    share = np.zeros(len(COVERS), np.float32)
    for name, value in {"urban": 0.012, "forest": 0.0006, "fields": 0.0002, "road": 0.0015}.items():
        share[INDEX[name]] = value
    where = rng.random(land.cover.shape, dtype=np.float32) < share[land.cover]
    peak_db = rng.normal(8.0 if fine else 4.0, 4.0, int(where.sum()))
    peak_db[land.cover[where] != INDEX["urban"]] -= 3
    strength = np.zeros(land.cover.shape, np.float32)
    strength[where] = 10 ** (0.1 * np.clip(peak_db, -10, 18))
    return strength
