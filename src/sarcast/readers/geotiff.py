"""Any GeoTIFF, as its owner declares it: unit, time, polarisation and geometry come from flags or a CSV.

Nothing is guessed. What is declared is compared with a sample of the pixels (`declared.py`) and kept in
`Scene.extra["declared"]`, so that a report can print it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, ValidationError, field_validator

from sarcast.errors import ProductError, SettingsError
from sarcast.readers.base import Sorted, parse_time, scene_file
from sarcast.readers.declared import check_looks, check_polarisations, check_unit, sample
from sarcast.readers.gdal import Raster, describe
from sarcast.runtime.settings import Settings, explain
from sarcast.values import Scene, SceneFile, Unit

Polarisation = Literal["HH", "HV", "VH", "VV"]
MAX_CSV_BYTES = 64 * 2**20

_TIME_PARTS = {"Y": 4, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2}


class Declaration(Settings):
    """What the owner says of one raster. All of it may be given per file in the CSV."""

    unit: Unit | None = None
    """What a stored number is, after `scale`: amplitude, power (both linear) or db. Required."""
    time: str | None = None
    """Acquisition time, UTC, ISO 8601. Required, here or by `time_format` or in the CSV."""
    bands: tuple[Polarisation, ...] = ()
    """Polarisation of each band of the raster, in order. Required."""
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Stored numbers are multiplied by this first."""
    nodata: float | None = None
    """Stored number that means "no data"; by default what the file declares. NaN and infinity always do."""
    radiometry: Literal["sigma0", "gamma0", "beta0", "uncalibrated"] = "uncalibrated"
    """What the power is a measure of."""
    calibration: Literal["full", "partial", "limited", "none", "unknown"] = "unknown"
    """How far it is calibrated."""
    geometry: Literal["terrain", "ellipsoid", "unknown"] = "unknown"
    """What it was projected with."""
    sensor: str = "unknown"
    """Sensor family, e.g. sentinel1; scenes of different families never share a stack."""
    platform: str = "unknown"
    """Satellite."""
    place: str | None = None
    """Fixed name of the place, when scenes of different places must not meet."""
    track: str | None = None
    """Relative orbit or orbital plane."""
    orbit_direction: Literal["ascending", "descending"] | None = None
    """Which way the satellite flew."""
    look_side: Literal["left", "right"] | None = None
    """Which side the radar looked to."""
    incidence_deg: Annotated[float, Field(ge=0, le=90)] | None = None
    """At the scene centre, degrees from the vertical."""
    looks: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Equivalent number of looks."""

    @field_validator("nodata")
    @classmethod
    def _finite(cls, nodata: float | None) -> float | None:
        """NaN and infinity need no declaration."""
        return nodata if nodata is not None and np.isfinite(nodata) else None


class GeoTIFF(Declaration):
    """GeoTIFFs with declared unit, time, polarisation and geometry."""

    automatic: ClassVar[bool] = False

    time_format: str | None = None
    """The time in a file's name, as strptime writes it (%Y %m %d %H %M %S), e.g. %Y%m%dT%H%M%S."""
    times_csv: Path | None = None
    """CSV with a column `file` (name, or path from the CSV's folder) and other settings as columns; `band`
    holds the polarisations of a raster's bands, separated by spaces. An empty cell changes nothing."""

    def claims(self, path: Path) -> bool:
        """Any TIFF: only asked for when the caller chose this reader."""
        return path.suffix.lower() in (".tif", ".tiff")

    def sort(self, paths: Sequence[Path]) -> Sorted:
        """Files that the CSV or the name dates alike are read together: they may be bands of one scene."""
        rows = self._rows()
        groups: dict[str, list[Path]] = {}
        for path in paths:
            row = _row_of(path, rows)
            key = (
                row.get("time") or self._time_in_name(path) or (path.name if self.time is None else self.time)
            )
            groups.setdefault(str(key), []).append(path)
        return Sorted(products=tuple(tuple(group) for group in groups.values()))

    def read(self, paths: Sequence[Path]) -> list[Scene]:
        """One scene per grid among `paths`, or per file where polarisations repeat."""
        rows = self._rows()
        found: dict[object, list[tuple[Raster, Declaration]]] = {}
        for path in (path.absolute() for path in paths):
            declared = self._declaration(path, _row_of(path, rows))
            raster = describe(path, nodata=declared.nodata)
            same = {name: getattr(declared, name) for name in _SHARED}
            key = (raster.grid, tuple(same.items()))
            found.setdefault(key, []).append((raster, declared))
        scenes: list[Scene] = []
        for members in found.values():
            bands = [band for _, declared in members for band in declared.bands]
            if len(set(bands)) == len(bands):
                scenes.append(_scene(members))
            else:
                scenes.extend(_scene([member]) for member in members)
        return scenes

    def _declaration(self, path: Path, row: dict[str, str]) -> Declaration:
        """The flags, overridden by the file's row; complete, or an error naming what is missing."""
        values: dict[str, Any] = {name: getattr(self, name) for name in Declaration.model_fields}
        values["time"] = self.time or self._time_in_name(path)
        values |= {name: text for name, text in row.items() if text != "" and name != "bands"}
        if row.get("bands"):
            values["bands"] = tuple(row["bands"].replace("+", " ").split())
        for name in ("unit", "time", "bands"):
            if not values[name]:
                raise ProductError(
                    f"expected a declared {name} (a flag, or a column of the CSV), found none, for {path}"
                )
        try:
            return Declaration(**values)
        except ValidationError as error:
            raise ProductError(explain(error, f"the declaration of {path}")) from None

    def _time_in_name(self, path: Path) -> str | None:
        if self.time_format is None:
            return None
        found = list(re.finditer(_time_pattern(self.time_format), path.stem, re.ASCII))
        if len(found) != 1:
            return None
        part = found[0].groupdict(default="00")
        date = f"{part['Y']}-{part.get('m', '01')}-{part.get('d', '01')}"
        return f"{date}T{part.get('H', '00')}:{part.get('M', '00')}:{part.get('S', '00')}Z"

    def _rows(self) -> dict[str, dict[str, str]]:
        """File (as written in the CSV) -> its cells."""
        if self.times_csv is None:
            return {}
        try:
            found = self.times_csv.stat()
        except OSError as error:
            raise SettingsError(
                f"expected a readable CSV, found {error.strerror}: {self.times_csv}"
            ) from None
        return _read_csv(self.times_csv, found.st_size, found.st_mtime_ns)


_SHARED = tuple(name for name in Declaration.model_fields if name not in ("bands", "nodata", "scale", "unit"))


def _scene(members: list[tuple[Raster, Declaration]]) -> Scene:
    declared, first = members[0][1], members[0][0]
    units = {member.unit for _, member in members}
    if len(units) > 1:
        raise ProductError(f"expected one unit in a scene, found {sorted(map(str, units))}, in {first.path}")
    files = [file for raster, member in members for file in _files(raster, member)]
    samples = {file.band: sample(file) for file in files}
    for file in files:
        check_unit(samples[file.band], file, calibrated=declared.radiometry != "uncalibrated")
    check_polarisations(samples, str(first.path))
    measured = {file.band: check_looks(samples[file.band], declared.looks, file.path) for file in files}
    said = {**declared.model_dump(mode="json"), "bands": sorted(file.band for file in files)}
    time = parse_time(declared.time or "", field="the declared time", where=first.path)
    stamp = np.datetime_as_string(time, unit="s").replace("-", "").replace(":", "")
    return Scene(
        scene_id=f"{'+'.join(sorted({file.product_id for file in files}))}_{stamp}",
        time=time,
        files=tuple(sorted(files, key=lambda file: file.band)),
        sensor=declared.sensor,
        platform=declared.platform,
        product_type="geotiff",
        place=declared.place,
        orbit_direction=declared.orbit_direction,
        look_side=declared.look_side,
        track=declared.track,
        incidence_deg=declared.incidence_deg,
        radiometry=declared.radiometry,
        calibration=declared.calibration,
        geometry=declared.geometry,
        looks=declared.looks,
        extra={"declared": said, "measured_looks": measured},
    )


def _files(raster: Raster, declared: Declaration) -> list[SceneFile]:
    if len(declared.bands) != raster.count:
        raise ProductError(
            f"expected the polarisation of each of {raster.count} bands, found {list(declared.bands)} "
            f"declared, for {raster.path}"
        )
    if np.dtype(raster.dtype).kind not in "uif":
        raise ProductError(f"expected real numbers, found {raster.dtype}, in {raster.path}")
    assert declared.unit is not None
    return [
        scene_file(
            raster,
            band=band,
            product_id=raster.path.stem,
            unit=declared.unit,
            scale=declared.scale,
            nodata=_nodata(raster, declared),
            index=index,
        )
        for index, band in enumerate(declared.bands, start=1)
    ]


def _nodata(raster: Raster, declared: Declaration) -> float | None:
    """NaN and infinity need no declaration."""
    nodata = raster.nodata if declared.nodata is None else declared.nodata
    return nodata if nodata is not None and np.isfinite(nodata) else None


def _time_pattern(form: str) -> str:
    """A regular expression for a strptime format of digits."""
    seen: list[str] = []
    pattern = ""
    for piece in re.findall(r"%.|[^%]+|%$", form):
        if piece.startswith("%"):
            if piece[1:] not in _TIME_PARTS or piece[1:] in seen:
                raise SettingsError(
                    f"setting 'time_format': expected each of %Y %m %d %H %M %S at most once, found {form!r}"
                )
            seen.append(piece[1:])
            pattern += rf"(?P<{piece[1:]}>\d{{{_TIME_PARTS[piece[1:]]}}})"
        else:
            pattern += re.escape(piece)
    if not {"Y", "m", "d"} <= set(seen):
        raise SettingsError(f"setting 'time_format': expected at least %Y, %m and %d, found {form!r}")
    return pattern if not pattern.startswith("(") else rf"(?<!\d){pattern}"


@lru_cache(maxsize=8)
def _read_csv(path: Path, size: int, changed_ns: int) -> dict[str, dict[str, str]]:  # noqa: ARG001
    known = {*Declaration.model_fields, "file"}
    if size > MAX_CSV_BYTES:
        raise SettingsError(f"expected a CSV of at most {MAX_CSV_BYTES} bytes, found more: {path}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream, strict=True))
    except OSError as error:
        raise SettingsError(f"expected a readable CSV, found {error.strerror}: {path}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise SettingsError(f"expected a CSV, found {error}, in {path}") from None
    table: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, start=2):
        cells = {
            ("bands" if name == "band" else name): (text or "").strip() for name, text in row.items() if name
        }
        unknown = sorted(set(cells) - known)
        if unknown or None in row or not cells.get("file"):
            found = f"column {unknown[0]!r}" if unknown else "a row with no file or too many cells"
            raise SettingsError(
                f"expected columns in {', '.join(sorted(known))}, found {found}, in {path}:{number}"
            )
        name = cells.pop("file")
        if name in table:
            raise SettingsError(f"expected each file once, found {name!r} again, in {path}:{number}")
        table[name] = cells
    return {_key(path.parent, name): cells for name, cells in table.items()}


def _key(folder: Path, name: str) -> str:
    """A bare name stays a name; a path is taken from the CSV's folder."""
    return name if Path(name).name == name else str((folder / name).absolute())


def _row_of(path: Path, rows: dict[str, dict[str, str]]) -> dict[str, str]:
    return rows.get(str(path.absolute())) or rows.get(path.name) or {}
