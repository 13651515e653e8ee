"""Simulated acquisitions as the files a provider would deliver, and the truth as GeoParquet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.errors import ArtefactError
from sarcast.sar.simulate import Collect, Orbit, capella_metadata, orbit_over
from sarcast.values import Label, Labels, Stack

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

_TILED = {"driver": "GTiff", "tiled": True, "compress": "deflate", "count": 1}
_STATE_SECONDS = np.arange(-45.0, 45.1, 5.0)
_LIGHT_M_S = 299_792_458.0


def write_capella(
    folder: Path,
    stack: Stack,
    index: int,
    *,
    scale_factor: float,
    looks: float,
    product_type: str = "GEO",
    offset_px: tuple[float, float] = (0.0, 0.0),
    crop: tuple[slice, slice] = (slice(None), slice(None)),
) -> Path:
    """One date as a Capella GEO or GEC: uint16 amplitude over `scale_factor`, 0 (undeclared) without data.

    Args:
        folder: Where to, made already.
        stack: Amplitude, sigma0, one band.
        index: Which date.
        scale_factor: Linear amplitude per stored unit; amplitudes over 65535 units are cut.
        looks: Equivalent number of looks to declare.
        product_type: GEO or GEC; they differ in name and in the terrain model they declare.
        offset_px: How far (y, x) the date's pixels lie from the stack's grid.
        crop: Part of the pixels to deliver, (rows, columns) of unit step.

    Returns:
        The GeoTIFF.
    """
    from pyproj import CRS

    stored = np.rint(stack.amplitude[index, 0][crop] / scale_factor)
    stored = np.where(stack.valid[index][crop], np.clip(stored, 1, 65535), 0).astype(np.uint16)
    geobox = _own_grid(stack.geobox, offset_px, crop)
    collect = _collect(stack, index, geobox, looks=looks)
    a = geobox.transform
    geometry = {
        "type": "geotransform",
        "geotransform": [a.c, a.a, a.b, a.f, a.d, a.e],
        "coordinate_system": {"type": "wkt", "wkt": CRS.from_user_input(str(geobox.crs)).to_wkt("WKT1_GDAL")},
    }
    metadata = capella_metadata(
        collect, product_type=product_type, scale_factor=scale_factor, geometry=geometry
    )
    path = folder / f"{stack.times.scene_id[index].replace('_GEO_', f'_{product_type}_')}.tif"
    profile = _TILED | {"predictor": 2, "blockxsize": 256, "blockysize": 256}
    _write(path, stored, profile | {"crs": str(geobox.crs), "transform": geobox.transform}, metadata)
    return path


def write_capella_slc(
    folder: Path, stack: Stack, index: int, image: np.ndarray, *, scale_factor: float
) -> Path:
    """One date as a Capella SLC: CInt16 beta0 in slant geometry, located by ground control points only.

    Args:
        folder: Where to, made already.
        stack: For times and place.
        index: Which date.
        image: complex64 (y, x), lines of constant time first; |image|^2 is beta0.
        scale_factor: Linear amplitude per stored unit.
    """
    from rasterio.control import GroundControlPoint

    geobox = stack.geobox
    collect = _collect(stack, index, geobox, looks=1.0)
    seconds = 28.0 / image.shape[0]
    geometry = {
        "type": "slant_plane",
        "first_line_time": f"{collect.time - np.timedelta64(14, 's')}Z",
        "delta_line_time": seconds,
        "range_to_first_sample": collect.orbit.range_m - 0.3 * image.shape[1] * collect.spacing_m,
        "delta_range_sample": 0.6 * collect.spacing_m,
    }
    metadata = capella_metadata(collect, product_type="SLC", scale_factor=scale_factor, geometry=geometry)
    rows, cols = image.shape
    corners = [(row, col) for row in (0, rows) for col in (0, cols)]
    points = [GroundControlPoint(row, col, *_at(geobox, row=row, col=col), 0.0) for row, col in corners]
    path = folder / f"{stack.times.scene_id[index].replace('_GEO_', '_SLC_')}.tif"
    profile = _TILED | {"blockxsize": 256, "blockysize": 256, "gcps": points, "crs": str(geobox.crs)}
    _write(path, image / np.float32(scale_factor), profile | {"dtype": "complex_int16"}, metadata)
    return path


def write_opera(folder: Path, stack: Stack, index: int) -> list[Path]:
    """One date as OPERA RTC-S1: gamma0 power, float32, NaN without data, a file per polarisation."""
    a = stack.geobox.transform
    paths = []
    for band, name in enumerate(stack.bands):
        power = np.where(stack.valid[index], stack.amplitude[index, band] ** 2, np.nan).astype(np.float32)
        path = folder / f"{stack.times.scene_id[index]}_{name}.tif"
        profile = _TILED | {"predictor": 3, "blockxsize": 512, "blockysize": 512, "nodata": float("nan")}
        _write(path, power, profile | {"crs": str(stack.geobox.crs), "transform": a}, None)
        paths.append(path)
    return paths


def write_map(path: Path, values: np.ndarray, geobox: GeoBox) -> None:
    """A map (y, x) as a GeoTIFF: uint8 as it is, other numbers float32."""
    whole = values.dtype == np.uint8
    profile = _TILED | {"predictor": 2 if whole else 3, "blockxsize": 256, "blockysize": 256}
    profile |= {"crs": str(geobox.crs), "transform": geobox.transform}
    _write(path, values if whole else values.astype(np.float32), profile, None)


def write_labels(path: Path, labels: Labels) -> None:
    """Labels as GeoParquet: label_id, kind, onset, end, change_db, texture_only, geometry."""
    import geopandas

    found = labels.labels
    frame = geopandas.GeoDataFrame(
        {
            "label_id": np.array([label.label_id for label in found], object),
            "kind": np.array([label.kind for label in found], object),
            "onset": np.array([label.onset for label in found], "datetime64[ns]"),
            "end": np.array([_or_never(label.end) for label in found], "datetime64[ns]"),
            "change_db": np.array([label.change_db for label in found], float),
            "texture_only": np.array([label.texture_only for label in found], bool),
        },
        geometry=[label.geometry for label in found],
        crs=labels.crs,
    )
    frame.to_parquet(path, index=False, schema_version="1.1.0", compression="zstd")


def read_labels(path: Path) -> Labels:
    """What `write_labels` wrote.

    Raises:
        ArtefactError: Missing, unreadable, or a column is missing.
    """
    import geopandas
    from pyarrow import ArrowException

    try:
        frame = geopandas.read_parquet(path)
    except (OSError, ValueError, ArrowException) as error:
        reason = str(error).splitlines()[0] if path.exists() else "nothing"
        raise ArtefactError(f"expected labels as GeoParquet, found {reason}, in {path}") from None
    missing = {"label_id", "kind", "onset", "end", "change_db", "texture_only"} - set(frame.columns)
    if missing or frame.crs is None:
        raise ArtefactError(f"expected columns {sorted(missing) or 'with a CRS'}, found none, in {path}")
    onset, end = (frame[name].to_numpy("datetime64[ns]") for name in ("onset", "end"))
    return Labels(
        labels=tuple(
            Label(
                label_id=str(row.label_id),
                kind=str(row.kind),
                onset=onset[number],
                end=None if np.isnat(end[number]) else end[number],
                change_db=float(row.change_db),
                geometry=row.geometry,
                texture_only=bool(row.texture_only),
            )
            for number, row in enumerate(frame.itertuples(index=False))
        ),
        crs=_crs_name(frame.crs),
    )


def _crs_name(crs: Any) -> str:
    """EPSG:nnnn where there is one, else WKT."""
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_wkt())


def _or_never(time: np.datetime64 | None) -> np.datetime64:
    return np.datetime64("NaT", "ns") if time is None else time


def _own_grid(geobox: GeoBox, offset_px: tuple[float, float], crop: tuple[slice, slice]) -> GeoBox:
    """The grid of a date: moved by `offset_px`, then cropped."""
    from affine import Affine
    from odc.geo.geobox import GeoBox

    (top, bottom, _), (left, right, _) = (
        part.indices(int(side)) for part, side in zip(crop, geobox.shape, strict=True)
    )
    a = geobox.transform
    x, y = _at(geobox, row=top + offset_px[0], col=left + offset_px[1])
    return GeoBox((bottom - top, right - left), Affine(a.a, a.b, x, a.d, a.e, y), geobox.crs)


def _at(geobox: GeoBox, *, row: float, col: float) -> tuple[float, float]:
    """(x, y) of a place given in pixels from the upper left corner."""
    a = geobox.transform
    return float(a.a * col + a.b * row + a.c), float(a.d * col + a.e * row + a.f)


def _collect(stack: Stack, index: int, geobox: GeoBox, *, looks: float) -> Collect:
    times = stack.times
    incidence_deg = round(float(times.incidence_deg[index]), 6)
    target_m = _earth_fixed(geobox)
    orbit: Orbit = orbit_over(
        target_m,
        incidence_deg=incidence_deg,
        direction=times.orbit_direction[index],
        look_side=times.look_side[index],
        seconds=_STATE_SECONDS,
    )
    return Collect(
        time=times.time[index],
        platform=times.platform[index],
        band=stack.bands[0],
        look_side=times.look_side[index],
        orbit_direction=times.orbit_direction[index],
        incidence_deg=incidence_deg,
        looks=looks,
        shape=(int(geobox.shape[0]), int(geobox.shape[1])),
        spacing_m=abs(float(geobox.transform.e)),
        target_m=target_m,
        orbit=orbit,
    )


def _earth_fixed(geobox: GeoBox) -> np.ndarray:
    """Earth-centred, Earth-fixed position of the grid's centre at height 0."""
    from pyproj import Transformer

    x, y = _at(geobox, row=geobox.shape[0] / 2, col=geobox.shape[1] / 2)
    longitude, latitude = Transformer.from_crs(str(geobox.crs), "EPSG:4326", always_xy=True).transform(x, y)
    to_earth = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
    return np.array(to_earth.transform(longitude, latitude, 0.0), float)


def _write(
    path: Path, image: np.ndarray, profile: Mapping[str, Any], metadata: dict[str, Any] | None
) -> None:
    """One band (y, x) as a GeoTIFF, with its metadata in TIFFTAG_IMAGEDESCRIPTION.

    Made in memory and written by Python, which reports a full disk; GDAL only logs it.
    """
    import rasterio
    from rasterio.io import MemoryFile

    rows, cols = image.shape
    whole = {"dtype": image.dtype.name} | dict(profile) | {"height": rows, "width": cols}
    with rasterio.Env(GDAL_PAM_ENABLED="NO"), MemoryFile() as memory:
        with memory.open(**whole) as dataset:
            dataset.write(image, 1)
            if metadata is not None:
                text = json.dumps(metadata, sort_keys=True, allow_nan=False)
                dataset.update_tags(TIFFTAG_IMAGEDESCRIPTION=text)
        path.write_bytes(memory.getbuffer())
