"""publish: a run on disk becomes a site every tool opens; the same run gives the same bytes."""

import shutil

import geopandas as gpd
import numpy as np
import pystac
import pytest
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from rio_cogeo import cog_validate

from sarcast.errors import ArtefactError
from sarcast.publish.vector import write_detections
from sarcast.runtime.artefact import finished, run_entry, write_json, writing
from sarcast.stack.cells import write_scores
from sarcast.stack.store import write_stack
from sarcast.steps.publish import Publish, publish, read_run
from sarcast.values import Detections, Event, PatchGrid, Scores, Stack, Times

T, SIDE, JUDGED = 8, 44, 5
CRS = {"a": "EPSG:32611", "b": "EPSG:32719"}
TOP = {"a": 4_100_000, "b": 6_300_000}


def times():
    return Times(
        time=np.datetime64("2023-01-01T01:59:02", "ns") + np.arange(T) * np.timedelta64(12, "D"),
        scene_id=tuple(f"s{i}" for i in range(T)),
        platform=("S1A",) * T,
        incidence_deg=np.full(T, 38, np.float32),
        look_side=("right",) * T,
        orbit_direction=("ascending",) * T,
        relative_orbit=("137",) * T,
    )


def write_one(run, name, bands, rng, notes=()):
    """One stack of a run; returns its detections: one event in stack a, none in b."""
    box = GeoBox((SIDE, SIDE), Affine(10, 0, 300_000, 0, -10, TOP[name]), CRS[name])
    grid = PatchGrid(image=(SIDE, SIDE), patch=8, stride=8)
    score = 0.8 * rng.random((T, *grid.shape)).astype(np.float32)
    score[5:7, 0, 1] = 0.95
    folder = run / "stacks" / name
    common = {"times": times(), "geobox": box}
    stack = Stack(
        amplitude=rng.random((T, len(bands), SIDE, SIDE)).astype(np.float32) + 0.1,
        valid=np.ones((T, SIDE, SIDE), bool),
        bands=bands,
        name=name,
        **common,
    )
    p = np.maximum(1 - score, 1e-4)
    scores = Scores(
        values=score,
        valid=np.ones(score.shape, bool),
        grid=grid,
        detector="rx",
        stack=name,
        p_value=p,
        **common,
    )
    with writing(folder / "stack.zarr", settings={"out": str(run), "resolution": 10}, inputs={}) as partial:
        write_stack(partial, stack)
    with writing(folder / "scores.zarr", settings={"detector": "rx"}, inputs={}) as partial:
        write_scores(partial, scores)
    dates = [{"scene_id": s, "usable": True, "flags": []} for s in stack.times.scene_id]
    write_json(folder / "quality.json", {"stack": name, "dates": dates, "notes": list(notes)})
    start = str(stack.times.time[JUDGED])
    rule = {"p_value": 1e-3, "score": 0.9, "false_alarms": 1e-3, "rule": "false_alarms"}
    write_json(folder / "threshold.json", {**rule, "judged_from": start})
    event = Event(
        event_id="a-1",
        stack=name,
        first_seen=stack.times.time[5],
        confirmed=None,
        last_seen=stack.times.time[6],
        status="provisional_low",
        observations=2,
        peak_time=stack.times.time[6],
        peak_score=1.0,
        p_value=1e-4,
        direction="texture",
        change_db=0.1,
        area_m2=6400.0,
        cells=1,
        geometry=shapely.box(300_000 + 80, TOP[name] - 80, 300_000 + 160, TOP[name]),
    )
    return Detections(events=(event,) if name == "a" else (), crs=CRS[name])


def make_run(run, **stacks):
    detections = [
        write_one(run, name, bands, np.random.default_rng(i))
        for i, (name, bands) in enumerate(stacks.items())
    ]
    with (
        writing(run / "detections.parquet", settings={"confirm": 3}, inputs={}) as parquet,
        writing(run / "detections.geojson", settings={}, inputs={}) as geojson,
    ):
        write_detections(parquet, geojson, detections)
    return run


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", a=("VH", "VV"), b=("HH",))


def content(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_site_opens_in_every_tool(run):
    site = publish(Publish(run=run))
    assert site == run / "site"
    assert finished(site)
    maps = sorted(site.glob("maps/*.tif"))
    assert len(maps) == 2 * 2 * (T - JUDGED)
    for path in maps:
        valid, errors, _ = cog_validate(path, strict=True)
        assert valid, errors
        with rasterio.open(path, driver="GTiff") as file:
            assert file.dtypes[0] == "float32"
            assert np.isnan(file.nodata)
            assert file.bounds == (300_000, file.bounds.top - SIDE * 10, 300_000 + SIDE * 10, file.bounds.top)
            assert str(run.parent) not in str(file.tags())
    with rasterio.open(site / "maps/status_a_20230314T015902Z.tif", driver="GTiff") as file:
        assert [v[0] for v in file.sample([(300_120, TOP["a"] - 40), (300_040, TOP["a"] - 40)])] == [2, 0]
    table = gpd.read_parquet(site / "detections.parquet")
    assert len(gpd.read_file(site / "detections.geojson")) == len(table) == 1
    items = list(pystac.Collection.from_file(str(site / "stac" / "collection.json")).get_items())
    assert len(items) == 2 * (T - JUDGED)
    assert "<h2>a</h2>" in (site / "report.html").read_text()


def test_events_come_back_as_they_were(run):
    a, b = read_run(run)
    assert (a.name, b.name) == ("a", "b")
    assert b.events == ()
    (event,) = a.events
    expected = shapely.box(300_080, TOP["a"] - 80, 300_160, TOP["a"])
    assert event.geometry.symmetric_difference(expected).area < 1
    assert event.first_seen == a.scores.times.time[5]
    assert event.first_seen.dtype == np.dtype("datetime64[ns]")
    assert event.confirmed is None


def test_the_same_run_elsewhere_and_again_gives_the_same_bytes(run, tmp_path):
    first = content(publish(Publish(run=run)))
    assert content(publish(Publish(run=run))) == first, "a site made before changes nothing"
    other = make_run(tmp_path / "elsewhere", a=("VH", "VV"), b=("HH",))
    assert content(publish(Publish(run=other, out=tmp_path / "out"))) == first
    page = first["report.html"].decode()
    assert "resolution" in page, "settings are printed"
    assert str(tmp_path) not in page, "places are not"


def test_only_unfinished_or_missing_parts_are_refused(run):
    for name, expected in (
        ("detections.parquet", "detections.parquet"),
        ("stacks/b/threshold.json", "threshold.json"),
        ("stacks/a/scores.zarr/zarr.json", "scores.zarr"),
    ):
        kept = (run / name).read_bytes()
        (run / name).unlink()
        with pytest.raises(ArtefactError, match=expected):
            publish(Publish(run=run))
        assert not (run / "site").exists()
        (run / name).write_bytes(kept)
    (run / "stacks/a/quality.json").write_text("{")
    with pytest.raises(ArtefactError, match=r"quality\.json"):
        publish(Publish(run=run))
    assert not list(run.glob(".site*"))


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ArtefactError, match="no stacks"):
        publish(Publish(run=tmp_path))


def test_a_failure_keeps_the_old_site(run, monkeypatch):
    before = content(publish(Publish(run=run)))
    monkeypatch.setattr("sarcast.publish.report.report_html", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        publish(Publish(run=run, top=3))
    assert content(run / "site") == before
    assert not list(run.glob(".site*"))


def test_it_says_what_it_read(run):
    site = publish(Publish(run=run, title="Port"))
    entry = run_entry(site)
    assert entry["settings"]["title"] == "Port"
    assert {"detections.parquet", "stacks/a/scores.zarr", "stacks/b/threshold.json"} <= set(entry["inputs"])


def test_pixels_of_a_big_stack_are_not_held(run, monkeypatch):
    reads = []
    import zarr

    original = zarr.Array.__getitem__

    def counted(self, key):
        if self.name.endswith("amplitude"):
            reads.append(np.prod([1 if isinstance(k, int) else k.stop - k.start for k in key]))
        return original(self, key)

    monkeypatch.setattr(zarr.Array, "__getitem__", counted)
    publish(Publish(run=run))
    assert reads
    assert max(reads) <= SIDE * SIDE, "one date and band at a time"


def test_no_stack_is_touched(run):
    shutil.copytree(run / "stacks", run.parent / "kept")
    publish(Publish(run=run))
    assert content(run / "stacks") == content(run.parent / "kept")
