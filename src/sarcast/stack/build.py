"""Warp scenes onto a stack's grid, block by block, in power: memory knows neither dates nor scene size."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.values import Scene, SceneFile

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

Window = tuple[tuple[int, int], tuple[int, int]]
Reader = Callable[[SceneFile, Window], tuple[np.ndarray, np.ndarray]]
Sink = Callable[[str, tuple[int, int], np.ndarray, np.ndarray], None]

CACHE_MB = 64
"""GDAL's raster cache while warping."""
_COARSER = 1.5
"""From this ratio of pixel sides on, source pixels are averaged; below, they are interpolated."""
_WHOLE = 0.999
"""A pixel is valid when at least this share of what feeds it is."""
_ALIGNED_PX = 1e-3


@dataclass(frozen=True, kw_only=True)
class Correction:
    """What is taken out of one date while it is warped."""

    shift_px: tuple[float, float] = (0.0, 0.0)
    """(dy, dx): how far the date's content lies from where it should, in pixels of the stack."""
    gain_db: tuple[tuple[str, float], ...] = ()
    """(band, dB) by which the date is too bright."""

    def factor(self, band: str) -> float:
        """What power of `band` is multiplied by."""
        return float(10 ** (-dict(self.gain_db).get(band, 0.0) / 10))


NO_CORRECTION = Correction()


def warp_all(
    work: Sequence[tuple[Scene, Correction]],
    geobox: GeoBox,
    sink: Sink,
    *,
    block: int,
    workers: int,
    read: Reader | None = None,
) -> None:
    """Warp every scene of `work` and hand each block to `sink(scene_id, (row, col), amplitude, valid)`.

    Blocks are `block` pixels square from the grid's upper left corner: whole chunks of the store, each
    written by one thread. Amplitude is float32 (band, y, x), 0 where not valid; valid is bool (y, x).
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    starts = [
        (row, col) for row in range(0, geobox.shape[0], block) for col in range(0, geobox.shape[1], block)
    ]

    def one(scene: Scene, correction: Correction, row: int, col: int) -> None:
        part = crop(geobox, (row, col), block)
        sink(scene.scene_id, (row, col), *warp_scene(scene, part, correction=correction, read=read))

    with warnings.catch_warnings(), rasterio.Env(GDAL_CACHEMAX=CACHE_MB):
        # rasterio silences this for its own in-memory copies, but not safely between threads
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        _each((partial(one, *job) for job in _jobs(work, starts)), workers)


def crop(geobox: GeoBox, start: tuple[int, int], side: int) -> GeoBox:
    """The part of a grid from pixel `start` (row, col), at most `side` pixels square."""
    from affine import Affine
    from odc.geo.geobox import GeoBox

    shape = (min(side, geobox.shape[0] - start[0]), min(side, geobox.shape[1] - start[1]))
    return GeoBox(shape, geobox.transform @ Affine.translation(start[1], start[0]), geobox.crs)


def warp_scene(
    scene: Scene, geobox: GeoBox, *, correction: Correction = NO_CORRECTION, read: Reader | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """One scene on `geobox`: amplitude float32 (band, y, x), bands sorted, and bool valid (y, x).

    Power is averaged where the grid is coarser than the product by half or more, interpolated bilinearly
    otherwise (a cubic kernel overshoots next to bright targets), and copied untouched where both grids agree.
    A pixel is valid only where all that feeds it is valid, in every band. Where frames of a pass overlap,
    the first valid one in the order of product ids wins.
    """
    powers, valid = [], np.ones(tuple(geobox.shape), dtype=bool)
    for band in scene.bands:
        files = sorted((f for f in scene.files if f.band == band), key=lambda f: (f.product_id, f.path))
        power, seen = _mosaic(files, geobox, correction.shift_px, read or _read_power)
        powers.append(power * np.float32(correction.factor(band)) if correction.gain_db else power)
        valid &= seen
    amplitude = np.sqrt(np.stack(powers), dtype=np.float32)
    amplitude[:, ~valid] = 0
    return amplitude, valid


def _jobs(
    work: Sequence[tuple[Scene, Correction]], starts: Sequence[tuple[int, int]]
) -> Iterator[tuple[Scene, Correction, int, int]]:
    for scene, correction in work:
        for row, col in starts:
            yield scene, correction, row, col


def _each(tasks: Iterator[Callable[[], None]], workers: int) -> None:
    """Run tasks on threads, never more than a few waiting; the first error stops the rest."""
    if workers == 1:
        for task in tasks:
            task()
        return
    with ThreadPoolExecutor(workers) as pool:
        running: set[Any] = set()
        try:
            for task in tasks:
                running.add(pool.submit(task))
                if len(running) >= 2 * workers:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        future.result()
            for future in running:
                future.result()
        finally:
            for future in running:
                future.cancel()


def _read_power(file: SceneFile, window: Window) -> tuple[np.ndarray, np.ndarray]:
    from sarcast.readers.pixels import read_power

    return read_power(file, window)


def _mosaic(
    files: Sequence[SceneFile], geobox: GeoBox, shift_px: tuple[float, float], read: Reader
) -> tuple[np.ndarray, np.ndarray]:
    power = np.zeros(tuple(geobox.shape), dtype=np.float32)
    valid = np.zeros(power.shape, dtype=bool)
    for file in files:
        if valid.all():
            break
        values, seen = _warp_file(file, geobox, shift_px, read)
        new = seen & ~valid
        power[new] = values[new]
        valid |= new
    return power, valid


def _warp_file(
    file: SceneFile, geobox: GeoBox, shift_px: tuple[float, float], read: Reader
) -> tuple[np.ndarray, np.ndarray]:
    """A shift moves the place that each pixel looks at: one resampling, whatever the CRS."""
    from affine import Affine

    target = geobox.transform @ Affine.translation(shift_px[1], shift_px[0])
    same_crs = _same_crs(file.crs, geobox)
    offset = _aligned(file, target) if same_crs else None
    rows, cols = geobox.shape
    if offset is not None:
        return _read_padded(file, ((offset[0], offset[0] + rows), (offset[1], offset[1] + cols)), read)
    window, ratio = _source_window(file, geobox, target, same_crs)
    if window is None:
        return np.zeros((rows, cols), np.float32), np.zeros((rows, cols), bool)
    power, valid = _read_padded(file, window, read)
    if not valid.any():
        return np.zeros((rows, cols), np.float32), np.zeros((rows, cols), bool)
    source = Affine(*file.transform) @ Affine.translation(window[1][0], window[0][0])
    return _resample(power, valid, source, file.crs, target, geobox, average=ratio >= _COARSER)


def _same_crs(crs: str, geobox: GeoBox) -> bool:
    from odc.geo.crs import CRS

    return bool(CRS(crs) == geobox.crs)


def _aligned(file: SceneFile, target: Any) -> tuple[int, int] | None:
    """(row, col) of the file's pixel under the target's first one, when the two grids are one."""
    from affine import Affine

    step = ~Affine(*file.transform) @ target
    linear = np.abs(np.array([step.a - 1, step.b, step.d, step.e - 1])).max()
    row, col = round(step.f), round(step.c)
    if linear > 1e-6 or max(abs(step.f - row), abs(step.c - col)) > _ALIGNED_PX:
        return None
    return row, col


def _source_window(
    file: SceneFile, geobox: GeoBox, target: Any, same_crs: bool
) -> tuple[Window | None, float]:
    """The file's pixels (may reach beyond it) that feed the block, and target over source pixel side."""
    from affine import Affine
    from pyproj import Transformer

    rows, cols = geobox.shape
    col, row = (g.ravel() for g in np.meshgrid(np.linspace(0, cols, 17), np.linspace(0, rows, 17)))
    x, y = target @ (col, row)
    if not same_crs:
        x, y = Transformer.from_crs(str(geobox.crs), file.crs, always_xy=True).transform(x, y)
    keep = np.isfinite(x) & np.isfinite(y)
    if not keep.any():
        return None, 1.0
    c, r = ~Affine(*file.transform) @ (np.asarray(x)[keep], np.asarray(y)[keep])
    ratio = math.sqrt(max(np.ptp(r) * np.ptp(c), 1e-12) / (rows * cols))
    margin = 3 + 2 * math.ceil(ratio)
    row0, row1 = max(math.floor(r.min()) - margin, -margin), math.ceil(r.max()) + margin
    col0, col1 = max(math.floor(c.min()) - margin, -margin), math.ceil(c.max()) + margin
    row1, col1 = min(row1, file.shape[0] + margin), min(col1, file.shape[1] + margin)
    if row1 <= 0 or col1 <= 0 or row0 >= file.shape[0] or col0 >= file.shape[1]:
        return None, ratio
    return ((row0, row1), (col0, col1)), ratio


def _read_padded(file: SceneFile, window: Window, read: Reader) -> tuple[np.ndarray, np.ndarray]:
    """The window's pixels; what lies beyond the file is not valid."""
    (row0, row1), (col0, col1) = window
    top, bottom = max(row0, 0), min(row1, file.shape[0])
    left, right = max(col0, 0), min(col1, file.shape[1])
    power = np.zeros((row1 - row0, col1 - col0), dtype=np.float32)
    valid = np.zeros(power.shape, dtype=bool)
    if top < bottom and left < right:
        inside = np.s_[top - row0 : bottom - row0, left - col0 : right - col0]
        power[inside], valid[inside] = read(file, ((top, bottom), (left, right)))
    return power, valid


def _resample(
    power: np.ndarray,
    valid: np.ndarray,
    source: Any,
    source_crs: str,
    target: Any,
    geobox: GeoBox,
    *,
    average: bool,
) -> tuple[np.ndarray, np.ndarray]:
    from rasterio.enums import Resampling
    from rasterio.warp import reproject

    out = np.zeros((2, *geobox.shape), dtype=np.float32)
    reproject(
        np.stack([power, valid.astype(np.float32)]),
        out,
        src_transform=source,
        src_crs=source_crs,
        dst_transform=target,
        dst_crs=str(geobox.crs),
        resampling=Resampling.average if average else Resampling.bilinear,
        tolerance=0.01,
        num_threads=1,
    )
    seen = out[1] >= _WHOLE
    return np.where(seen, out[0], np.float32(0)), seen
