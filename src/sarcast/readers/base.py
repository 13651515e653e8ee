"""What a reader is: it claims files, sorts them into products, and reads a product as scenes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from sarcast.errors import ProductError
from sarcast.readers.gdal import Raster, fingerprint
from sarcast.values import Scene, SceneFile, Unit

MAX_JSON_BYTES = 4 * 2**20
"""Metadata beyond this are refused."""


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """Files sorted into products."""

    products: tuple[tuple[Path, ...], ...]
    """The files of each product, to be read together."""
    aside: tuple[tuple[Path, str], ...] = ()
    """Files that are no product to read, and why."""


class Reader(Protocol):
    """A frozen `Settings` whose fields are what the caller declares; most have none."""

    automatic: ClassVar[bool]
    """True when it knows its products by name or header; False when the caller must ask for it."""

    def claims(self, path: Path) -> bool:
        """True when the file is of this kind of product, by its name or header; cheap, never raises."""
        ...

    def sort(self, paths: Sequence[Path]) -> Sorted:
        """Group claimed files into products, by name only."""
        ...

    def read(self, paths: Sequence[Path]) -> list[Scene]:
        """The scenes of one product.

        Raises:
            ProductError: The product is spoiled: names the file and the field.
        """
        ...


def scene_file(
    raster: Raster,
    *,
    band: str,
    product_id: str,
    unit: Unit,
    scale: float = 1.0,
    nodata: float | None,
    index: int = 1,
) -> SceneFile:
    """A `SceneFile` of a described raster, with its size and sha256."""
    size, sha256 = fingerprint(raster.path)
    return SceneFile(
        path=str(raster.path),
        band=band,
        product_id=product_id,
        unit=unit,
        scale=scale,
        nodata=nodata,
        index=index,
        crs=raster.crs,
        transform=raster.transform,
        shape=raster.shape,
        size=size,
        sha256=sha256,
    )


def parse_time(text: str, *, field: str, where: object) -> np.datetime64:
    """datetime64[ns] of an ISO or compact UTC time with any number of fractional digits, or with an offset.

    >>> parse_time("2024-07-09T04:03:29.010153366Z", field="start", where="x")
    np.datetime64('2024-07-09T04:03:29.010153366')
    >>> parse_time("2024-07-09T06:03:29+0200", field="start", where="x")
    np.datetime64('2024-07-09T04:03:29.000000000')

    Raises:
        ProductError: Not a time, or outside the years 1978 to 2200 (civil SAR began in 1978).
    """
    match = _TIME.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is not None:
        year, month, day, hour, minute, second, fraction, sign, off_hour, off_minute = match.groups()
        try:
            clock = f"{hour or '00'}:{minute or '00'}:{second or '00'}.{(fraction or '0')[:9]}"
            found: Any = np.datetime64(f"{year}-{month}-{day}T{clock}", "ns")
        except ValueError:
            found = np.datetime64("NaT", "ns")
        if sign:
            offset = np.timedelta64(int(off_hour) * 60 + int(off_minute), "m")
            found = found - offset if sign == "+" else found + offset
        if _FIRST <= found < _LAST:
            return np.datetime64(found, "ns")
    raise ProductError(f"expected a UTC time in {field}, found {text!r}, in {where}")


def parse_json(text: bytes | str, *, where: object) -> dict[str, Any]:
    """A JSON object of bounded size with finite numbers.

    Raises:
        ProductError: Anything else.
    """
    if len(text) > MAX_JSON_BYTES:
        raise ProductError(f"expected JSON of at most {MAX_JSON_BYTES} bytes, found {len(text)}, in {where}")
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        found = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ProductError(f"expected JSON, found {str(error).splitlines()[0]}, in {where}") from None
    if not isinstance(found, dict):
        raise ProductError(f"expected a JSON object, found {type(found).__name__}, in {where}")
    return found


class Fields:
    """Typed look-ups in nested metadata by dotted name; a wrong value raises `ProductError` naming it."""

    def __init__(self, data: Mapping[str, Any], where: object) -> None:
        self.data = data
        self.where = where

    def find(self, name: str) -> Any:
        """The value at `name`; None when any part of the way is absent or null."""
        value: Any = self.data
        for part in name.split("."):
            if value is None:
                return None
            if not isinstance(value, Mapping):
                raise self.wrong(name, "an object on the way", value)
            value = value.get(part)
        return value

    def text(self, name: str) -> str:
        """A string that must be there."""
        value = self.find(name)
        if not isinstance(value, str) or not value or len(value) > 4096:
            raise self.wrong(name, "text", value)
        return value

    def choice(self, name: str, among: Sequence[str]) -> str:
        """One of some words, that must be there."""
        value = self.find(name)
        if not isinstance(value, str) or value not in among:
            raise self.wrong(name, f"one of {', '.join(among)}", value)
        return value

    def number(self, name: str, *, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number in [low, high] that must be there."""
        value = self.find(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name, "a number", value)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number) or not low <= number <= high:
            raise self.wrong(name, f"a number from {low:g} to {high:g}", value)
        return number

    def time(self, name: str) -> np.datetime64:
        """A UTC time that must be there."""
        return parse_time(self.text(name), field=name, where=self.where)

    def wrong(self, name: str, expected: str, found: object) -> ProductError:
        """The error for a field."""
        shown = "nothing" if found is None else repr(found)[:80]
        return ProductError(f"expected {expected} in {name}, found {shown}, in {self.where}")


def _no_constant(text: str) -> float:
    raise ValueError(f"the number {text}")


_TIME = re.compile(
    r"(\d{4})-?(\d{2})-?(\d{2})(?:[T ](\d{2}):?(\d{2})(?::?(\d{2})(?:\.(\d{1,12}))?)?)?"
    r"(?:Z|([+-])(\d{2}):?(\d{2}))?",
    re.ASCII,
)
_FIRST, _LAST = np.datetime64("1978-01-01", "ns"), np.datetime64("2200-01-01", "ns")
