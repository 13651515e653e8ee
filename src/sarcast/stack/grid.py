"""The one grid of a stack: native UTM pixels, fixed by history, cut to the area of interest."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.errors import SettingsError, StackError
from sarcast.stack.group import footprint
from sarcast.values import Scene, SceneFile

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

Bounds = tuple[float, float, float, float]
_TOLERANCE_PX = 1e-4


def stack_grid(scenes: Sequence[Scene], *, resolution_m: float | None = None, area: Any = None) -> GeoBox:
    """The grid on which all dates of a stack are laid.

    CRS: the scenes' most frequent projected one (UTM of the place where they have none). Pixel:
    `resolution_m`, else the lower median of the scenes' own, and then on the first such scene's pixel grid,
    so that scenes that share a grid pass through without resampling. A given resolution starts at that
    scene's corner, so that whole multiples average whole pixels. Extent: the box of what at least half of
    `scenes` cover, cut to `area`.

    Args:
        scenes: History's scenes, in time order.
        resolution_m: Pixel side, metres.
        area: shapely geometry in EPSG:4326 (`area_of_interest`).

    Raises:
        StackError: `area` lies outside the data.
    """
    from odc.geo.geobox import GeoBox

    crs = _common_crs(scenes)
    pixel, anchor = _pixel(scenes, crs, resolution_m)
    box = _half_covered(scenes, crs)
    if area is not None:
        box = _cut(box, _project(area, crs), scenes)
    left, bottom, right, top = box
    col0, col1 = _snap(left, right, anchor[1], pixel[1])
    row0, row1 = _snap(-top, -bottom, -anchor[0], pixel[0])
    shape = (max(row1 - row0, 1), max(col1 - col0, 1))
    return GeoBox(
        shape,
        _affine(pixel, anchor[0] - row0 * pixel[0], anchor[1] + col0 * pixel[1]),
        crs,
    )


def area_of_interest(
    *, bbox: tuple[float, float, float, float] | None = None, path: Path | None = None
) -> Any:
    """Shapely area in EPSG:4326 from (west, south, east, north) degrees or a GeoJSON file; None from neither.

    Raises:
        SettingsError: Both were given, or one that is no area.
    """
    from shapely.geometry import box

    if bbox is not None and path is not None:
        raise SettingsError("expected one area of interest, found both a bbox and a GeoJSON file")
    if bbox is not None:
        west, south, east, north = bbox
        if not (west < east and -90 <= south < north <= 90):
            raise SettingsError(f"expected a bbox west south east north in degrees, found {bbox}")
        return box(west, south, east, north)
    return None if path is None else _read_area(path)


def meets(scene: Scene, area: Any) -> bool:
    """True when `area` (EPSG:4326) shares ground with the scene."""
    from shapely.affinity import translate

    return any(footprint(scene).intersection(translate(area, xoff=turn)).area > 0 for turn in (-360, 0, 360))


def _read_area(path: Path) -> Any:
    from shapely.errors import ShapelyError
    from shapely.geometry import shape
    from shapely.ops import unary_union

    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        features = found["features"] if found.get("type") == "FeatureCollection" else [found]
        area = unary_union([shape(f["geometry"] if f.get("type") == "Feature" else f) for f in features])
    except OSError as error:
        raise SettingsError(f"expected a GeoJSON file, found {error.strerror}: {path}") from None
    except (ValueError, KeyError, TypeError, AttributeError, ShapelyError) as error:
        raise SettingsError(f"expected GeoJSON polygons, found {type(error).__name__}, in {path}") from None
    west, south, east, north = area.bounds if not area.is_empty else (0, 0, 0, 0)
    if not area.area > 0 or not (-360 <= west < east <= 360 and -90 <= south < north <= 90):
        raise SettingsError(f"expected polygons in degrees (EPSG:4326), found {area.geom_type}, in {path}")
    return area


def _common_crs(scenes: Sequence[Scene]) -> str:
    from pyproj import CRS

    counts = Counter(file.crs for scene in scenes for file in scene.files)
    best = max(counts.values())
    crs = next(f.crs for s in scenes for f in s.files if counts[f.crs] == best)
    if CRS.from_user_input(crs).is_projected:
        return crs
    centre = footprint(scenes[0]).centroid
    zone = min(int(((centre.x + 180) % 360) // 6) + 1, 60)
    return f"EPSG:{(32600 if centre.y >= 0 else 32700) + zone}"


def _pixel(
    scenes: Sequence[Scene], crs: str, resolution_m: float | None
) -> tuple[tuple[float, float], tuple[float, float]]:
    """((rows, cols) pixel sides, (y, x) of a pixel corner)."""
    files = [scene.files[0] for scene in scenes]
    sides = [_sides(file, crs) for file in files]
    native = sorted(sides)[(len(sides) - 1) // 2]
    model = files[sides.index(native)]
    pixel = native if resolution_m is None else (float(resolution_m), float(resolution_m))
    if model.crs == crs and model.transform[1] == model.transform[3] == 0:
        return pixel, (model.transform[5], model.transform[2])
    return pixel, (0.0, 0.0)


def _sides(file: SceneFile, crs: str) -> tuple[float, float]:
    a, b, _, d, e, _ = file.transform
    if file.crs == crs:
        return math.hypot(b, e), math.hypot(a, d)
    left, bottom, right, top = _file_bounds(file, crs)
    side = math.sqrt((right - left) * (top - bottom) / (file.shape[0] * file.shape[1]))
    side = float(f"{side:.3g}")
    return side, side


def _file_bounds(file: SceneFile, crs: str) -> Bounds:
    from affine import Affine
    from pyproj import Transformer

    rows, cols = file.shape
    along = np.linspace(0, 1, 17)
    col = np.concatenate([along, along, 0 * along, 0 * along + 1]) * cols
    row = np.concatenate([0 * along, 0 * along + 1, along, along]) * rows
    x, y = Affine(*file.transform) @ (col, row)  # type: ignore[operator]
    if file.crs != crs:
        x, y = Transformer.from_crs(file.crs, crs, always_xy=True).transform(x, y)
    return float(np.min(x)), float(np.min(y)), float(np.max(x)), float(np.max(y))


def _half_covered(scenes: Sequence[Scene], crs: str) -> Bounds:
    """Bounding box of the ground that at least half of the scenes cover (footprints taken as boxes)."""
    boxes = [sorted({_file_bounds(file, crs) for file in scene.files}) for scene in scenes]
    xs = np.unique([x for scene in boxes for b in scene for x in (b[0], b[2])])
    ys = np.unique([y for scene in boxes for b in scene for y in (b[1], b[3])])
    count = np.zeros((len(ys) - 1, len(xs) - 1), dtype=np.int64)
    for scene in boxes:
        covered = np.zeros(count.shape, dtype=bool)
        for left, bottom, right, top in scene:
            low, high = np.searchsorted(ys, [bottom, top])
            first, last = np.searchsorted(xs, [left, right])
            covered[low:high, first:last] = True
        count += covered
    enough = 2 * count >= len(scenes)
    if not enough.any():  # chained footprints that no half of the dates shares
        enough = count == count.max()
    rows, cols = np.flatnonzero(enough.any(1)), np.flatnonzero(enough.any(0))
    return float(xs[cols[0]]), float(ys[rows[0]]), float(xs[cols[-1] + 1]), float(ys[rows[-1] + 1])


def _project(area: Any, crs: str) -> Bounds:
    from pyproj import Transformer
    from shapely import get_coordinates, segmentize

    lon, lat = get_coordinates(segmentize(area, max(area.length / 200, 1e-9))).T
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    keep = np.isfinite(x) & np.isfinite(y)
    if not keep.any():
        return 0.0, 0.0, 0.0, 0.0
    x, y = np.asarray(x)[keep], np.asarray(y)[keep]
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def _cut(box: Bounds, area: Bounds, scenes: Sequence[Scene]) -> Bounds:
    left, bottom = max(box[0], area[0]), max(box[1], area[1])
    right, top = min(box[2], area[2]), min(box[3], area[3])
    if left >= right or bottom >= top:
        west, south, east, north = footprint(scenes[0]).bounds
        raise StackError(
            f"expected an area of interest inside the data ({west:.4f} {south:.4f} {east:.4f} {north:.4f} "
            f"degrees), found one outside what half of the history dates cover, in {scenes[0].files[0].path}"
        )
    return left, bottom, right, top


def _snap(low: float, high: float, anchor: float, step: float) -> tuple[int, int]:
    """Whole steps from `anchor` that cover [low, high]."""
    return (
        math.floor((low - anchor) / step + _TOLERANCE_PX),
        math.ceil((high - anchor) / step - _TOLERANCE_PX),
    )


def _affine(pixel: tuple[float, float], top: float, left: float) -> Any:
    from affine import Affine

    return Affine(pixel[1], 0.0, left, 0.0, -pixel[0], top)
