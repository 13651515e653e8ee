"""Single-look complex images in radar geometry: what one is, and which of our readers reads a path."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from sarcast.errors import ProductError, ShapeError
from sarcast.runtime.settings import Settings

KINDS = ("sarcast.readers.slc_snap", "sarcast.readers.slc_capella", "sarcast.readers.slc_geotiff")
"""Modules with `claims(path) -> bool` and `read(path, declared) -> Slc`; the first to claim it reads it."""
MAX_PIXELS = 2**31


class DeclaredSlc(Settings):
    """What the owner says of an SLC; needed where the product does not say it itself (complex GeoTIFF)."""

    time: str | None = None
    """Acquisition time, UTC, ISO 8601."""
    band: Literal["HH", "HV", "VH", "VV"] | None = None
    """Polarisation; of a product that holds several, the one to read."""
    sensor: str = "unknown"
    """Sensor family, e.g. sentinel1."""
    platform: str = "unknown"
    """Satellite."""
    mode: str | None = None
    """Acquisition mode, e.g. IW or stripmap."""
    track: str | None = None
    """Relative orbit or orbital plane."""
    orbit_direction: Literal["ascending", "descending"] | None = None
    """Which way the satellite flew."""
    look_side: Literal["left", "right"] | None = None
    """Which side the radar looked to."""
    incidence_deg: Annotated[float, Field(ge=0, le=90)] | None = None
    """At the scene centre, degrees from the vertical."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TiePoints:
    """Latitude and longitude of some pixels of a radar image; between them they are interpolated."""

    rows: np.ndarray
    """float64 (n,), ascending, pixels from the centre of the first."""
    cols: np.ndarray
    """float64 (m,), ascending."""
    latitude: np.ndarray
    """float64 (n, m), degrees north."""
    longitude: np.ndarray
    """float64 (n, m), degrees east."""

    def __post_init__(self) -> None:
        shape = len(self.rows), len(self.cols)
        if self.latitude.shape != shape or self.longitude.shape != shape or min(shape) < 2:
            raise ShapeError(
                f"expected tie points {shape}, at least 2 x 2, found {self.latitude.shape} latitudes"
            )

    def at(self, rows: np.ndarray, cols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(latitude, longitude), float64 (rows, cols), of the pixels at `rows` and `cols`; bilinear."""
        from scipy.interpolate import RegularGridInterpolator

        points = np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1)
        latitude, longitude = (
            RegularGridInterpolator((self.rows, self.cols), values, bounds_error=False, fill_value=None)(
                points
            )
            for values in (self.latitude, self.longitude)
        )
        return latitude, longitude


@dataclass(frozen=True, kw_only=True, eq=False)
class Slc:
    """One complex image of one acquisition in one polarisation, its carrier phase as it was acquired."""

    samples: np.ndarray
    """complex64 (y, x), usually azimuth by range; 0 where not measured."""
    valid: np.ndarray
    """bool (y, x): measured."""
    time: np.datetime64
    """UTC, nanoseconds."""
    band: str
    """HH, HV, VH or VV."""
    product_id: str
    sensor: str
    """Sensor family: sentinel1, capella, or what the caller declared."""
    platform: str
    mode: str | None
    track: str | None
    """Relative orbit or orbital plane; None when unknown."""
    orbit_direction: Literal["ascending", "descending"] | None
    look_side: Literal["left", "right"] | None
    incidence_deg: float | None
    """At the scene centre."""
    ground: TiePoints | None
    """Where its pixels are; None when unknown."""
    path: str

    def __post_init__(self) -> None:
        if self.samples.dtype != np.complex64 or self.samples.ndim != 2:
            raise ShapeError(f"expected complex64 (y, x), found {self.samples.dtype}, in {self.path}")
        if self.valid.shape != self.samples.shape:
            raise ShapeError(
                f"expected a mask {self.samples.shape}, found {self.valid.shape}, in {self.path}"
            )


def read_slc(path: Path, declared: DeclaredSlc | None = None) -> Slc:
    """The complex image at `path`: a SNAP Zarr (znap), a Capella SLC, or a complex GeoTIFF.

    Args:
        path: Folder or file.
        declared: What the product does not say itself.

    Raises:
        ProductError: No SLC that can be read, or one whose carrier phase cannot be trusted.
    """
    path = path.absolute()
    for name in KINDS:
        kind = import_module(name)
        if kind.claims(path):
            found: Slc = kind.read(path, declared or DeclaredSlc())
            return found
    what = "nothing" if not path.exists() else "something else"
    raise ProductError(f"expected an SLC: a .znap folder, or a complex GeoTIFF, found {what}: {path}")


def measured(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(complex64 with 0 where not measured, bool): a sample is measured where it is finite and not 0."""
    valid = np.isfinite(samples) & (samples != 0)
    return np.where(valid, samples, 0).astype(np.complex64), valid
