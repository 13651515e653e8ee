"""Capella GEO and GEC: uint16 amplitude on a map, calibrated by each file's own `scale_factor`.

sigma0 = (scale_factor * DN)^2. The metadata are JSON in TIFFTAG_IMAGEDESCRIPTION, the same as in
`<id>_extended.json`. DN 0 means "no data" although no product declares it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from sarcast.errors import ProductError
from sarcast.readers.base import MAX_JSON_BYTES, Fields, Sorted, parse_json, scene_file
from sarcast.readers.gdal import Raster, describe
from sarcast.readers.tiff import description, is_tiff
from sarcast.runtime.settings import Settings
from sarcast.values import POLARISATIONS, Scene

PRODUCT_TYPES = ("GEO", "GEC", "SLC")
CALIBRATIONS = ("full", "partial", "limited", "none")
PLANES_DEG = (45, 53, 97)
"""Capella's orbital planes, by inclination."""
PLANE_TOLERANCE_DEG = 2.0
EARTH_RATE = 7.2921159e-5
"""rad/s, WGS 84."""

_RADIOMETRY: dict[str, Literal["sigma0", "gamma0", "beta0"]] = {
    "sigma_nought": "sigma0",
    "gamma_nought": "gamma0",
    "beta_nought": "beta0",
}
_NAME = re.compile(
    r"CAPELLA_C(?P<satellite>\d{2,3})_(?P<mode>[A-Z0-9]{2})_(?P<type>[A-Z]{3,4})_(?P<band>HH|HV|VH|VV)_"
    r"(?P<start>\d{14})_(?P<stop>\d{14})",
    re.ASCII,
)
_SIDE_FILE = re.compile(r"_(preview|thumbnail|thumb|browse)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class CapellaMetadata:
    """What sarcast uses of Capella's extended metadata; None where an optional block is absent."""

    product_type: Literal["GEO", "GEC", "SLC"]
    product_version: str
    collect_id: str
    start: np.datetime64
    stop: np.datetime64
    center: np.datetime64
    """Centre pixel's time where given, else midway."""
    processed: np.datetime64 | None
    platform: str
    mode: str
    band: str
    data_type: str
    shape: tuple[int, int]
    """(rows, columns) of the whole product."""
    scale_factor: float
    """Multiplies the amplitude."""
    radiometry: Literal["sigma0", "gamma0", "beta0", "uncalibrated"]
    calibration: str
    looks: float | None
    incidence_deg: float
    look_side: Literal["left", "right"]
    orbit_direction: Literal["ascending", "descending"] | None
    inclination_deg: float | None
    """Of the orbit, from the state vectors."""
    plane: str | None
    """Orbital plane, one of `PLANES_DEG`; None when unknown."""
    geometry: Literal["terrain", "ellipsoid", "slant", "unknown"]
    spacing_m: tuple[float, float] | None
    """(row, column)."""
    extra: dict[str, Any]
    """JSON-able facts kept for the report."""


class Capella(Settings):
    """Capella GEO and GEC GeoTIFFs."""

    automatic: ClassVar[bool] = True

    def claims(self, path: Path) -> bool:
        """By name, else by the metadata in the TIFF's header."""
        if path.suffix.lower() not in (".tif", ".tiff"):
            return False
        if _NAME.match(path.stem):
            return True
        try:
            return is_tiff(path) and b'"collect"' in (description(path) or b"")
        except ProductError:
            return False

    def sort(self, paths: Sequence[Path]) -> Sorted:
        """Each TIFF is a product; previews are left out, and an SLC whose GEO or GEC is there too."""
        mapped = {_collect(path) for path in paths if _type(path) in ("GEO", "GEC")}
        products, aside = [], []
        for path in paths:
            if _SIDE_FILE.search(path.stem):
                aside.append((path, "a preview"))
            elif _type(path) == "SLC" and _collect(path) in mapped:
                aside.append((path, "an SLC in slant geometry; its collect is here on a map grid too"))
            else:
                products.append((path,))
        return Sorted(products=tuple(products), aside=tuple(aside))

    def read(self, paths: Sequence[Path]) -> list[Scene]:
        """One scene: one GEO or GEC."""
        return [_read(path.absolute()) for path in paths]


def parse_metadata(
    text: bytes | str | Mapping[str, Any], *, where: object = "the metadata"
) -> CapellaMetadata:
    """Capella's extended metadata, GEO, GEC or SLC.

    Args:
        text: The JSON, or what it parses to.
        where: Named in errors.

    Raises:
        ProductError: A field that is needed is missing, of the wrong kind or out of range, or the declared
            orbit direction contradicts the state vectors (the stack key depends on it: neither can be
            believed then).
    """
    data = text if isinstance(text, Mapping) else parse_json(text, where=where)
    fields = Fields(data, where)
    kind = fields.choice("product_type", PRODUCT_TYPES)
    start, stop = fields.time("collect.start_timestamp"), fields.time("collect.stop_timestamp")
    if not start <= stop:
        raise fields.wrong("collect.stop_timestamp", f"a time from {start}", str(stop))
    centre = "collect.image.center_pixel.center_time"
    center = start + (stop - start) // 2 if fields.find(centre) is None else fields.time(centre)
    inclination_deg, flown = _orbit(fields, center)
    return CapellaMetadata(
        product_type=kind,  # type: ignore[arg-type]
        product_version=_version(fields),
        collect_id=fields.text("collect.collect_id"),
        start=start,
        stop=stop,
        center=center,
        processed=None if fields.find("processing_time") is None else fields.time("processing_time"),
        platform=fields.text("collect.platform"),
        mode=fields.text("collect.mode"),
        band=_band(fields),
        data_type=fields.text("collect.image.data_type"),
        shape=(_count(fields, "collect.image.rows"), _count(fields, "collect.image.columns")),
        scale_factor=fields.number("collect.image.scale_factor", low=1e-12, high=1e6),
        radiometry=_radiometry(fields),
        calibration=_calibration(fields),
        looks=_looks(fields),
        incidence_deg=fields.number("collect.image.center_pixel.incidence_angle", low=0, high=90),
        look_side=fields.choice("collect.radar.pointing", ("left", "right")),  # type: ignore[arg-type]
        orbit_direction=_direction(fields, flown),
        inclination_deg=inclination_deg,
        plane=_plane(inclination_deg),
        geometry=_geometry(fields, kind),
        spacing_m=_spacing(fields),
        extra=_extra(fields),
    )


def _read(path: Path) -> Scene:
    metadata = _metadata(path)
    if metadata.product_type == "SLC":
        raise ProductError(
            f"expected GEO or GEC, on a map grid, found SLC in product_type: slant geometry cannot be "
            f"stacked by coordinates; use the GEO of the same collect, in {path}"
        )
    match = _NAME.match(path.stem)
    for field, found in (("type", metadata.product_type), ("band", metadata.band)):
        if match and match[field] != found:
            raise ProductError(
                f"expected {match[field]} as in the name, found {found} in its metadata, in {path}"
            )
    raster = describe(path, nodata=0.0)
    if raster.dtype != "uint16" or raster.count != 1:
        raise ProductError(f"expected one uint16 band, found {raster.count} of {raster.dtype}, in {path}")
    if raster.nodata not in (None, 0.0):
        raise ProductError(f"expected no nodata or 0, found {raster.nodata} in the TIFF's nodata, in {path}")
    plain_id = f"CAPELLA_{metadata.platform}_{metadata.product_type}_{metadata.band}_{metadata.collect_id}"
    product_id = match[0] if match else plain_id
    file = scene_file(
        raster,
        band=metadata.band,
        product_id=product_id,
        unit="amplitude",
        scale=metadata.scale_factor,
        nodata=0.0,
    )
    resampled = _resampled(metadata, raster)
    return Scene(
        scene_id=product_id,
        time=metadata.center,
        files=(file,),
        sensor="capella",
        platform=metadata.platform,
        mode=metadata.mode,
        product_type=metadata.product_type,
        orbit_direction=metadata.orbit_direction,
        look_side=metadata.look_side,
        track=metadata.plane,
        incidence_deg=metadata.incidence_deg,
        radiometry=metadata.radiometry,
        calibration=metadata.calibration,
        geometry=metadata.geometry,
        looks=None if resampled else metadata.looks,
        processed=metadata.processed,
        extra={**metadata.extra, "cropped": raster.shape != metadata.shape, "resampled": resampled},
    )


def _metadata(path: Path) -> CapellaMetadata:
    """From the TIFF's own tag, else from the JSON beside it."""
    text = description(path)
    if text is not None and text.lstrip()[:1] == b"{":
        return parse_metadata(text, where=path)
    beside = path.with_name(f"{path.stem}_extended.json")
    try:
        if beside.stat().st_size > MAX_JSON_BYTES:
            raise ProductError(f"expected at most {MAX_JSON_BYTES} bytes of metadata, found more: {beside}")
        text = beside.read_bytes()
    except OSError:
        raise ProductError(
            f"expected scale_factor in TIFFTAG_IMAGEDESCRIPTION or in {beside.name}, found neither, in {path}"
        ) from None
    return parse_metadata(text, where=beside)


def _type(path: Path) -> str | None:
    match = _NAME.match(path.stem)
    return match["type"] if match else None


def _collect(path: Path) -> tuple[str, ...] | None:
    match = _NAME.match(path.stem)
    return match.group("satellite", "mode", "band", "start", "stop") if match else None


def _version(fields: Fields) -> str:
    """A string ("1.10"); older products hold a number."""
    value = fields.find("product_version")
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise fields.wrong("product_version", "text", value)
    return "unknown" if value is None else str(value)[:40]


def _band(fields: Fields) -> str:
    sent, received = (
        fields.choice(f"collect.radar.{way}_polarization", ("H", "V")) for way in ("transmit", "receive")
    )
    band = sent + received
    if band not in POLARISATIONS:
        raise fields.wrong("collect.radar", f"one of {POLARISATIONS}", band)
    return band


def _count(fields: Fields, name: str) -> int:
    return int(fields.number(name, low=1, high=2**31))


def _radiometry(fields: Fields) -> Literal["sigma0", "gamma0", "beta0", "uncalibrated"]:
    """An absent or unknown word is never taken for a calibrated one."""
    value = fields.find("collect.image.radiometry")
    return _RADIOMETRY.get(value, "uncalibrated") if isinstance(value, str) else "uncalibrated"


def _calibration(fields: Fields) -> str:
    value = fields.find("collect.image.calibration")
    return value if isinstance(value, str) and value in CALIBRATIONS else "unknown"


def _looks(fields: Fields) -> float | None:
    if fields.find("collect.image.enl") is not None:
        return fields.number("collect.image.enl", low=0.1, high=1e5)
    ways = ("collect.image.azimuth_looks", "collect.image.range_looks")
    if any(fields.find(way) is None for way in ways):
        return None
    azimuth, across = (fields.number(way, low=0.1, high=1e4) for way in ways)
    return azimuth * across


def _geometry(fields: Fields, kind: str) -> Literal["terrain", "ellipsoid", "slant"]:
    if kind == "SLC":
        return "slant"
    model = fields.find("collect.image.terrain_models.reprojection.name")
    inflated = isinstance(model, str) and model.startswith("ExplicitInflatedWGS84")
    return "ellipsoid" if kind == "GEC" or inflated else "terrain"


def _spacing(fields: Fields) -> tuple[float, float] | None:
    names = ("collect.image.pixel_spacing_row", "collect.image.pixel_spacing_column")
    if any(fields.find(name) is None for name in names):
        return None
    row, column = (fields.number(name, low=1e-4, high=1e4) for name in names)
    return row, column


def _resampled(metadata: CapellaMetadata, raster: Raster) -> bool:
    """True when the pixels are not the product's own any more: their looks are unknown then."""
    if raster.shape == metadata.shape or metadata.spacing_m is None:
        return False
    a, b, _, d, e, _ = raster.transform
    found = float(np.hypot(b, e)), float(np.hypot(a, d))
    return not np.allclose(found, metadata.spacing_m, rtol=0.02)


def _extra(fields: Fields) -> dict[str, Any]:
    """Facts for the report, as far as they are plain text or numbers."""
    names = {
        "collect_id": "collect.collect_id",
        "state_source": "collect.state.source",
        "nesz_peak_db": "collect.image.nesz_peak",
        "squint_deg": "collect.image.center_pixel.squint_angle",
        "look_angle_deg": "collect.image.center_pixel.look_angle",
        "algorithm": "collect.image.algorithm",
        "image_geometry": "collect.image.image_geometry.type",
        "terrain_model": "collect.image.terrain_models.reprojection.name",
    }
    found: dict[str, Any] = {"product_version": _version(fields)}
    for key, name in names.items():
        value = fields.find(name)
        if isinstance(value, str):
            found[key] = value[:200]
        elif value is not None:
            found[key] = fields.number(name)
    return found


def _direction(
    fields: Fields, flown: Literal["ascending", "descending"] | None
) -> Literal["ascending", "descending"] | None:
    name = "collect.state.direction"
    if fields.find(name) is None:
        return flown
    declared = fields.choice(name, ("ascending", "descending"))
    if flown is not None and flown != declared:
        raise fields.wrong(name, f"{flown}, as the state vectors fly", declared)
    return declared  # type: ignore[return-value]


def _orbit(
    fields: Fields, center: np.datetime64
) -> tuple[float | None, Literal["ascending", "descending"] | None]:
    """Inclination and direction from the state vector (Earth-fixed) nearest the centre time.

    The inertial velocity is v + w x r; the inclination is the angle of r x v from the pole. Near the turning
    points (vertical speed under 2 % of the whole) the direction stays open.
    """
    name = "collect.state.state_vectors"
    vectors = fields.find(name)
    if not vectors:
        return None, None
    if not isinstance(vectors, list):
        raise fields.wrong(name, "a list", vectors)
    states = [Fields(v, fields.where) for v in vectors if isinstance(v, Mapping)]
    if len(states) != len(vectors):
        raise fields.wrong(name, "a list of objects", vectors)
    nearest = min(states, key=lambda state: abs(state.time("time") - center))
    position = _vector(nearest, "position", low=6.4e6, high=9e6)
    velocity = _vector(nearest, "velocity", low=5e3, high=1e4)
    momentum = np.cross(position, velocity + np.cross([0.0, 0.0, EARTH_RATE], position))
    inclination_deg = float(np.degrees(np.arccos(momentum[2] / np.linalg.norm(momentum))))
    climb = velocity[2] / np.linalg.norm(velocity)
    if abs(climb) < 0.02:
        return inclination_deg, None
    return inclination_deg, "ascending" if climb > 0 else "descending"


def _vector(state: Fields, name: str, *, low: float, high: float) -> np.ndarray:
    value = state.find(name)
    numbers = isinstance(value, list) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e9 for v in value
    )
    if not numbers or len(value) != 3 or not low <= np.linalg.norm(np.array(value, float)) <= high:
        raise state.wrong(
            f"collect.state.state_vectors.{name}", f"3 numbers of length {low:g} to {high:g}", value
        )
    return np.array(value, dtype=np.float64)


def _plane(inclination_deg: float | None) -> str | None:
    if inclination_deg is None:
        return None
    nearest = min(PLANES_DEG, key=lambda plane: abs(plane - inclination_deg))
    return str(nearest) if abs(nearest - inclination_deg) <= PLANE_TOLERANCE_DEG else None
