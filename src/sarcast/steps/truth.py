"""What is known to have happened, as events: what `sarcast simulate` wrote, or a table of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.errors import ArtefactError
from sarcast.values import Label, Labels

if TYPE_CHECKING:
    import geopandas as gpd
    from odc.geo.geobox import GeoBox


def read_truth(path: Path) -> Labels:
    """Events of a GeoParquet file, or of anything GDAL reads (GeoJSON, GeoPackage, ...), in any CRS.

    Columns: geometry and `onset` (first time it is there: a time in UTC, or a date); where known `end` (first
    time it is gone again), `kind`, `label_id`, `change_db`, `texture_only`. Other columns are not read.

    Raises:
        ArtefactError: Missing, unreadable, without a CRS, without `onset`, or a row without time or place.
    """
    frame = _read(path)
    if "onset" not in frame.columns or frame.crs is None:
        found = "no CRS" if "onset" in frame.columns else f"columns {sorted(map(str, frame.columns))}"
        raise ArtefactError(f"expected events with geometry, CRS and onset, found {found}, in {path}")
    onset, end = _times(frame, "onset", path), _times(frame, "end", path)
    bad = np.flatnonzero(np.isnat(onset) | (frame.geometry.isna() | frame.geometry.is_empty).to_numpy())
    if len(bad):
        raise ArtefactError(
            f"expected an onset and a geometry in every row, found none in row {bad[0]}, in {path}"
        )
    late = np.flatnonzero(end <= onset)
    if len(late):
        raise ArtefactError(f"expected end after onset, found it before in row {late[0]}, in {path}")
    records = frame.drop(columns=frame.geometry.name).to_dict("records")
    crs = frame.crs.to_epsg()
    return Labels(
        labels=tuple(
            Label(
                label_id=str(row.get("label_id", f"event-{i:03d}")),
                kind=str(row.get("kind", "event")),
                onset=onset[i],
                end=None if np.isnat(end[i]) else end[i],
                change_db=_number(row.get("change_db")),
                geometry=geometry,
                texture_only=bool(row.get("texture_only", False)),
            )
            for i, (row, geometry) in enumerate(zip(records, frame.geometry, strict=True))
        ),
        crs=f"EPSG:{crs}" if crs else frame.crs.to_wkt(),
    )


def in_grid(labels: Labels, geobox: GeoBox) -> Labels:
    """The same events in the CRS of a grid; those without one stay as they are."""
    from pyproj import CRS

    if geobox.crs is None or not labels.labels or CRS(labels.crs) == CRS(str(geobox.crs)):
        return labels
    from dataclasses import replace

    import geopandas as gpd

    moved = gpd.GeoSeries([one.geometry for one in labels.labels], crs=labels.crs).to_crs(str(geobox.crs))
    made = tuple(replace(one, geometry=shape) for one, shape in zip(labels.labels, moved, strict=True))
    return Labels(labels=made, crs=str(geobox.crs))


def _read(path: Path) -> gpd.GeoDataFrame:
    import geopandas as gpd
    from pyarrow import ArrowException
    from pyogrio.errors import DataSourceError

    if not path.is_file():
        raise ArtefactError(f"expected a table of events, found no file, in {path}")
    try:
        found = gpd.read_parquet(path) if path.suffix == ".parquet" else gpd.read_file(path)
        return found if isinstance(found, gpd.GeoDataFrame) else gpd.GeoDataFrame(found)
    except (OSError, ValueError, ArrowException, DataSourceError) as error:
        said = str(error).splitlines()[0]
        raise ArtefactError(f"expected a table of events with geometry, found {said}, in {path}") from None


def _times(frame: Any, name: str, path: Path) -> np.ndarray:
    """A column as datetime64[ns] in UTC; NaT where empty, and everywhere when there is no such column."""
    import pandas as pd

    if name not in frame.columns:
        return np.full(len(frame), "NaT", "datetime64[ns]")
    column = frame[name]
    text = not pd.api.types.is_datetime64_any_dtype(column)
    found = pd.to_datetime(column, utc=True, errors="coerce", format="ISO8601" if text else None)
    bad = np.flatnonzero(found.isna() & column.notna())
    if len(bad):
        said = column.iloc[int(bad[0])]
        raise ArtefactError(f"expected an ISO 8601 time, found {said!r} in {name} of row {bad[0]}, in {path}")
    return np.asarray(found.dt.tz_convert(None).to_numpy("datetime64[ns]"))


def _number(value: Any) -> float:
    """NaN where nothing is known."""
    return float("nan") if value is None else float(value)
