"""Events as a table others can read: GeoParquet 1.1 and GeoJSON (RFC 7946), longitude and latitude."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sarcast.errors import ArtefactError, ShapeError
from sarcast.values import Detections, Event

if TYPE_CHECKING:
    import geopandas as gpd

INSTANTS = ("first_seen", "confirmed", "last_seen", "peak_time")
COUNTS = ("observations", "cells")
NUMBERS = ("peak_score", "p_value", "change_db", "area_m2")
COLUMNS = (
    "event_id",
    "stack",
    "first_seen",
    "confirmed",
    "last_seen",
    "status",
    "observations",
    "peak_time",
    "peak_score",
    "p_value",
    "direction",
    "change_db",
    "area_m2",
    "cells",
)
CRS = "EPSG:4326"
DECIMALS = 7
"""Of a degree: about a centimetre."""


def write_detections(parquet: Path, geojson: Path, detections: Sequence[Detections]) -> None:
    """Write the events of all stacks, whatever their CRS, as one table in two files.

    Rows are ordered by stack, first_seen and event_id; the same events give the same bytes. No events give
    a valid empty table with the same columns and types.

    Args:
        parquet: Written as GeoParquet 1.1, EPSG:4326, times as UTC timestamps.
        geojson: Written as RFC 7946: longitude and latitude, outer rings counter-clockwise, polygons cut at
            the antimeridian, times as ISO 8601 in UTC.
        detections: One entry per stack; geometries in its own CRS.

    Raises:
        ShapeError: Two events share an id.
    """
    table = as_table(detections)
    table.to_parquet(parquet, index=False, compression="zstd", schema_version="1.1.0")
    geojson.write_text(_feature_collection(table), encoding="utf-8")


def read_detections(parquet: Path) -> gpd.GeoDataFrame:
    """The table `write_detections` wrote: `COLUMNS` and geometry in EPSG:4326, times in UTC.

    Raises:
        ArtefactError: It is missing, unreadable, or has other columns.
    """
    import geopandas as gpd

    try:
        table = gpd.read_parquet(parquet)
    except (OSError, ValueError) as error:
        reason = "nothing" if isinstance(error, FileNotFoundError) else str(error).splitlines()[0]
        raise ArtefactError(f"expected a GeoParquet table of detections, found {reason}: {parquet}") from None
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise ArtefactError(f"expected the column {missing[0]!r} of detections, found none, in {parquet}")
    return table


def as_table(detections: Sequence[Detections]) -> gpd.GeoDataFrame:
    """The events of all stacks as one GeoDataFrame in EPSG:4326, one row an event.

    Raises:
        ShapeError: Two events share an id.
    """
    import geopandas as gpd
    import pandas as pd

    events = [event for group in detections for event in group.events]
    ids = [event.event_id for event in events]
    if len(set(ids)) != len(ids):
        twice = sorted({one for one in ids if ids.count(one) > 1})
        raise ShapeError(f"event ids must be unique, found {twice[0]!r} more than once")
    columns: dict[str, Any] = {}
    for name in COLUMNS:
        values = [getattr(event, name) for event in events]
        if name in INSTANTS:
            columns[name] = pd.to_datetime(pd.Series(values, dtype="datetime64[ns]"), utc=True)
        elif name in COUNTS:
            columns[name] = pd.Series(values, dtype=np.int64)
        elif name in NUMBERS:
            columns[name] = pd.Series(values, dtype=np.float64)
        else:
            columns[name] = pd.Series(values, dtype="string")
    shapes = [
        shape for group in detections for shape in degrees([e.geometry for e in group.events], group.crs)
    ]
    table = gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries(shapes, crs=CRS), crs=CRS)
    order = ["stack", "first_seen", "event_id"]
    return table.sort_values(order, kind="stable", ignore_index=True)


def events_of(table: gpd.GeoDataFrame, stack: str, crs: str) -> tuple[Event, ...]:
    """The events of one stack as values again, with their geometry in `crs`; in the table's order."""
    import pandas as pd

    mine = table[table["stack"] == stack].to_crs(crs)
    events = []
    for row in mine.to_dict("records"):
        facts = {str(name): row[name] for name in (*COLUMNS, "geometry")}
        for name in INSTANTS:
            facts[name] = None if pd.isna(facts[name]) else facts[name].tz_convert(None).to_datetime64()
            facts[name] = None if facts[name] is None else facts[name].astype("datetime64[ns]")
        events.append(Event(**facts))
    return tuple(events)


def degrees(geometries: Sequence[Any], crs: str) -> list[Any]:
    """Geometries of `crs` (none: degrees) in degrees, cut at the antimeridian, wound as RFC 7946 asks."""
    import geopandas as gpd
    import shapely

    shapes = gpd.GeoSeries(list(geometries), crs=crs or CRS).to_crs(CRS)
    cut = [_cut_at_antimeridian(shape) for shape in shapes]
    rounded = [shapely.transform(shape, lambda at: np.round(at, DECIMALS)) for shape in cut]
    return [shapely.orient_polygons(shape, exterior_cw=False) for shape in rounded]


def _cut_at_antimeridian(shape: Any) -> Any:
    """A polygon reprojected across 180° spans the globe; give its two halves instead."""
    import shapely

    west, _, east, _ = shape.bounds
    if east - west <= 180:
        return shape
    moved = shapely.transform(shape, lambda at: np.where([True, False], at % 360, at))
    left = moved.intersection(shapely.box(0, -90, 180, 90))
    right = shapely.transform(moved.intersection(shapely.box(180, -90, 360, 90)), lambda at: at - [360, 0])
    parts = [part for half in (left, right) for part in shapely.get_parts(half) if part.area > 0]
    return shapely.MultiPolygon(parts) if len(parts) > 1 else parts[0]


def _feature_collection(table: gpd.GeoDataFrame) -> str:
    """One feature a line, so that a difference of two files reads as a difference of events."""
    features = [_feature(row) for row in table.to_dict("records")]
    return '{"type": "FeatureCollection", "features": [\n' + ",\n".join(features) + "\n]}\n"


def _feature(row: dict[str, Any]) -> str:
    import shapely

    properties = {name: _plain(row[name]) for name in COLUMNS}
    return json.dumps(
        {
            "type": "Feature",
            "id": row["event_id"],
            "bbox": list(row["geometry"].bounds),
            "properties": properties,
            "geometry": shapely.geometry.mapping(row["geometry"]),
        },
        allow_nan=False,
    )


def _plain(value: Any) -> Any:
    """What JSON can hold: UTC text for times, None for what is missing."""
    import pandas as pd

    if isinstance(value, pd.Timestamp):
        return value.isoformat().replace("+00:00", "Z")
    if value is pd.NaT or (isinstance(value, float) and not np.isfinite(value)):
        return None
    return value.item() if isinstance(value, np.generic) else value
