"""The part of judging a run that asks coherence maps what changed: labels no model ever saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.errors import DataError, ShapeError
from sarcast.readers.coherence_maps import CoherenceMap, find_maps, read_map
from sarcast.runtime.artefact import file_hash
from sarcast.stack.cells import read_scores

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from sarcast.evaluate.coherence_labels import CoherenceLabels, CoherenceSeries
    from sarcast.steps.evaluate import Evaluate
    from sarcast.steps.judged import Place
    from sarcast.values import Estimate, PatchGrid

_FINER = 0.7
"""A map whose pixels are under this share of the stack's is averaged, any other looked up."""


def map_hashes(settings: Evaluate) -> dict[str, str]:
    """Name -> sha256 of the coherence maps; empty without any."""
    if settings.coherence is None:
        return {}
    maps = find_maps(settings.coherence, settings.coherence_name)
    return {f"coherence {one.path.name}": file_hash(one.path) for one in maps}


def by_coherence(settings: Evaluate, places: Sequence[Place]) -> list[dict[str, Any]]:
    """What coherence says of each place's scores; a place it cannot judge says why.

    Returns:
        Per place: `place`, `run`, `maps`; and either `why_not`, or `looks`, `floor`, `dates` (date, first of
        its pair, changed, unchanged, informative cells) and `pairs` (name -> within, centred, pooled AUC).
    """
    if settings.coherence is None:
        return []
    maps = find_maps(settings.coherence, settings.coherence_name)
    rows = []
    for place in places:
        row: dict[str, Any] = {"place": place.name, "run": place.run.name, "maps": len(maps)}
        try:
            row |= _judged(place, maps, settings)
        except (DataError, ShapeError) as error:
            row["why_not"] = str(error)
        rows.append(row)
    return rows


def series_on_cells(maps: Sequence[CoherenceMap], geobox: GeoBox, grid: PatchGrid) -> CoherenceSeries:
    """Mean coherence of every map on the cells of the scores.

    Raises:
        ProductError: A map cannot be read.
    """
    from sarcast.evaluate.coherence_labels import CoherenceSeries, cell_means

    means = [cell_means(*on_grid(one, geobox), grid) for one in maps]
    return CoherenceSeries(
        values=np.stack([mean for mean, _ in means]),
        valid=np.stack([valid for _, valid in means]),
        first=np.array([one.first for one in maps], "datetime64[D]"),
        second=np.array([one.second for one in maps], "datetime64[D]"),
    )


def on_grid(one: CoherenceMap, geobox: GeoBox) -> tuple[np.ndarray, np.ndarray]:
    """A map on the stack's pixels: float32 (y, x), 0 where not valid, and bool (y, x).

    Finer maps are averaged over each pixel; coarser ones are looked up, so that a cell's mean weighs each of
    the map's pixels by what it covers of the cell and nothing is smoothed.
    """
    from affine import Affine
    from rasterio.enums import Resampling
    from rasterio.warp import reproject

    values, valid, raster = read_map(one)
    out = np.full(geobox.shape, np.nan, np.float32)
    finer = _pixel_share(raster.crs, Affine(*raster.transform), geobox) < _FINER
    reproject(
        np.where(valid, values, np.float32(np.nan)),
        out,
        src_transform=Affine(*raster.transform),
        src_crs=raster.crs,
        src_nodata=np.nan,
        dst_transform=geobox.transform,
        dst_crs=str(geobox.crs),
        dst_nodata=np.nan,
        resampling=Resampling.average if finer else Resampling.nearest,
        tolerance=0.01,
        num_threads=1,
    )
    seen = np.isfinite(out)
    return np.where(seen, out, np.float32(0)), seen


def as_text(rows: Sequence[dict[str, Any]]) -> str:
    """A table a place, and what it rests on."""
    return "\n\n".join(_place_text(row) for row in rows)


def _judged(place: Place, maps: Sequence[CoherenceMap], settings: Evaluate) -> dict[str, Any]:
    from sarcast.evaluate.coherence_labels import label_changes
    from sarcast.evaluate.within_dates import auc_within_dates

    own = place.own
    labels = label_changes(
        series_on_cells(maps, own.geobox, own.grid),
        dates=own.times.time,
        history=place.history,
        judged=place.judged & place.usable,
        looks=settings.coherence_looks,
    )
    pairs = {}
    for name, store in place.pairs.items():
        values = read_scores(store).values[labels.dates]
        pairs[name] = auc_within_dates(
            values, own.valid[labels.dates], labels.changed, labels.unchanged, seed=settings.seed
        )
    return {
        "looks": labels.looks,
        "looks_declared": settings.coherence_looks is not None,
        "floor": labels.floor,
        "dates": _date_rows(labels, maps, own.times.time),
        "pairs": pairs,
    }


def _date_rows(
    labels: CoherenceLabels, maps: Sequence[CoherenceMap], times: np.ndarray
) -> list[dict[str, Any]]:
    return [
        {
            "date": str(times[date].astype("datetime64[D]")),
            "first": str(maps[pair].first),
            **{name: int(getattr(labels, name)[i].sum()) for name in ("changed", "unchanged", "informative")},
        }
        for i, (date, pair) in enumerate(zip(labels.dates, labels.pairs, strict=True))
    ]


def _pixel_share(crs: str, transform: Any, geobox: GeoBox) -> float:
    """Side of a map's pixel over that of the stack's, at the stack's centre."""
    from pyproj import Transformer

    rows, cols = geobox.shape
    a = geobox.transform
    corners = [(cols / 2, rows / 2), (cols / 2 + 1, rows / 2 + 1)]
    x, y = zip(*((a.c + a.a * c, a.f + a.e * r) for c, r in corners), strict=True)
    there = Transformer.from_crs(str(geobox.crs), crs, always_xy=True).transform(x, y)
    col, row = ~transform @ (np.asarray(there[0]), np.asarray(there[1]))
    return float(np.sqrt(2) / max(np.hypot(np.diff(row)[0], np.diff(col)[0]), 1e-12))


def _place_text(row: dict[str, Any]) -> str:
    head = f"coherence, {row['place']}: {row['maps']} maps"
    if "why_not" in row:
        return f"{head}; not judged: {row['why_not']}"
    changed, unchanged = (sum(one[name] for one in row["dates"]) for name in ("changed", "unchanged"))
    looks = "declared" if row["looks_declared"] else "from the least coherent cells"
    lines = [
        f"{head}, {row['looks']:.0f} looks ({looks}), noise floor {row['floor']:.2f}; {changed} cells "
        f"changed and {unchanged} unchanged on {len(row['dates'])} dates; ROC-AUC, 95 % intervals over dates"
    ]
    for name, found in row["pairs"].items():
        shown = ", ".join(f"{what} {_cell(found[what])}" for what in ("within", "centred", "pooled"))
        lines.append(f"  {name}: {shown}")
    return "\n".join(lines)


def _cell(estimate: dict[str, Any] | Estimate | None) -> str:
    """A figure and its interval, as kept in estimates.json."""
    if not isinstance(estimate, dict) or estimate["value"] is None:
        return "–"
    if estimate["low"] is None:
        return f"{estimate['value']:.3f} [one date]"
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"
