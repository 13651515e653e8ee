"""Maps of cells as Cloud-Optimised GeoTIFFs: float32, NaN where nothing is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.decide.events import STATUS
from sarcast.errors import ShapeError
from sarcast.publish.material import pixel_outline
from sarcast.values import PatchGrid, Scores

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

STATUS_CODES = {name: code for code, name in enumerate(STATUS) if code}
"""As in the status layer of OPERA's DIST-ALERT; 0 is "nothing"."""
_TILE = 256
_CACHE_BYTES = 2**27
_SLACK = 0.05
"""Pixels: outlines come back from degrees rounded to about a centimetre."""


def write_cog(
    path: Path,
    array: np.ndarray | Painted,
    geobox: GeoBox,
    *,
    nodata: float = math.nan,
    categorical: bool = False,
    tags: Mapping[str, str] | None = None,
    bands: Sequence[str] = (),
) -> None:
    """Write a Cloud-Optimised GeoTIFF: float32, deflate with predictor, tiles and overviews.

    It is written to a partial file and renamed; the same input gives the same bytes.

    Args:
        path: Final path.
        array: (y, x) or (band, y, x); anything sliced like numpy, read by blocks of rows.
        geobox: Grid of `array`.
        nodata: Value that means "no data".
        categorical: Overviews by mode (labels) and not by average (scores).
        tags: Embedded as they are: nothing of the machine, nothing secret.
        bands: Description of each band.

    Raises:
        ShapeError: The array does not fit the grid or the descriptions.
    """
    import rasterio
    from rasterio.shutil import copy

    layers = array[None] if isinstance(array, np.ndarray) and array.ndim == 2 else array
    if layers.shape[1:] != tuple(geobox.shape) or (bands and len(bands) != len(layers)):
        raise ShapeError(
            f"expected {len(bands) or 1} bands on the grid {tuple(geobox.shape)}, found {layers.shape}"
        )
    partial, plain = (path.with_name(f".{path.name}.{kind}.tif") for kind in ("partial", "plain"))
    try:
        with rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES):
            _write_plain(plain, layers, geobox, nodata, bands, dict(tags or {}))
            copy(
                plain,
                partial,
                driver="COG",
                compress="DEFLATE",
                predictor="YES",
                blocksize=_TILE,
                overview_resampling="MODE" if categorical else "AVERAGE",
                bigtiff="IF_SAFER",
            )
        partial.replace(path)
    finally:
        for leftover in list(path.parent.iterdir()):
            if leftover.name.startswith(f".{path.name}."):
                leftover.unlink()


def cells_geobox(grid: PatchGrid, geobox: GeoBox) -> GeoBox:
    """The raster grid of a map of cells: it covers the image exactly.

    Its pixels are as large as cell borders allow: one pixel a cell where the image is a whole number of
    strides, smaller where a shifted last row or column of cells covers what is left over.

    Raises:
        ShapeError: `grid` is not over `geobox`.
    """
    from affine import Affine
    from odc.geo.geobox import GeoBox

    if grid.image != tuple(geobox.shape):
        raise ShapeError(f"expected cells over a grid of {grid.image}, found one of {tuple(geobox.shape)}")
    step = _step(grid)
    shape = grid.image[0] // step, grid.image[1] // step
    a, b, c, d, e, f = geobox.affine[:6]
    return GeoBox(shape, Affine(a * step, b * step, c, d * step, e * step, f), geobox.crs)


@dataclass(frozen=True, eq=False)
class Painted:
    """Cells on the grid of `cells_geobox`, sliced like an array (band, y, x) and painted only where sliced.

    A cell paints the square of one stride at its centre; the outer cells reach to the border, and a shifted
    last cell paints only what the one before it leaves.
    """

    cells: np.ndarray
    """(band, row, col)."""
    grid: PatchGrid

    ndim = 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """(band, y, x)."""
        step = _step(self.grid)
        return len(self.cells), self.grid.image[0] // step, self.grid.image[1] // step

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, at: tuple[slice, slice, slice]) -> np.ndarray:
        bands, y, x = at
        rows, cols = _cell_of(self.grid)
        painted: np.ndarray = self.cells[bands][:, rows[y][:, None], cols[x][None, :]]
        return painted


def anomaly_map(scores: Scores, time: int) -> tuple[Painted, tuple[str, ...]]:
    """Float32 (band, y, x) of one date and the description of each band; NaN where a cell is not valid.

    Bands: anomaly strength −log10(p) where calibrated, the detector's raw score, and the change of level in
    dB where known.
    """
    layers, names = [], []
    if scores.p_value is not None:
        layers.append(strength(scores.p_value[time]))
        names.append("anomaly strength, -log10(p)")
    layers.append(scores.values[time])
    names.append(f"raw score of {scores.detector}")
    if scores.change_db is not None:
        layers.append(scores.change_db[time])
        names.append("change of level, dB")
    cells = np.where(scores.valid[time], np.stack(layers), np.nan).astype(np.float32)
    return Painted(cells, scores.grid), tuple(names)


def status_map(codes: np.ndarray, grid: PatchGrid) -> Painted:
    """Float32 (1, y, x) of one date's codes, uint8 (row, col) from `cell_status`; 255 is NaN."""
    return Painted(np.where(codes == 255, np.nan, codes).astype(np.float32)[None], grid)


def cells_in(geometry: Any, scores: Scores) -> np.ndarray:
    """True (row, col) where a cell's centre lies in a geometry of the scores' CRS; else the nearest."""
    import shapely

    grid = scores.grid
    y, x = grid.tops + grid.patch / 2, grid.lefts + grid.patch / 2
    outline = pixel_outline(geometry, scores.geobox).buffer(_SLACK)
    west, north, east, south = outline.bounds
    rows = slice(*np.searchsorted(y, (north, south)))
    cols = slice(*np.searchsorted(x, (west, east)))
    inside = np.zeros(grid.shape, bool)
    inside[rows, cols] = shapely.contains_xy(outline, *np.meshgrid(x[cols], y[rows]))
    if not inside.any():
        middle = outline.centroid
        inside[np.abs(y - middle.y).argmin(), np.abs(x - middle.x).argmin()] = True
    return inside


def strength(p_value: np.ndarray | float) -> np.ndarray:
    """−log10(p): 0 is ordinary, 3 is once in a thousand; a number gives an array of no axes."""
    tiny = np.finfo(np.float32).tiny
    return np.asarray(-np.log10(np.clip(p_value, tiny, 1.0)) + 0.0)


def _step(grid: PatchGrid) -> int:
    """Side of a map pixel in image pixels: cell borders and the image's border fall on its multiples."""
    return math.gcd(grid.stride, _margin(grid), *grid.image)


def _margin(grid: PatchGrid) -> int:
    return (grid.patch - grid.stride) // 2


def _cell_of(grid: PatchGrid) -> tuple[np.ndarray, np.ndarray]:
    """Which cell row and column each map row and column shows."""
    step = _step(grid)
    starts = [np.arange(0, side, step) - _margin(grid) for side in grid.image]
    rows, cols = (
        np.clip(start // grid.stride, 0, count - 1) for start, count in zip(starts, grid.shape, strict=True)
    )
    return rows, cols


def _write_plain(
    path: Path, layers: Any, geobox: GeoBox, nodata: float, bands: Sequence[str], tags: dict[str, str]
) -> None:
    """The same pixels as an ordinary tiled GeoTIFF, written by blocks of rows."""
    import rasterio
    from rasterio.windows import Window

    count, height, width = layers.shape
    profile = {
        "driver": "GTiff",
        "dtype": "float32",
        "count": count,
        "height": height,
        "width": width,
        "crs": None if geobox.crs is None else geobox.crs.to_wkt(),
        "transform": geobox.affine,
        "nodata": nodata,
        "compress": "deflate",
        "bigtiff": "IF_SAFER",
        "tiled": True,
        "blockxsize": _TILE,
        "blockysize": _TILE,
    }
    rows = max(1, 2**21 // (_TILE * width)) * _TILE
    with rasterio.open(path, "w", **profile) as file:
        file.update_tags(**tags)
        for band, name in enumerate(bands, start=1):
            file.set_band_description(band, name)
        for top in range(0, height, rows):
            block = np.asarray(layers[:, top : top + rows, :], dtype=np.float32)
            file.write(block, window=Window(0, top, width, block.shape[1]))
