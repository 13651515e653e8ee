"""Rasters opened with GDAL, safely: GeoTIFF only, no network, bounded sizes, one-line errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sarcast.errors import ProductError
from sarcast.readers.tiff import check_complete, images
from sarcast.runtime.artefact import file_hash

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

SAFE = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_HTTP_TIMEOUT": "60",
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1000",
    "GDAL_HTTP_MAX_RETRY": "5",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif,.tiff",
}
"""GDAL settings of every call: no look at other files, no side-car file, bounded waits."""


@dataclass(frozen=True, kw_only=True)
class Raster:
    """What a GeoTIFF says of itself."""

    path: Path
    """Absolute."""
    crs: str
    """EPSG:nnnn where there is one, else WKT."""
    transform: tuple[float, float, float, float, float, float]
    """Affine (a, b, c, d, e, f)."""
    shape: tuple[int, int]
    """(rows, cols)."""
    count: int
    dtype: str
    nodata: float | None

    @property
    def grid(self) -> tuple[str, tuple[float, ...], tuple[int, int]]:
        """What two rasters of one grid share."""
        return self.crs, self.transform, self.shape


@contextmanager
def open_raster(path: Path) -> Iterator[DatasetReader]:
    """Open a GeoTIFF on this machine for reading.

    The header is checked against the limits of `sarcast.readers.tiff` before GDAL sees the file, so neither a
    VRT in disguise nor a file that unpacks to terabytes gets that far.

    Raises:
        ProductError: Missing, not a TIFF, beyond the limits, or unreadable while it is open.
    """
    import rasterio
    from rasterio._err import CPLE_BaseError
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    path = path.absolute()
    images(path)
    try:
        with rasterio.Env(**SAFE), rasterio.open(path, driver="GTiff") as dataset:
            yield dataset
    except (RasterioError, CPLE_BaseError, NotGeoreferencedWarning, UnicodeError) as error:
        raise ProductError(f"expected a readable GeoTIFF, found {_reason(error)}, in {path}") from None


def describe(path: Path, *, nodata: float | None = None) -> Raster:
    """Check that a GeoTIFF is complete and say what it is.

    Args:
        path: The file.
        nodata: Stored number known to mean "no data" though the file does not declare it; tiles that were
            never written are then no error.

    Raises:
        ProductError: Cut off, damaged, without georeference, or not numbers of one real kind.
    """
    path = path.absolute()
    first = images(path)[0]
    check_complete(path, sparse=nodata is not None or first.has_nodata)
    if not first.georeferenced:
        raise ProductError(f"expected a georeferenced GeoTIFF, found no transform, in {path}")
    with open_raster(path) as dataset:
        if dataset.crs is None or dataset.transform.is_identity:
            raise ProductError(f"expected a georeferenced GeoTIFF, found no CRS or transform, in {path}")
        if dataset.transform.determinant == 0:
            raise ProductError(
                f"expected pixels of some size, found transform {tuple(dataset.transform)}, in {path}"
            )
        return Raster(
            path=path,
            crs=_crs_text(dataset),
            transform=tuple(float(v) for v in tuple(dataset.transform)[:6]),  # type: ignore[arg-type]
            shape=(dataset.height, dataset.width),
            count=dataset.count,
            dtype=dataset.dtypes[0],
            nodata=None if dataset.nodata is None else float(dataset.nodata),
        )


def fingerprint(path: Path) -> tuple[int, str]:
    """(bytes, sha256) of a file.

    Raises:
        ProductError: It cannot be read.
    """
    try:
        return path.stat().st_size, file_hash(path)
    except OSError as error:
        raise ProductError(f"expected a readable file, found {error.strerror}: {path}") from None


def _crs_text(dataset: DatasetReader) -> str:
    return str(dataset.crs.to_string())


def _reason(error: BaseException) -> str:
    """The first line of what GDAL said, without the path it repeats."""
    cause = error.__cause__ if error.__cause__ is not None and "previous exception" in str(error) else error
    lines = str(cause).splitlines()
    return lines[0][:200] if lines else type(error).__name__


__all__ = ["SAFE", "Raster", "check_complete", "describe", "fingerprint", "open_raster"]
