"""The table of events: what was put in comes out, in degrees, in UTC, byte for byte the same."""

import json
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from sarcast.errors import ArtefactError, ShapeError
from sarcast.publish.vector import COLUMNS, read_detections, write_detections
from sarcast.values import Detections, Event

UTM10 = "EPSG:32610"
UTM56_SOUTH = "EPSG:32756"


def time(text):
    return np.datetime64(text, "ns")


def event(**changes):
    made = Event(
        event_id="a-0001",
        stack="a",
        first_seen=time("2023-01-01T02:03:04.123456789"),
        confirmed=None,
        last_seen=time("2023-02-01"),
        status="provisional_high",
        observations=2,
        peak_time=time("2023-01-13"),
        peak_score=6.5,
        p_value=1e-4,
        direction="darker",
        change_db=-3.25,
        area_m2=14400.0,
        cells=1,
        geometry=shapely.box(500_000, 4_000_000, 500_120, 4_000_120),
    )
    return replace(made, **changes)


@pytest.fixture
def several():
    here = event(event_id="b-0002", stack="b", confirmed=time("2023-01-20"))
    ring = shapely.box(300_000, 6_000_000, 300_300, 6_000_300).difference(
        shapely.box(300_100, 6_000_100, 300_200, 6_000_200)
    )
    there = event(stack="a", geometry=ring, direction="texture")
    return [Detections(events=(here,), crs=UTM10), Detections(events=(there,), crs=UTM56_SOUTH)]


def write(folder, detections):
    write_detections(folder / "d.parquet", folder / "d.geojson", detections)
    return read_detections(folder / "d.parquet"), json.loads((folder / "d.geojson").read_text())


def test_every_column_comes_back(tmp_path, several):
    table, _ = write(tmp_path, several)
    assert list(table.columns) == [*COLUMNS, "geometry"]
    assert table.crs == "EPSG:4326"
    assert list(table["event_id"]) == ["a-0001", "b-0002"], "ordered by stack"
    for name in ("first_seen", "confirmed", "last_seen", "peak_time"):
        assert str(table[name].dtype) == "datetime64[ns, UTC]"
    first = table.iloc[0]
    assert first["first_seen"].isoformat() == "2023-01-01T02:03:04.123456789+00:00"
    assert table["confirmed"].isna().tolist() == [True, False]
    assert first["change_db"] == -3.25
    assert first["cells"] == 1


def test_geometry_goes_back_to_where_it_was(tmp_path, several):
    table, _ = write(tmp_path, several)
    back = table[table["stack"] == "b"].to_crs(UTM10).geometry.iloc[0]
    assert back.symmetric_difference(several[0].events[0].geometry).area < 5  # of 14,400 m2: 1e-7 degree
    back = table[table["stack"] == "a"].to_crs(UTM56_SOUTH).geometry.iloc[0]
    assert len(back.interiors) == 1


def test_the_parquet_says_it_is_geoparquet_1_1(tmp_path, several):
    write(tmp_path, several)
    geo = json.loads(pq.read_metadata(tmp_path / "d.parquet").metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert geo["columns"]["geometry"]["encoding"] == "WKB"


def test_geojson_follows_rfc_7946(tmp_path, several):
    table, found = write(tmp_path, several)
    assert "crs" not in found
    assert [feature["id"] for feature in found["features"]] == list(table["event_id"])
    outer, hole = found["features"][0]["geometry"]["coordinates"]
    assert shapely.LinearRing(outer).is_ccw
    assert not shapely.LinearRing(hole).is_ccw
    properties = found["features"][1]["properties"]
    assert properties["confirmed"] == "2023-01-20T00:00:00Z"
    assert found["features"][0]["properties"]["confirmed"] is None
    read = gpd.read_file(tmp_path / "d.geojson")
    assert read.crs == "EPSG:4326"
    np.testing.assert_allclose(read.total_bounds, table.total_bounds, atol=1e-9)


def test_a_polygon_over_the_antimeridian_is_cut(tmp_path):
    # UTM zone 60 ends at 180 degrees, about 834 km east of its central meridian at the equator
    wide = event(geometry=shapely.box(830_000, 1_000, 840_000, 11_000))
    table, found = write(tmp_path, [Detections(events=(wide,), crs="EPSG:32660")])
    shape = table.geometry.iloc[0]
    assert shape.geom_type == "MultiPolygon"
    assert found["features"][0]["geometry"]["type"] == "MultiPolygon"
    assert shape.is_valid
    for part in shape.geoms:
        assert part.bounds[2] - part.bounds[0] < 0.2
    whole = 10_000**2 / (111_320 * 110_574)
    assert shape.area == pytest.approx(whole, rel=0.02)


@pytest.mark.parametrize("nothing", [[], [Detections(events=(), crs=UTM10)]])
def test_no_events_make_a_valid_table_of_the_same_types(tmp_path, several, nothing):
    full, _ = write(tmp_path, several)
    empty, found = write(tmp_path, nothing)
    assert len(empty) == 0
    assert found == {"type": "FeatureCollection", "features": []}
    assert {n: str(t) for n, t in empty.dtypes.items()} == {n: str(t) for n, t in full.dtypes.items()}
    assert empty.crs == full.crs
    assert len(gpd.read_file(tmp_path / "d.geojson")) == 0


def test_same_events_same_bytes_in_any_order(tmp_path, several):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    write(tmp_path / "one", several)
    write(tmp_path / "two", several[::-1])
    for name in ("d.parquet", "d.geojson"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_hostile_names_survive(tmp_path):
    name = 'x"</script><b>\n\\'
    table, found = write(tmp_path, [Detections(events=(event(stack=name),), crs=UTM10)])
    assert table["stack"].iloc[0] == name
    assert found["features"][0]["properties"]["stack"] == name


def test_two_events_of_one_id_are_refused(tmp_path):
    with pytest.raises(ShapeError, match="a-0001"):
        write(tmp_path, [Detections(events=(event(), event()), crs=UTM10)])


def test_what_is_not_a_table_of_detections_is_refused(tmp_path, several):
    with pytest.raises(ArtefactError, match="found nothing"):
        read_detections(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(ArtefactError, match=r"bad\.parquet"):
        read_detections(tmp_path / "bad.parquet")
    table, _ = write(tmp_path, several)
    table.drop(columns="p_value").to_parquet(tmp_path / "less.parquet")
    with pytest.raises(ArtefactError, match="p_value"):
        read_detections(tmp_path / "less.parquet")
