"""Coherence maps that others made: GeoTIFFs with the two dates of their pair in the name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sarcast.errors import ProductError, SettingsError
from sarcast.readers.gdal import Raster, describe, open_raster

DEFAULT_NAME = "{first:%Y%m%d}-{second:%Y%m%d}"
_HOLE = re.compile(r"\{(?P<name>first|second):(?P<form>[^{}]+)\}")
_DIGITS = {"%Y": r"\d{4}", "%m": r"\d{2}", "%d": r"\d{2}", "%y": r"\d{2}", "%j": r"\d{3}"}
_TOLERANCE = 1e-3
"""Over 1 by rounding."""


@dataclass(frozen=True, kw_only=True)
class CoherenceMap:
    """One map and its pair of dates."""

    path: Path
    first: np.datetime64
    """Day, UTC."""
    second: np.datetime64
    """Day, UTC, later."""


def find_maps(folder: Path, name: str = DEFAULT_NAME) -> list[CoherenceMap]:
    """The maps of a folder, sorted by their dates.

    Args:
        folder: Where the GeoTIFFs are; files whose names hold no pair of dates are left alone.
        name: Part of the name with the dates, as strptime writes them (%Y %m %d %y %j).

    Raises:
        ProductError: There is none, or two are of one pair.
        SettingsError: `name` does not hold both dates.
    """
    pattern, forms = _pattern(name)
    found: dict[tuple[np.datetime64, np.datetime64], CoherenceMap] = {}
    for path in sorted(p for p in folder.glob("*") if p.suffix.lower() in (".tif", ".tiff")):
        match = pattern.search(path.stem)
        if match is None:
            continue
        first, second = sorted(_day(match[part], forms[part], path) for part in ("first", "second"))
        if first == second or (first, second) in found:
            raise ProductError(
                f"expected one map for each pair of two dates, found another of {first}, in {path}"
            )
        found[first, second] = CoherenceMap(path=path.absolute(), first=first, second=second)
    if not found:
        raise ProductError(f"expected GeoTIFFs with {name!r} in their names, found none, in {folder}")
    return [found[pair] for pair in sorted(found)]


def read_map(one: CoherenceMap) -> tuple[np.ndarray, np.ndarray, Raster]:
    """Coherence in [0, 1], float32 (y, x), 0 where not valid; bool (y, x); and the map's grid.

    NaN, the file's nodata, and exactly 0, which no estimate is, are not measured.

    Raises:
        ProductError: Not a georeferenced GeoTIFF of numbers from 0 to 1.
    """
    raster = describe(one.path, nodata=0.0)
    with open_raster(one.path) as dataset:
        stored = dataset.read(1)
    if stored.dtype.kind != "f":
        raise ProductError(f"expected coherence as floating point, found {stored.dtype}, in {one.path}")
    values = stored.astype(np.float32)
    valid = np.isfinite(values) & (values != 0)
    if raster.nodata is not None:
        valid &= values != np.float32(raster.nodata)
    seen = values[valid]
    if len(seen) and not (seen.min() > 0 and seen.max() <= 1 + _TOLERANCE):
        raise ProductError(
            f"expected coherence from 0 to 1, found {seen.min():g} to {seen.max():g}, in {one.path}"
        )
    return np.where(valid, np.minimum(values, 1), 0).astype(np.float32), valid, raster


def _pattern(name: str) -> tuple[re.Pattern[str], dict[str, str]]:
    """The template as a regular expression, and the form of each date."""
    forms = {match["name"]: match["form"] for match in _HOLE.finditer(name)}
    if set(forms) != {"first", "second"} or len(_HOLE.findall(name)) != 2:
        raise SettingsError(f"expected {{first:...}} and {{second:...}} once each, found {name!r}")
    text, end = r"(?<!\d)", 0
    for match in _HOLE.finditer(name):
        text += re.escape(name[end : match.start()]) + f"(?P<{match['name']}>{_digits(match['form'])})"
        end = match.end()
    return re.compile(f"{text}{re.escape(name[end:])}(?!\\d)", re.ASCII), forms


def _digits(form: str) -> str:
    parts = re.split(r"(%.)", form)
    unknown = [part for part in parts if part.startswith("%") and part not in _DIGITS]
    if unknown or "%" not in form:
        raise SettingsError(f"expected dates made of {' '.join(_DIGITS)}, found {form!r}")
    return "".join(_DIGITS.get(part, re.escape(part)) for part in parts)


def _day(text: str, form: str, path: Path) -> np.datetime64:
    from datetime import datetime

    try:
        return np.datetime64(datetime.strptime(text, form).date(), "D")
    except ValueError:
        raise ProductError(f"expected a date as {form}, found {text!r}, in {path}") from None
