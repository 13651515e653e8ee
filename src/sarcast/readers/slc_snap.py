"""SLCs that ESA SNAP wrote as Zarr (.znap): i and q of one date on its stack's common grid."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from sarcast.errors import ProductError
from sarcast.readers.slc import MAX_PIXELS, DeclaredSlc, Slc, TiePoints, measured

MAX_METADATA_BYTES = 64 * 2**20
_BAND = re.compile(r"i_(?:.*_)?(?P<band>HH|HV|VH|VV)(?:_.*)?_(?P<date>\d{2}[A-Z][a-z]{2}\d{4})", re.ASCII)
_DAY_0 = np.datetime64("2000-01-01", "ns")
"""Of SNAP's days, seconds and microseconds."""


def claims(path: Path) -> bool:
    """A folder with a Zarr group and SNAP's own metadata."""
    return (path / ".zgroup").is_file() and (path / "SNAP" / "product_metadata.json").is_file()


def read(path: Path, declared: DeclaredSlc) -> Slc:
    """The one complex band, and what SNAP keeps of the product it came from.

    A co-registered stack carries the metadata of all its products: the band's own is the one whose first line
    was acquired on the date in the band's name.

    Raises:
        ProductError: No i and q, several, or no product of their date.
    """
    import zarr

    try:
        group: Any = zarr.open_group(str(path), mode="r", zarr_format=2)
        names = sorted(array.parent.name for array in path.glob("*/.zarray"))
    except (OSError, ValueError, KeyError) as error:
        raise ProductError(f"expected a Zarr group, found {str(error).splitlines()[0]}, in {path}") from None
    match = _complex_band(names, declared.band, path)
    day = _day(match["date"], path)
    samples, valid = measured(_samples(group, match[0], path))
    product = _product_of(day, path)
    satellite = product["PRODUCT"].split("_")[0]
    return Slc(
        samples=samples,
        valid=valid,
        time=_time(product),
        band=match["band"],
        product_id=product["PRODUCT"],
        sensor="sentinel1" if re.fullmatch("S1[A-Z]", satellite) else declared.sensor,
        platform=satellite,
        mode=product.get("ACQUISITION_MODE"),
        track=str(product["REL_ORBIT"][0]) if "REL_ORBIT" in product else None,
        orbit_direction=_word(product.get("PASS"), ("ascending", "descending")),
        look_side=_word(product.get("antenna_pointing"), ("left", "right")),
        incidence_deg=_incidence(group, names, samples.shape),
        ground=_ground(group, names, match["band"]),
        path=str(path),
    )


def _complex_band(names: list[str], band: str | None, path: Path) -> re.Match[str]:
    found = [m for m in map(_BAND.fullmatch, names) if m is not None and band in (None, m["band"])]
    if len(found) != 1:
        shown = ", ".join(m[0] for m in found) or f"none in {', '.join(names)[:200]}"
        raise ProductError(f"expected one band i_POLARISATION_DATE, found {shown}, in {path}")
    return found[0]


def _day(text: str, path: Path) -> np.datetime64:
    try:
        return np.datetime64(datetime.strptime(text, "%d%b%Y").date(), "D")
    except ValueError:
        raise ProductError(f"expected a date such as 19Mar2023, found {text!r}, in {path}") from None


def _samples(group: Any, name: str, path: Path) -> np.ndarray:
    parts = [name, f"q{name[1:]}"]
    if parts[1] not in group:
        raise ProductError(f"expected a band {parts[1]} beside {name}, found none, in {path}")
    arrays = [group[part] for part in parts]
    shape = arrays[0].shape
    if len(shape) != 2 or arrays[1].shape != shape or not 0 < shape[0] * shape[1] <= MAX_PIXELS:
        raise ProductError(
            f"expected i and q of one size (y, x), found {shape}, {arrays[1].shape}, in {path}"
        )
    out = np.empty(shape, np.complex64)
    out.real, out.imag = (array[:] for array in arrays)
    return out


def _product_of(day: np.datetime64, path: Path) -> dict[str, Any]:
    """Plain metadata of the product acquired on `day`."""
    file = path / "SNAP" / "product_metadata.json"
    if file.stat().st_size > MAX_METADATA_BYTES:
        raise ProductError(f"expected at most {MAX_METADATA_BYTES} bytes of metadata, found more, in {file}")
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        sections = {section["name"]: section for section in told}
        slaves = sections.get("Slave_Metadata", {}).get("elements", [])
        products = [_plain(part) for part in (sections["Abstracted_Metadata"], *slaves)]
        found = [p for p in products if "PRODUCT" in p and _time(p).astype("datetime64[D]") == day]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ProductError(f"expected SNAP's metadata, found {type(error).__name__}, in {file}") from None
    if not found:
        raise ProductError(f"expected the metadata of a product of {day}, found none, in {file}")
    return found[0]


def _plain(section: dict[str, Any]) -> dict[str, Any]:
    return {part["name"]: part["data"].get("elems") for part in section["attributes"] if "data" in part}


def _time(product: dict[str, Any]) -> np.datetime64:
    """Of the first line: SNAP's days since 2000, seconds, microseconds."""
    days, seconds, micro = (int(v) for v in product["first_line_time"])
    time: np.datetime64 = _DAY_0 + np.timedelta64(((days * 86_400 + seconds) * 10**6 + micro) * 1000, "ns")
    return time


def _word(value: Any, among: tuple[str, ...]) -> Any:
    """One of some words, or None when unknown."""
    word = str(value).lower()
    return word if word in among else None


def _incidence(group: Any, names: list[str], shape: tuple[int, ...]) -> float | None:
    if "incident_angle" not in names:
        return None
    rows, cols = _tie_axes(group["incident_angle"])
    from scipy.interpolate import RegularGridInterpolator

    middle = [[shape[0] / 2, shape[1] / 2]]
    grid = np.asarray(group["incident_angle"][:], np.float64)
    return float(RegularGridInterpolator((rows, cols), grid, bounds_error=False, fill_value=None)(middle)[0])


def _ground(group: Any, names: list[str], band: str) -> TiePoints | None:
    """Every pixel's own latitude and longitude where SNAP wrote them, else its tie points."""
    for pair in ((f"latitude_{band}", f"longitude_{band}"), ("latitude", "longitude")):
        if all(name in names for name in pair):
            rows, cols = _tie_axes(group[pair[0]])
            latitude, longitude = (np.asarray(group[name][:], np.float64) for name in pair)
            return TiePoints(rows=rows, cols=cols, latitude=latitude, longitude=longitude)
    return None


def _tie_axes(array: Any) -> tuple[np.ndarray, np.ndarray]:
    told = dict(array.attrs)
    rows, cols = (
        float(told.get(f"offset_{axis}", 0)) + np.arange(n) * float(told.get(f"subsampling_{axis}", 1))
        for axis, n in zip("yx", array.shape, strict=True)
    )
    return rows, cols
