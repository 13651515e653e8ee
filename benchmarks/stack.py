"""Time and peak memory of building a stack of 8,000 x 8,000 px: `python -m benchmarks.stack`.

Products are speckled uint16 amplitude GeoTIFFs (tiled, deflate) whose grids lie a fraction of a pixel apart,
so every date is resampled. The stack is built in a process of its own, for 3 and for 10 dates: the peak must
not grow with the number of dates.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np

FIRST = date(2024, 1, 1)
STEP_DAYS = 3
PIXEL_M = 0.5
LIMIT_MB = 1536
SCALE = 1e-4


def main() -> None:
    told = _arguments()
    if told.build is not None:
        _build(told.build, told.dates[0], told.workers)
        return
    with tempfile.TemporaryDirectory(dir=told.folder) as folder:
        began = time.monotonic()
        for day in range(max(told.dates)):
            _product(Path(folder) / f"scene-{day:03d}.tif", told.side, day)
        print(f"{max(told.dates)} products of {told.side} x {told.side} px: {time.monotonic() - began:.0f} s")
        peaks = [_measure(Path(folder), dates, told.workers) for dates in told.dates]
    grown = max(peaks) - min(peaks)
    print(f"largest peak {max(peaks):.0f} MB (limit {LIMIT_MB}), {grown:.0f} MB between numbers of dates")
    if max(peaks) > LIMIT_MB:
        sys.exit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=8000)
    parser.add_argument("--dates", type=int, nargs="+", default=[3, 10])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=None, help="where the temporary folder is made")
    parser.add_argument("--build", type=Path, default=None, help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure(folder: Path, dates: int, workers: int) -> float:
    command = [sys.executable, "-m", "benchmarks.stack", "--build", str(folder), "--dates", str(dates)]
    out = subprocess.run(
        [*command, "--workers", str(workers)], check=True, capture_output=True, text=True
    ).stdout
    found = json.loads(out.splitlines()[-1])
    print(f"{dates:3d} dates: {found['seconds']:.0f} s, peak {found['peak_mb']:.0f} MB", end=", ")
    print(f"{found['flagged']} flagged", flush=True)
    return float(found["peak_mb"])


def _build(folder: Path, dates: int, workers: int) -> None:
    """In a process of its own: catalogue and stack `dates` of the products."""
    from sarcast.readers.catalogue import Catalogue, write_catalogue
    from sarcast.steps.stack import StackScenes, stack

    scenes = tuple(_scene(folder / f"scene-{day:03d}.tif", day) for day in range(dates))
    out = folder / f"out-{dates}"
    out.mkdir()
    write_catalogue(out / "scenes.json", Catalogue(scenes=scenes))
    end = FIRST + timedelta(days=STEP_DAYS * (max(dates // 2, 2) - 1))
    began = time.monotonic()
    (path,) = stack(StackScenes(scenes=out, out=out, workers=workers, history_end=end))
    seconds = time.monotonic() - began
    entries = json.loads((path.parent / "quality.json").read_text())["dates"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    flagged = sum(not entry["usable"] for entry in entries)
    print(json.dumps({"seconds": seconds, "peak_mb": peak, "flagged": flagged}))


def _product(path: Path, side: int, day: int) -> None:
    """Amplitude of one ground under new 9-look speckle, on a grid of its own."""
    import rasterio
    from affine import Affine

    ground = np.random.default_rng(0).gamma(2.0, 0.5, (side // 20 + 3, side // 20 + 3))
    speckle = np.random.default_rng(day + 1).gamma(9.0, 1 / 9.0, (1000, 1000))
    offset = _offset(day)
    with rasterio.open(
        path, "w", driver="GTiff", height=side, width=side, count=1, dtype="uint16", crs="EPSG:32611",
        transform=Affine(PIXEL_M, 0, 500_000 + offset[1], 0, -PIXEL_M, 4_000_000 - offset[0]),
        tiled=True, blockxsize=512, blockysize=512, compress="deflate", zlevel=1, num_threads=2, nodata=0,
    ) as dataset:  # fmt: skip
        for top in range(0, side, 1000):
            rows = (np.arange(top, min(top + 1000, side)) + 0.5 + offset[0] / PIXEL_M) / 20
            cols = (np.arange(side) + 0.5 + offset[1] / PIXEL_M) / 20
            level = _linear(rows, len(ground)) @ ground @ _linear(cols, len(ground)).T
            power = (
                level * np.tile(np.roll(speckle, 37 * top, axis=1), (1, -(-side // 1000)))[: len(rows), :side]
            )
            stored = np.clip(np.sqrt(power + 1e-3) / SCALE, 1, 65535).astype(np.uint16)
            dataset.write(stored, 1, window=((top, top + len(rows)), (0, side)))


def _linear(at: np.ndarray, n: int) -> np.ndarray:
    """Weights (at, n) of linear interpolation between n values."""
    return np.maximum(1 - np.abs(at[:, None] - np.arange(n)[None, :]), 0)


def _offset(day: int) -> tuple[float, float]:
    """Where the corner lies, metres (down, right): a few metres, and never whole pixels after the first."""
    return (0.0, 0.0) if day == 0 else (0.3 * day + 0.111, 0.2 * day + 0.067)


def _scene(path: Path, day: int):  # type: ignore[no-untyped-def]
    import rasterio

    from sarcast.values import Scene, SceneFile

    with rasterio.open(path) as dataset:
        transform, shape = tuple(dataset.transform)[:6], dataset.shape
    file = SceneFile(
        path=str(path), band="HH", product_id=path.stem, unit="amplitude", scale=SCALE, nodata=0.0,
        crs="EPSG:32611", transform=transform, shape=shape, size=path.stat().st_size, sha256=path.stem,
    )  # fmt: skip
    when = np.datetime64(FIRST + timedelta(days=STEP_DAYS * day), "ns")
    return Scene(
        scene_id=path.stem, time=when, files=(file,), sensor="capella", platform="capella-14",
        product_type="GEO", radiometry="sigma0", geometry="terrain",
    )  # fmt: skip


if __name__ == "__main__":
    main()
