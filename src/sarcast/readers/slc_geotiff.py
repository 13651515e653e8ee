"""Complex GeoTIFF (CInt16, CFloat32): samples and where they are; all the rest is declared."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sarcast.errors import ProductError
from sarcast.readers.base import parse_time
from sarcast.readers.gdal import check_complete, open_raster
from sarcast.readers.slc import DeclaredSlc, Slc, TiePoints, measured
from sarcast.readers.tiff import is_tiff

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

COMPLEX = ("complex_int16", "complex64", "complex128")
_TIES = 33
"""Along each side, where a transform or ground control points give the ground."""


def claims(path: Path) -> bool:
    """Any TIFF."""
    return is_tiff(path)


def read(path: Path, declared: DeclaredSlc) -> Slc:
    """The first band of a complex GeoTIFF.

    Raises:
        ProductError: Not complex, cut off, or its time or polarisation is not declared.
    """
    if declared.time is None or declared.band is None:
        raise ProductError(f"expected a declared time and band for a complex GeoTIFF, found none, for {path}")
    samples, ground = read_complex(path)
    samples, valid = measured(samples)
    return Slc(
        samples=samples,
        valid=valid,
        time=parse_time(declared.time, field="time", where=path),
        band=declared.band,
        product_id=path.stem,
        sensor=declared.sensor,
        platform=declared.platform,
        mode=declared.mode,
        track=declared.track,
        orbit_direction=declared.orbit_direction,
        look_side=declared.look_side,
        incidence_deg=declared.incidence_deg,
        ground=ground,
        path=str(path),
    )


def read_complex(path: Path) -> tuple[np.ndarray, TiePoints | None]:
    """Samples as stored, complex64 (y, x), and where they are.

    Raises:
        ProductError: Cut off, damaged, or not complex.
    """
    from rasterio.errors import NotGeoreferencedWarning

    check_complete(path, sparse=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with open_raster(path) as dataset:
            if dataset.dtypes[0] not in COMPLEX:
                raise ProductError(f"expected complex samples, found {dataset.dtypes[0]}, in {path}")
            samples = dataset.read(1).astype(np.complex64)
            return samples, _ground(dataset)


def _ground(dataset: DatasetReader) -> TiePoints | None:
    """From the transform, else from ground control points by a polynomial; None with neither."""
    from pyproj import Transformer
    from rasterio.transform import GCPTransformer

    rows, cols = (np.linspace(0, n - 1, min(_TIES, n)) for n in dataset.shape)
    at = [axis.ravel() for axis in np.meshgrid(rows, cols, indexing="ij")]
    points, points_crs = dataset.gcps
    if dataset.crs is not None and not dataset.transform.is_identity:
        crs = dataset.crs
        x, y = dataset.transform @ (at[1] + 0.5, at[0] + 0.5)
    elif len(points) >= 4 and points_crs is not None:
        crs = points_crs
        with GCPTransformer(points) as transformer:
            x, y = (np.asarray(v) for v in transformer.xy(at[0], at[1], offset="center"))
    else:
        return None
    longitude, latitude = Transformer.from_crs(crs.to_wkt(), 4326, always_xy=True).transform(x, y)
    shape = len(rows), len(cols)
    return TiePoints(
        rows=rows, cols=cols, latitude=np.reshape(latitude, shape), longitude=np.reshape(longitude, shape)
    )
