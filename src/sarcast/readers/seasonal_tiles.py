"""Seasonal tiles in files: 12 channels in dB as sarcast writes them, or 16 bands of uint8 as M3LEO has them.

Ours are GeoTIFFs of float32 with a band for each of `CHANNELS`, named so, NaN where not valid. Those of
geetiles and M3LEO are uint8 = 255 (dB + 30) / 30; bands are the seasons winter, spring, summer, fall, each
with vvasc, vvdes, vhasc, vhdes. Levels outside -30..0 dB were not clipped when these files were made but
wrapped round: +3 dB is stored as -27 dB, -35 as -5.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from sarcast.errors import ProductError
from sarcast.readers.gdal import describe, open_raster
from sarcast.sar.seasons import CHANNELS, SEASONS, SeasonalStack, of_db

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from rasterio.io import DatasetReader

LOW_DB, HIGH_DB = -30.0, 0.0
STORED = tuple(f"{season}_{kind}" for season in ("winter", "spring", "summer", "fall")
               for kind in ("vvasc", "vvdes", "vhasc", "vhdes"))  # fmt: skip
"""Bands of a file, in order."""
CROSS_OVER_DB = 6.0
"""VH is never so far over VV on the ground: where it is, one of them wrapped."""
Wrapped = Literal["mask", "keep", "refuse"]


@dataclass(frozen=True, kw_only=True, eq=False)
class SeasonalTile:
    """A tile, and where its numbers are not to be believed."""

    stack: SeasonalStack
    wrapped: np.ndarray
    """bool (2, season, y, x) of VV and VH: suspected to have wrapped round."""

    @property
    def wrapped_share(self) -> float:
        """Of all numbers read."""
        return float(self.wrapped.mean())


def is_seasonal(path: Path) -> bool:
    """Whether a file looks like a seasonal tile of either kind; one that cannot be read does not."""
    try:
        about = describe(path)
    except ProductError:
        return False
    return (about.count, about.dtype) in ((len(CHANNELS), "float32"), (len(STORED), "uint8"))


@dataclass(frozen=True, kw_only=True)
class SeasonalHeader:
    """What a tile's file says before its pixels are read."""

    geobox: GeoBox
    radiometry: str


def read_header(path: Path) -> SeasonalHeader:
    """Grid and radiometry of a tile of either kind; its pixels are not read.

    Raises:
        ProductError: It cannot be read.
    """
    with open_raster(path) as dataset:
        usual = "sigma0" if dataset.count == len(STORED) else "uncalibrated"
        return SeasonalHeader(geobox=_geobox(dataset), radiometry=dataset.tags().get("radiometry", usual))


def read_seasons(path: Path, *, orbit: Literal["asc", "des"] = "asc") -> SeasonalStack:
    """A tile of either kind; what wrapped round in M3LEO's is not valid.

    Args:
        path: GeoTIFF of 12 or 16 bands.
        orbit: Ascending or descending passes, of 16 bands.

    Raises:
        ProductError: Not such a file.
    """
    about = describe(path)
    if about.count == len(STORED):
        return read_tile(path, orbit=orbit).stack
    with open_raster(path) as dataset:
        names = tuple(name or "" for name in dataset.descriptions)
        if names != CHANNELS or about.dtype != "float32":
            raise ProductError(
                f"expected bands {CHANNELS[0]} to {CHANNELS[-1]} of float32, found {about.count} of "
                f"{about.dtype}, named {', '.join(filter(None, names)) or 'nothing'}, in {path}"
            )
        values, tags, geobox = dataset.read(), dataset.tags(), _geobox(dataset)
    valid = np.isfinite(values)
    return SeasonalStack(
        db=np.where(valid, values, 0).astype(np.float32),
        valid=valid,
        geobox=geobox,
        name=path.stem,
        statistic=tags.get("statistic", "unknown"),
        radiometry=tags.get("radiometry", "uncalibrated"),
    )


def write_seasons(path: Path, tile: SeasonalStack) -> None:
    """Write a tile's 12 channels in dB, float32, NaN where not valid."""
    import rasterio

    rows, cols = tile.db.shape[1:]
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=cols,
        height=rows,
        count=len(CHANNELS),
        dtype="float32",
        nodata=np.nan,
        crs=str(tile.geobox.crs),
        transform=tile.geobox.transform,
        compress="deflate",
        predictor=3,
    ) as out:
        out.write(np.where(tile.valid, tile.db, np.nan).astype(np.float32))
        out.descriptions = CHANNELS
        out.update_tags(statistic=tile.statistic, radiometry=tile.radiometry)


def read_tile(
    path: Path, *, orbit: Literal["asc", "des"] = "asc", wrapped: Wrapped = "mask", most: float = 0.0
) -> SeasonalTile:
    """A seasonal tile in our 12 channels.

    Not valid are pixels of nodata or masked out (in the file or in its .msk), and a polarisation that is one
    number all over in a season, which is how a season without acquisitions looks.

    Args:
        path: GeoTIFF with the 16 bands above, named or in that order.
        orbit: Ascending or descending passes.
        wrapped: What becomes of pixels that wrapped round, as far as `wrap_suspects` sees them: not valid,
            kept as they are, or refused.
        most: Share of suspects from which on `refuse` refuses.

    Raises:
        ProductError: Not such a file, or `refuse` and more than `most` wrapped.
    """
    about = describe(path)
    if about.count != len(STORED) or about.dtype != "uint8":
        raise ProductError(
            f"expected {len(STORED)} bands of uint8, found {about.count} of {about.dtype}, in {path}"
        )
    with open_raster(path) as dataset:
        geobox = _geobox(dataset)
        bands = _bands(dataset, orbit, path)
        stored = dataset.read(bands).reshape(2, len(SEASONS), *about.shape)
        valid = (dataset.read_masks(bands) > 0).reshape(stored.shape)
    valid &= _side_car(path, about.shape)
    valid &= (stored.min((2, 3)) < stored.max((2, 3)))[:, :, None, None]
    suspect = wrap_suspects(stored, valid)
    if wrapped == "refuse" and suspect.mean() > most:
        raise ProductError(
            f"expected numbers within {LOW_DB:g}..{HIGH_DB:g} dB, found {suspect.mean():.1%} that seem to "
            f"have wrapped round, in {path}"
        )
    return SeasonalTile(
        stack=of_db(
            to_level(stored),
            valid & ~suspect if wrapped == "mask" else valid,
            geobox=geobox,
            name=path.stem,
            statistic="unknown",
            radiometry="sigma0",
        ),
        wrapped=suspect,
    )


def write_tile(path: Path, db: np.ndarray, *, geobox: GeoBox, wrap: bool = False) -> None:
    """Write VV and VH (2, season, y, x) in dB as such a file, the same for both orbits.

    Args:
        path: GeoTIFF to write.
        db: dB; NaN where there is none (masked).
        geobox: The grid.
        wrap: Let numbers outside -30..0 dB wrap round, as geetiles does, instead of clipping them.
    """
    import rasterio

    gaps = np.isnan(db)
    stored = 255 * (np.where(gaps, LOW_DB, db) - LOW_DB) / (HIGH_DB - LOW_DB)
    stored = (np.mod(np.trunc(stored), 256) if wrap else np.clip(stored, 0, 255)).astype(np.uint8)
    profile = {
        "driver": "GTiff",
        "width": db.shape[3],
        "height": db.shape[2],
        "count": len(STORED),
        "dtype": "uint8",
        "crs": str(geobox.crs),
        "transform": geobox.transform,
        "compress": "deflate",
    }
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"), rasterio.open(path, "w", **profile) as out:
        for number, name in enumerate(STORED, 1):
            season, kind = divmod(number - 1, 4)
            out.write(stored[kind // 2, season], number)
            out.set_band_description(number, name)
        if gaps.any():
            out.write_mask(~gaps.any((0, 1)))


def to_level(stored: np.ndarray) -> np.ndarray:
    """Level of stored numbers in dB, float32."""
    return np.asarray(stored, np.float32) * np.float32((HIGH_DB - LOW_DB) / 255) + np.float32(LOW_DB)


def wrap_suspects(stored: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Where numbers seem to have wrapped round, bool, shape of `stored`.

    Two signs. VH lies over VV by more than 6 dB: both are suspect, since one wrapped and the number does not
    tell which. Or a pixel is in the lowest quarter of the scale and its 5 x 5 neighbourhood's median in the
    highest, or the other way round. An area that wrapped as a whole in both polarisations is not seen.

    Args:
        stored: uint8 (2, season, y, x), VV and VH.
        valid: bool, same shape.
    """
    both = valid.all(0)
    over = CROSS_OVER_DB * 255 / (HIGH_DB - LOW_DB)
    crossed = both & (stored[1].astype(int) - stored[0] > over)
    low, high = 64, 191
    alone = (stored < low) & _mostly(stored > high) | (stored > high) & _mostly(stored < low)
    return valid & (crossed | alone)


def _mostly(true: np.ndarray) -> np.ndarray:
    """Where 13 or more of the 5 x 5 pixels around are True: where their median would be."""
    from scipy.ndimage import convolve1d

    count = true.astype(np.uint8)
    for axis in (-2, -1):
        count = convolve1d(count, np.ones(5), axis=axis, mode="nearest")
    return np.asarray(count > 12)


def _bands(dataset: DatasetReader, orbit: str, path: Path) -> list[int]:
    """Numbers of the bands VV of all seasons, then VH, from 1."""
    names = tuple(name or "" for name in dataset.descriptions)
    if any(names) and sorted(names) != sorted(STORED):
        raise ProductError(f"expected bands {STORED[0]} to {STORED[-1]}, found {', '.join(names)}, in {path}")
    order = names if any(names) else STORED
    seasons = dict.fromkeys(name.split("_")[0] for name in STORED)
    return [order.index(f"{season}_{kind}{orbit}") + 1 for kind in ("vv", "vh") for season in seasons]


def _side_car(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Where (y, x) there is something, by a file beside the tile; everywhere where there is none."""
    mask = path.with_name(f"{path.name}.msk")
    if not mask.exists():
        return np.ones(shape, bool)
    with open_raster(mask) as dataset:
        if (dataset.height, dataset.width) != shape:
            raise ProductError(
                f"expected a mask of {shape}, found {(dataset.height, dataset.width)}, in {mask}"
            )
        return np.asarray(dataset.read().min(0) > 0)


def _geobox(dataset: DatasetReader) -> GeoBox:
    from odc.geo.geobox import GeoBox

    return GeoBox((dataset.height, dataset.width), dataset.transform, str(dataset.crs))
