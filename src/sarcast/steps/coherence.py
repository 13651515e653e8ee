"""sarcast coherence: two SLCs -> a map of their coherence, for sarcast evaluate --coherence to judge by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from sarcast.errors import DataError, SettingsError
from sarcast.readers.slc import DeclaredSlc, Slc, TiePoints, read_slc
from sarcast.runtime.artefact import digest, locked, up_to_date, writing
from sarcast.runtime.settings import Settings, as_json

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox
    from pyproj import Transformer

    from sarcast.sar.coregister_slc import Registered

_PLACED_AT_ONCE = 2**20
"""Estimates whose coordinates are held together."""
_COARSER = 1.5
"""The map's pixels against the distance between estimates, so that few stay empty."""


class Coherence(Settings):
    """Co-register two single-look complex images and map how coherent they are."""

    first: Path
    """SLC of one date: a SNAP .znap folder, a Capella stripmap SLC, or a complex GeoTIFF."""
    second: Path
    """SLC of another date in the same geometry."""
    out: Path = Path("coherence")
    """Folder the map goes to; its name holds both dates, as sarcast evaluate --coherence reads them."""
    window: tuple[int, int] = (5, 5)
    """Odd (rows, columns) of an estimate; choose it about as wide as long on the ground."""
    max_px: int = Field(default=32, ge=1)
    """Largest shift looked for, pixels."""
    degree: int = Field(default=0, ge=0, le=2)
    """0: one shift for the whole image; 1 or 2: shifts of tiles, fitted by a polynomial of that degree."""
    pixel_m: float | None = Field(default=None, gt=0)
    """Side of the map's pixels; 1.5 times the distance between estimates when not given."""
    times: tuple[str, str] | None = None
    """Acquisition times of complex GeoTIFFs, UTC."""
    declare: DeclaredSlc = DeclaredSlc()
    """What else complex GeoTIFFs do not say themselves."""
    figure: bool = False
    """Draw the map beside it, as PNG."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """Estimates on the ground."""

    values: np.ndarray
    """float32 (y, x): mean of the estimates in each pixel; 0 where there is none."""
    valid: np.ndarray
    """bool (y, x)."""
    geobox: GeoBox


def coherence(settings: Coherence) -> dict[str, Any]:
    """Write FIRST-SECOND_BAND_coherence.tif: float32, NaN where there is no estimate, and say what was done.

    Returns:
        `map` (path), `first`, `second` (days), `mean`, `mean_before`, `floor`, `looks`, `shift_px`, `ramp`.

    Raises:
        SettingsError: The window is not odd, or both images are of one day.
        ProductError: An image cannot be read, or its carrier phase cannot be trusted.
        StackError: The two do not belong together.
        DataError: They cannot be co-registered, or it is not known where they are.
    """
    if any(side < 1 or side % 2 == 0 for side in settings.window):
        raise SettingsError(f"expected a window of odd sides, found {settings.window}")
    first, second = _read(settings)
    target = settings.out / f"{_stem(first, second)}.tif"
    told = {name: value for name, value in as_json(settings).items() if name not in ("out", "figure")}
    inputs = {slc.product_id: _hash(Path(slc.path)) for slc in (first, second)}
    if not up_to_date(target, settings=told, inputs=inputs):
        with locked(settings.out), writing(target, settings=told, inputs=inputs) as partial:
            _make(first, second, settings, partial)
    found = _tags(target)
    if settings.figure:
        from sarcast.publish.coherence import draw_coherence

        draw_coherence(target, target.with_suffix(".png"))
    return {"map": str(target), **found}


def as_text(found: dict[str, Any]) -> str:
    """What was done, in a few lines."""
    dy, dx = found["shift_px"]
    return (
        f"{found['map']}\n"
        f"{found['first']} and {found['second']}: mean coherence {found['mean']:.3f} "
        f"({found['mean_before']:.3f} before co-registration), noise floor {found['floor']:.3f}, "
        f"{found['looks']:.1f} effective looks; moved by {dy:+.2f}, {dx:+.2f} px"
    )


def place(
    values: np.ndarray,
    valid: np.ndarray,
    rows: np.ndarray,
    cols: np.ndarray,
    ground: TiePoints,
    *,
    pixel_m: float | None,
) -> Placed:
    """Estimates in radar geometry, averaged into the pixels of a grid in UTM.

    Args:
        values: (rows, cols), estimates.
        valid: bool (rows, cols).
        rows: Image row of each estimate.
        cols: Image column of each estimate.
        ground: Where the image's pixels are.
        pixel_m: Side of the grid's pixels; None: 1.5 times the distance between estimates.

    Raises:
        DataError: Under 2 x 2 estimates.
    """
    if min(len(rows), len(cols)) < 2:
        raise DataError(f"expected 2 x 2 estimates or more, found {len(rows)} x {len(cols)}")
    geobox, to_map = _map_grid(rows, cols, ground, pixel_m)
    total, count = np.zeros(geobox.shape), np.zeros(geobox.shape)
    step = max(1, _PLACED_AT_ONCE // len(cols))
    for start in range(0, len(rows), step):
        some = slice(start, start + step)
        latitude, longitude = ground.at(rows[some], cols)
        seen = valid[some]
        across, down = ~geobox.transform @ to_map.transform(longitude[seen], latitude[seen])
        at = np.floor(down).astype(np.int64), np.floor(across).astype(np.int64)
        inside = (at[0] >= 0) & (at[0] < total.shape[0]) & (at[1] >= 0) & (at[1] < total.shape[1])
        pixel = at[0][inside], at[1][inside]
        np.add.at(total, pixel, values[some][seen][inside])
        np.add.at(count, pixel, 1)
    mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    return Placed(values=mean.astype(np.float32), valid=count > 0, geobox=geobox)


def _map_grid(
    rows: np.ndarray, cols: np.ndarray, ground: TiePoints, pixel_m: float | None
) -> tuple[GeoBox, Transformer]:
    """UTM grid around the estimates, and the way from longitude and latitude to it."""
    from affine import Affine
    from odc.geo.geobox import GeoBox
    from pyproj import Transformer

    latitude, longitude = ground.at(rows[[0, -1]], cols[[0, -1]])
    zone = min(int((longitude.mean() + 180) // 6) + 1, 60)
    crs = (32600 if latitude.mean() >= 0 else 32700) + zone
    to_map = Transformer.from_crs(4326, crs, always_xy=True)
    x, y = (np.asarray(part) for part in to_map.transform(longitude, latitude))
    if pixel_m is None:
        apart = [
            np.hypot(np.diff(x, axis=i), np.diff(y, axis=i)).max() / (len(at) - 1)
            for i, at in enumerate((rows, cols))
        ]
        pixel_m = float(np.ceil(_COARSER * max(apart)))
    west, north = np.floor(x.min() / pixel_m) * pixel_m, np.ceil(y.max() / pixel_m) * pixel_m
    shape = int((north - y.min()) // pixel_m) + 1, int((x.max() - west) // pixel_m) + 1
    return GeoBox(shape, Affine(pixel_m, 0, west, 0, -pixel_m, north), f"EPSG:{crs}"), to_map


def _read(settings: Coherence) -> tuple[Slc, Slc]:
    """Both images, the earlier first, cut to what they have in common."""
    from sarcast.stack.slc_pair import check_pair

    times: tuple[str | None, str | None] = settings.times or (settings.declare.time, None)
    pair = [
        read_slc(path, settings.declare.model_copy(update={"time": time}))
        for path, time in zip((settings.first, settings.second), times, strict=True)
    ]
    check_pair(*pair)
    first, second = sorted(pair, key=lambda slc: slc.time)
    return first, second


def _stem(first: Slc, second: Slc) -> str:
    days = [str(slc.time.astype("datetime64[D]")).replace("-", "") for slc in (first, second)]
    if days[0] == days[1]:
        raise SettingsError(f"expected two days, found {days[0]} twice, in {first.path} and {second.path}")
    return f"{days[0]}-{days[1]}_{first.band}_coherence"


def _hash(path: Path) -> str:
    """One sha256 of a file, or of all files of a folder."""
    import hashlib
    import json

    return hashlib.sha256(json.dumps(digest(path), sort_keys=True).encode()).hexdigest()


def _make(first: Slc, second: Slc, settings: Coherence, target: Path) -> None:
    from sarcast.sar.coherence import coherence as windowed
    from sarcast.sar.coherence_statistics import effective_looks
    from sarcast.sar.coregister_slc import coregister_pair

    if first.ground is None:
        raise DataError(
            f"expected where the pixels are (tie points or a map grid), found nothing, in {first.path}"
        )
    shape = np.minimum(first.samples.shape, second.samples.shape)
    one, other = (slc.samples[: shape[0], : shape[1]] for slc in (first, second))
    pair = coregister_pair(one, other, window=settings.window, max_px=settings.max_px, degree=settings.degree)
    step = (settings.window[0] // 2 + 1, settings.window[1] // 2 + 1)
    found, enough = windowed(one, pair.samples, window=settings.window, valid=pair.valid, step=step)
    rows, cols = (np.arange((s - 1) // 2, n, s) for s, n in zip(step, shape, strict=True))
    looks = effective_looks(one, pair.samples, window=settings.window, valid=pair.valid)
    placed = place(found, enough, rows, cols, first.ground, pixel_m=settings.pixel_m)
    _write(target, placed, _told(first, second, pair, looks))


def _told(first: Slc, second: Slc, pair: Registered, looks: float) -> dict[str, Any]:
    return {
        "first": str(first.time.astype("datetime64[D]")),
        "second": str(second.time.astype("datetime64[D]")),
        "products": [first.product_id, second.product_id],
        "mean": round(pair.coherence, 4),
        "mean_before": round(pair.coherence_before, 4),
        "floor": round(pair.floor, 4),
        "looks": round(looks, 2),
        "shift_px": [round(part, 4) for part in pair.shift_px],
        "ramp": [round(part, 6) for part in pair.ramp],
    }


def _write(target: Path, placed: Placed, told: dict[str, Any]) -> None:
    import json

    import rasterio

    rows, cols = placed.geobox.shape
    with rasterio.open(
        target,
        "w",
        driver="GTiff",
        height=rows,
        width=cols,
        count=1,
        dtype="float32",
        crs=str(placed.geobox.crs),
        transform=placed.geobox.transform,
        nodata=np.nan,
        compress="deflate",
    ) as dataset:
        dataset.write(np.where(placed.valid, placed.values, np.float32(np.nan)), 1)
        dataset.update_tags(SARCAST=json.dumps(told))


def _tags(target: Path) -> dict[str, Any]:
    import json

    from sarcast.readers.gdal import open_raster

    with open_raster(target) as dataset:
        found: dict[str, Any] = json.loads(dataset.tags()["SARCAST"])
        return found
