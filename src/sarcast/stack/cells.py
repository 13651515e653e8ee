"""The stores of cells: features.zarr and scores.zarr (Zarr v3), readable with xarray alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.errors import ArtefactError
from sarcast.values import Features, PatchGrid, Scores, Times

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

_SIDE = 256
_OF_SCORES = ("p_value", "change_db", "frame_score", "frame_p_value")
"""What scores may have besides."""


def write_features(path: Path, features: Features) -> None:
    """Write features.zarr: `feature` (time, row, col, dim), `valid`, `y`, `x`, `time`; chunks of a date."""
    group = _create(path, features.times, features.grid, features.geobox)
    _array(group, "feature", features.values.astype(np.float32, copy=False), ("time", "row", "col", "dim"))
    _array(group, "valid", features.valid, ("time", "row", "col"))
    group.attrs.update({"encoder": features.encoder, "names": list(features.names), "stack": features.stack})
    _consolidate(path)


def read_features(path: Path) -> Features:
    """Read features.zarr.

    Raises:
        ArtefactError: Not a features store.
    """
    group = _open(path, "feature")
    return Features(
        values=group["feature"][:],
        valid=group["valid"][:],
        names=tuple(group.attrs["names"]),
        encoder=str(group.attrs["encoder"]),
        stack=str(group.attrs["stack"]),
        **_common(group),
    )


def write_scores(path: Path, scores: Scores) -> None:
    """Write scores.zarr: `score`, `valid` and, where known, `p_value` and `change_db` (time, row, col).

    Where known, `frame_score` and `frame_p_value` (time) too.
    """
    group = _create(path, scores.times, scores.grid, scores.geobox)
    dims = ("time", "row", "col")
    _array(group, "score", scores.values.astype(np.float32, copy=False), dims)
    _array(group, "valid", scores.valid, dims)
    for name in _OF_SCORES:
        values = getattr(scores, name)
        if values is not None:
            _array(group, name, values.astype(np.float32, copy=False), dims[: values.ndim])
    group.attrs.update({"detector": scores.detector, "encoder": scores.encoder, "stack": scores.stack})
    _consolidate(path)


def read_scores(path: Path) -> Scores:
    """Read scores.zarr.

    Raises:
        ArtefactError: Not a scores store.
    """
    group = _open(path, "score")
    return Scores(
        values=group["score"][:],
        valid=group["valid"][:],
        detector=str(group.attrs["detector"]),
        encoder=str(group.attrs["encoder"]),
        stack=str(group.attrs["stack"]),
        **_besides(group),
        **_common(group),
    )


def cell_centres(grid: PatchGrid, geobox: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    """(y, x) coordinates of the centres of cell rows and columns, in the CRS of `geobox` (north-up grids)."""
    transform = geobox.transform
    y = transform.f + transform.e * (grid.tops + grid.patch / 2)
    x = transform.c + transform.a * (grid.lefts + grid.patch / 2)
    return y, x


def _besides(group: Any) -> dict[str, Any]:
    return {name: group[name][:] if name in group else None for name in _OF_SCORES}


def _create(path: Path, times: Times, grid: PatchGrid, geobox: GeoBox) -> Any:
    import zarr

    group = zarr.create_group(store=str(path), zarr_format=3, overwrite=True)
    y, x = cell_centres(grid, geobox)
    crs = geobox.crs
    axis = "projection" if crs is not None and crs.projected else ""
    _array(group, "y", y, ("row",), {"standard_name": f"{axis}_y_coordinate".lstrip("_")})
    _array(group, "x", x, ("col",), {"standard_name": f"{axis}_x_coordinate".lstrip("_")})
    _array(
        group,
        "time",
        times.time.astype(np.int64),
        ("time",),
        {"units": "nanoseconds since 1970-01-01", "calendar": "proleptic_gregorian"},
    )
    wkt = crs.to_wkt() if crs is not None else ""
    _array(group, "spatial_ref", np.int64(0), (), {"crs_wkt": wkt, "spatial_ref": wkt})
    group.attrs.update(
        {
            "grid": {"image": list(grid.image), "patch": grid.patch, "stride": grid.stride},
            "pixel_transform": list(geobox.transform)[:6],
            "pixel_shape": list(geobox.shape),
            "scenes": _scenes(times),
            "coordinates": "spatial_ref",
        }
    )
    return group


def _consolidate(path: Path) -> None:
    """Gather all metadata in one file, which xarray looks for first."""
    import warnings

    import zarr

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(str(path), zarr_format=3)


def _array(
    group: Any,
    name: str,
    values: np.ndarray | np.generic,
    dims: tuple[str, ...],
    attributes: Mapping[str, Any] | None = None,
) -> None:
    values = np.asarray(values)
    chunks = tuple(
        1
        if dim == "time" and values.ndim > 1
        else max(1, min(size, _SIDE) if dim in ("row", "col") else size)
        for dim, size in zip(dims, values.shape, strict=True)
    )
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=chunks or (),
        dimension_names=dims,
        attributes=dict(attributes or {}),
    )
    if values.ndim > 1 and name not in ("y", "x"):
        array.attrs["grid_mapping"] = "spatial_ref"
        array.attrs["coordinates"] = "y x"
    array[...] = values


def _open(path: Path, needed: str) -> Any:
    import zarr

    try:
        group = zarr.open_group(str(path), mode="r", zarr_format=3)
    except (FileNotFoundError, ValueError) as error:
        raise ArtefactError(f"expected a Zarr v3 store, found {error}, in {path}") from None
    if needed not in group:
        raise ArtefactError(f"expected an array {needed!r}, found {sorted(group.array_keys())}, in {path}")
    return group


def _common(group: Any) -> dict[str, Any]:
    from affine import Affine
    from odc.geo.geobox import GeoBox

    attrs = group.attrs
    grid = attrs["grid"]
    wkt = group["spatial_ref"].attrs["crs_wkt"]
    return {
        "times": _times(attrs["scenes"], group["time"][:].astype("datetime64[ns]")),
        "grid": PatchGrid(image=tuple(grid["image"]), patch=grid["patch"], stride=grid["stride"]),
        "geobox": GeoBox(tuple(attrs["pixel_shape"]), Affine(*attrs["pixel_transform"]), wkt or None),
    }


def _scenes(times: Times) -> list[dict[str, Any]]:
    return [
        {
            "scene_id": times.scene_id[i],
            "platform": times.platform[i],
            "incidence_deg": None
            if np.isnan(times.incidence_deg[i])
            else round(float(times.incidence_deg[i]), 4),
            "look_side": times.look_side[i],
            "orbit_direction": times.orbit_direction[i],
            "relative_orbit": times.relative_orbit[i],
        }
        for i in range(len(times))
    ]


def _times(scenes: list[dict[str, Any]], time: np.ndarray) -> Times:
    incidence = [np.nan if s["incidence_deg"] is None else s["incidence_deg"] for s in scenes]
    return Times(
        time=time,
        incidence_deg=np.array(incidence, np.float32),
        **{
            name: tuple(s[name] for s in scenes)
            for name in ("scene_id", "platform", "look_side", "orbit_direction", "relative_orbit")
        },
    )
