"""Training, test and validation by place, in oblique bands over a region, with a buffer between them.

Bands as in geetiles and M3LEO (arXiv 2406.04230): centres of tiles are scaled to the unit square, projected
on an oblique axis, and cut into bands of equal width that are three times train, once test, once val, over
and over. M3LEO has no buffer: tiles of different roles touch, and what is near is alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sarcast.errors import DataError, SettingsError, ShapeError

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

PATTERN = ("train", "train", "train", "test", "val")
"""Roles of consecutive bands: shares of 60, 20 and 20 %."""
UNUSED = "unused"
"""Role of a tile within the buffer of a tile of a role that counts more: test, then val, then train."""
REGION_ANGLES = {
    "conus": 0.9,
    "europe": 0.9,
    "china": 1.5,
    "middleeast": 1.5,
    "pakin": 1.5,
    "southamerica": 0.2,
}
"""Angles of M3LEO's regions, radians, as the names of its files seem to say (09, 15 and 02)."""
_EARTH_M = 6_335_000.0
"""Least radius of curvature of the WGS 84 ellipsoid: no distance is overstated."""


def split_bands(
    boxes: Sequence[GeoBox], *, angle_rad: float = 0.9, bands: int = 60, buffer_m: float = 0.0
) -> np.ndarray:
    """Role of every tile: train, test, val, or unused where it lies within the buffer.

    No tile of train lies within `buffer_m` of one of test or val, and none of val within it of one of test.
    Test loses nothing, so test figures with and without a buffer are of the same tiles.

    Args:
        boxes: Grids of the tiles, in any CRS.
        angle_rad: Of the axis, -pi/2 to pi/2; at 0 bands run along parallels, at +-pi/2 along meridians.
        bands: How many.
        buffer_m: Least distance between edges of tiles of different roles, metres; 0: they may touch.

    Raises:
        DataError: Too few tiles for the bands, or the buffer leaves nothing of a role: fewer bands are wider.
        SettingsError: An angle, number of bands or buffer out of range.
    """
    centres, radii = footprints(boxes)
    return roles_of(centres, radii, angle_rad=angle_rad, bands=bands, buffer_m=buffer_m)


def roles_of(
    centres: np.ndarray, radii_m: np.ndarray, *, angle_rad: float, bands: int = 60, buffer_m: float = 0.0
) -> np.ndarray:
    """The same from centres, (tile, 2) longitude and latitude in degrees, and half diagonals in metres."""
    if bands < len(PATTERN) or not buffer_m >= 0:
        raise SettingsError(f"need bands >= {len(PATTERN)} and buffer_m >= 0, got {bands} and {buffer_m}")
    index = band_index(_connected(centres), angle_rad=angle_rad, bands=bands)
    roles = np.array(PATTERN, dtype="<U6")[index % len(PATTERN)]
    if buffer_m > 0:
        roles = _buffered(roles, _on_sphere(centres), np.asarray(radii_m, float), buffer_m)
    missing = [role for role in ("train", "test", "val") if not (roles == role).any()]
    if missing:
        raise DataError(
            f"expected tiles of train, test and val, found none of {' and '.join(missing)} among "
            f"{len(roles)} tiles in {bands} bands with a buffer of {buffer_m:g} m"
        )
    return roles


def band_index(centres: np.ndarray, *, angle_rad: float, bands: int) -> np.ndarray:
    """Number of each tile's band, int (tile,), from 0; centres (tile, 2) in any unit, x first.

    Raises:
        SettingsError: The angle is not within -pi/2 to pi/2.
        ShapeError: Not (tile, 2).
    """
    if not -np.pi / 2 <= angle_rad <= np.pi / 2:
        raise SettingsError(f"expected an angle within -pi/2 and pi/2, found {angle_rad}")
    if centres.ndim != 2 or centres.shape[1] != 2 or not len(centres):
        raise ShapeError(f"expected centres (tile, 2), found {centres.shape}")
    low, high = centres.min(0), centres.max(0)
    unit = (centres - low) / np.where(high > low, high - low, 1)
    turn = abs(angle_rad) / (np.pi / 4)
    across, up = (turn, 1.0) if turn < 1 else (1.0, 2 - turn)
    along = np.copysign(across, angle_rad) * unit[:, 0] + up * unit[:, 1]
    span = float(along.max() - along.min()) or 1.0
    return np.minimum((along - along.min()) / span * bands, bands - 1).astype(int)


def footprints(boxes: Sequence[GeoBox]) -> tuple[np.ndarray, np.ndarray]:
    """Centres (tile, 2) of tiles, longitude and latitude in degrees, and half diagonals (tile,) in metres."""
    from affine import Affine
    from pyproj import Transformer

    to_degrees = {
        str(box.crs): Transformer.from_crs(str(box.crs), "EPSG:4326", always_xy=True) for box in boxes
    }
    centres, radii = np.zeros((len(boxes), 2)), np.zeros(len(boxes))
    for i, box in enumerate(boxes):
        ends = Affine(*box.transform[:6]) @ Affine.scale(box.shape[1], box.shape[0])
        x, y = np.array([ends @ at for at in ((0.5, 0.5), (0, 0), (1, 0), (0, 1), (1, 1))]).T
        degrees = np.stack(to_degrees[str(box.crs)].transform(x, y), 1)
        metres = _on_sphere(degrees)
        centres[i], radii[i] = degrees[0], np.linalg.norm(metres[1:] - metres[0], axis=1).max()
    return centres, radii


def _connected(degrees: np.ndarray) -> np.ndarray:
    """Longitudes within 180 degrees of the first: what lies across the date line is not torn apart."""
    lon = (degrees[:, 0] - degrees[0, 0] + 180) % 360 - 180 + degrees[0, 0]
    return np.stack([lon, degrees[:, 1]], 1)


def _buffered(roles: np.ndarray, at: np.ndarray, radii: np.ndarray, buffer_m: float) -> np.ndarray:
    """Roles, unused where too near to a stronger one; straight lines are never longer than the ground's."""
    from scipy.spatial import cKDTree

    roles = roles.copy()
    for strong, weak in (("test", ("val", "train")), ("val", ("train",))):
        own = np.flatnonzero(roles == strong)
        others = np.flatnonzero(np.isin(roles, weak))
        if not len(own) or not len(others):
            continue
        tree = cKDTree(at[own])
        reach = buffer_m + radii[others] + radii[own].max()
        for other, near in zip(others, tree.query_ball_point(at[others], reach), strict=True):
            apart = np.linalg.norm(at[own[near]] - at[other], axis=1) - radii[own[near]] - radii[other]
            if (apart <= buffer_m).any():
                roles[other] = UNUSED
    return roles


def _on_sphere(degrees: np.ndarray) -> np.ndarray:
    """Longitude and latitude (n, 2) as points (n, 3) in metres."""
    lon, lat = np.radians(degrees).T
    return _EARTH_M * np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], 1)
