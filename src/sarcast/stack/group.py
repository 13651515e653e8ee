"""Which scenes belong in one stack: one place, one geometry, one radiometry; never by date alone."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import Any, TypeVar

import numpy as np

from sarcast.errors import StackError
from sarcast.values import Scene, SceneFile

INCIDENCE_SPREAD_DEG = 1.0
"""Largest difference of incidence inside one stack."""
PASS_GAP = np.timedelta64(60, "s")
"""Frames of one satellite closer in time than this are one pass."""
_CROSS_POL = ("HV", "VH")

T = TypeVar("T")
Grid = tuple[str, tuple[float, ...], tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class StackGroup:
    """Scenes of one stack key, and the stack's readable name."""

    name: str
    """Folder name, unique in a source; it does not change when a later date is added."""
    scenes: tuple[Scene, ...]
    """In time order; touching frames of one pass are already one scene."""

    @property
    def bands(self) -> tuple[str, ...]:
        """Polarisations, sorted."""
        return self.scenes[0].bands


def group_scenes(scenes: Iterable[Scene]) -> tuple[StackGroup, ...]:
    """Group `scenes` by stack key, sorted by name.

    The key is: place (footprints that overlap, chained; scenes with a fixed place meet only where they
    touch), sensor, orbit direction, look side, track, polarisations, radiometry, kind of geometry, and
    incidence within 1 degree (clustered; unknown is a cluster of its own). Touching frames of one pass
    become one scene at the centre of the pass.

    Raises:
        StackError: Calibrated and uncalibrated scenes of one place and geometry, or GeoTIFFs of one stack
            declared in different units.
    """
    ordered = sorted(scenes, key=_order)
    for members in _by(ordered, _key).values():
        _refuse_mixed_calibration(members)
    groups = []
    for members in _by(ordered, lambda s: (_key(s), s.radiometry)).values():
        for place in _places(members):
            for cluster in _incidence_clusters(place):
                groups += [_one_stack(part) for part in _places(cluster)]
    return _unique(groups)


def _order(scene: Scene) -> tuple[int, str]:
    return int(scene.time.astype("datetime64[ns]").astype(np.int64)), scene.scene_id


def _key(scene: Scene) -> Hashable:
    """The stack key without place, incidence and radiometry."""
    return (
        scene.sensor,
        scene.orbit_direction or "",
        scene.look_side or "",
        scene.track or "",
        scene.bands,
        scene.geometry,
    )


def _by(scenes: Iterable[Scene], key: Callable[[Scene], Hashable]) -> dict[Hashable, list[Scene]]:
    found: dict[Hashable, list[Scene]] = defaultdict(list)
    for scene in scenes:
        found[key(scene)].append(scene)
    return found


def _one_stack(scenes: Sequence[Scene]) -> StackGroup:
    units = {f.unit: f.path for s in scenes if s.product_type.lower() == "geotiff" for f in s.files}
    if len(units) > 1:
        found = ", ".join(f"{unit} ({path})" for unit, path in sorted(units.items()))
        raise StackError(f"expected one declared unit in a stack of GeoTIFFs, found {found}")
    passes = tuple(sorted(_passes(scenes), key=_order))
    return StackGroup(name=_name(passes[0]), scenes=passes)


def _refuse_mixed_calibration(scenes: Sequence[Scene]) -> None:
    bare = [s for s in scenes if s.radiometry == "uncalibrated"]
    calibrated = [s for s in scenes if s.radiometry != "uncalibrated"]
    for one in bare:
        for other in calibrated:
            if _touch(one, other) and _near(one, other):
                raise StackError(
                    f"expected one calibration in a stack, found {one.scene_id} uncalibrated and "
                    f"{other.scene_id} {other.radiometry}, in {one.files[0].path}"
                )


def _near(a: Scene, b: Scene) -> bool:
    if a.incidence_deg is None or b.incidence_deg is None:
        return a.incidence_deg is b.incidence_deg
    return abs(a.incidence_deg - b.incidence_deg) <= INCIDENCE_SPREAD_DEG


# --- place ---------------------------------------------------------------------------------------------


def _places(scenes: Sequence[Scene]) -> list[list[Scene]]:
    """Components of scenes whose footprints overlap."""
    shapes = _by(scenes, _shape)
    return [
        [scene for shape in part for scene in shapes[shape]]
        for part in _components(list(shapes), lambda a, b: _touch(shapes[a][0], shapes[b][0]))
    ]


def _shape(scene: Scene) -> Hashable:
    return scene.place, tuple(sorted({_grid(f) for f in scene.files}))


def _components(items: Sequence[T], linked: Callable[[T, T], bool]) -> list[list[T]]:
    parent = list(range(len(items)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for i, j in combinations(range(len(items)), 2):
        a, b = root(i), root(j)
        if a != b and linked(items[i], items[j]):
            parent[max(a, b)] = min(a, b)
    found: dict[int, list[T]] = defaultdict(list)
    for i, item in enumerate(items):
        found[root(i)].append(item)
    return list(found.values())


def _touch(a: Scene, b: Scene) -> bool:
    """True when footprints share ground, or both are the same fixed place."""
    if a.place is not None and a.place == b.place:
        return True
    return _overlap(a, b) > 0


def _overlap(a: Scene, b: Scene) -> float:
    """Shared area as a share of the smaller footprint, across the date line too."""
    from shapely.affinity import translate

    one, other = footprint(a), footprint(b)
    smaller = min(one.area, other.area)
    (west, south, east, north), far = one.bounds, other.bounds
    if north <= far[1] or far[3] <= south:
        return 0.0
    shared = [
        one.intersection(translate(other, xoff=turn)).area
        for turn in (-360.0, 0.0, 360.0)
        if west < far[2] + turn and far[0] + turn < east
    ]
    return float(max(shared, default=0.0) / smaller)


def footprint(scene: Scene) -> Any:
    """Outline of a scene's files, shapely in EPSG:4326; past 180 degrees where it crosses the date line."""
    return _union(tuple(sorted({_grid(f) for f in scene.files})))


def _grid(file: SceneFile) -> Grid:
    return file.crs, file.transform, file.shape


@lru_cache(maxsize=4096)
def _union(grids: tuple[Grid, ...]) -> Any:
    from shapely.ops import unary_union

    return unary_union([_outline(*grid) for grid in grids])


@lru_cache(maxsize=4096)
def _outline(crs: str, transform: tuple[float, ...], shape: tuple[int, int]) -> Any:
    from affine import Affine
    from pyproj import Transformer
    from shapely.geometry import Polygon

    rows, cols = shape
    step = np.linspace(0, 1, 9)[:-1]
    edge = np.concatenate(
        [[step, 0 * step], [1 + 0 * step, step], [1 - step, 1 + 0 * step], [0 * step, 1 - step]], axis=1
    )
    x, y = Affine(*transform) @ (edge[0] * cols, edge[1] * rows)
    lon, lat = Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)
    lon = np.asarray(lon)
    if np.ptp(lon) > 180:
        lon = np.where(lon < 0, lon + 360, lon)
    return Polygon(np.column_stack([lon, lat]))


# --- incidence -----------------------------------------------------------------------------------------


def _incidence_clusters(scenes: Sequence[Scene]) -> list[list[Scene]]:
    """Scenes of unknown incidence, and clusters of known incidence at most 1 degree wide."""
    known = sorted((s for s in scenes if s.incidence_deg is not None), key=lambda s: s.incidence_deg or 0.0)
    unknown = [s for s in scenes if s.incidence_deg is None]
    return ([unknown] if unknown else []) + _fullest_windows(known)


def _fullest_windows(scenes: list[Scene]) -> list[list[Scene]]:
    """The 1 degree wide window that holds most scenes (the lowest of equals), then the same with the rest."""
    clusters = []
    while scenes:
        angle = np.array([s.incidence_deg for s in scenes], dtype=np.float64)
        ends = np.searchsorted(angle, angle + INCIDENCE_SPREAD_DEG + 1e-9)
        first = int(np.argmax(ends - np.arange(len(scenes))))
        clusters.append(scenes[first : ends[first]])
        scenes = scenes[:first] + scenes[ends[first] :]
    return clusters


# --- passes --------------------------------------------------------------------------------------------


def _passes(scenes: Sequence[Scene]) -> list[Scene]:
    """One scene for the frames of one pass; frames that cover the same ground stay apart."""
    found: list[list[Scene]] = []
    for scene in sorted(scenes, key=lambda s: (s.platform, _order(s))):
        last = found[-1] if found else []
        if last and _same_pass(last, scene):
            last.append(scene)
        else:
            found.append([scene])
    return [frames[0] if len(frames) == 1 else _mosaic(frames) for frames in found]


def _same_pass(frames: Sequence[Scene], scene: Scene) -> bool:
    last = frames[-1]
    if scene.platform != last.platform or scene.time - last.time > PASS_GAP:
        return False
    if scene.place is not None:
        return all(scene.place != frame.place for frame in frames)
    return all(_overlap(scene, frame) < 0.5 for frame in frames)


def _mosaic(frames: Sequence[Scene]) -> Scene:
    first, last = frames[0], frames[-1]
    angles = [s.incidence_deg for s in frames if s.incidence_deg is not None]
    return replace(
        first,
        scene_id=f"{first.scene_id}+{len(frames) - 1}",
        time=first.time + (last.time - first.time) // 2,
        files=tuple(f for frame in frames for f in frame.files),
        incidence_deg=float(np.mean(angles)) if angles else None,
        extra={**first.extra, "frames": [s.scene_id for s in frames]},
    )


# --- names ---------------------------------------------------------------------------------------------


def _name(first: Scene) -> str:
    """From the earliest scene, so that a later date never changes it."""
    bands = "-".join(sorted(first.bands, key=lambda band: (band in _CROSS_POL, band))).lower()
    if first.place is not None:
        return _plain(f"{first.place}_{bands}")
    angle = None if first.incidence_deg is None else f"{first.incidence_deg:.0f}deg"
    geometry = None if first.geometry == "terrain" else first.geometry
    parts = [first.sensor, bands, first.orbit_direction, first.look_side, angle, first.track, geometry]
    return _plain("_".join([part for part in parts if part and part != "unknown"] + [_where(first)]))


def _where(scene: Scene) -> str:
    """UTM zone and the kilometre of the footprint's centre, e.g. 11n-384e-3765n."""
    from pyproj import Transformer

    centre = footprint(scene).centroid
    lon = (centre.x + 180) % 360 - 180
    zone, north = min(int((lon + 180) // 6) + 1, 60), centre.y >= 0
    utm = Transformer.from_crs(4326, (32600 if north else 32700) + zone, always_xy=True)
    x, y = utm.transform(lon, centre.y)
    return f"{zone}{'n' if north else 's'}-{x / 1000:.0f}e-{y / 1000:.0f}n"


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name.lower())


def _unique(groups: Sequence[StackGroup]) -> tuple[StackGroup, ...]:
    """Names that several groups share get six digits of their first scene's id."""
    names = [group.name for group in groups]
    named = [
        group
        if names.count(group.name) == 1
        else replace(
            group,
            name=f"{group.name}_{hashlib.sha256(group.scenes[0].scene_id.encode()).hexdigest()[:6]}",
        )
        for group in groups
    ]
    return tuple(sorted(named, key=lambda group: group.name))
