"""features.zarr and scores.zarr: what was written is read, by us and by xarray, on the right places."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import rioxarray  # noqa: F401
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from sarcast.errors import ArtefactError
from sarcast.runtime.artefact import digest
from sarcast.stack.cells import cell_centres, read_features, read_scores, write_features, write_scores
from sarcast.values import PatchGrid, Scores


@pytest.fixture
def features(make_features, rng):
    found = make_features(rng, dates=5, days=[0, 6, 6.5, 30, 31])
    valid = found.valid.copy()
    valid[1, 2:4], valid[3] = False, False
    incidence = np.array([38.1234, np.nan, 37.5, 37.5, 37.5], np.float32)
    return replace(
        found,
        values=np.where(valid[..., None], found.values, 0),
        valid=valid,
        times=replace(found.times, incidence_deg=incidence, platform=("S1A", "S1B", "unknown", "S1A", "S1C")),
    )


@pytest.fixture
def scores(features, rng):
    return Scores(
        values=np.where(features.valid, rng.random(features.valid.shape), 0).astype(np.float32),
        valid=features.valid, times=features.times, grid=features.grid, geobox=features.geobox,
        detector="z_score", encoder="statistics", stack="a",
        p_value=np.where(features.valid, 1e-30, 1).astype(np.float32),
        change_db=rng.normal(size=features.valid.shape).astype(np.float32),
    )  # fmt: skip


def same_times(a, b):
    np.testing.assert_array_equal(a.time, b.time)
    np.testing.assert_allclose(a.incidence_deg, b.incidence_deg, atol=1e-4)
    for name in ("scene_id", "platform", "look_side", "orbit_direction", "relative_orbit"):
        assert getattr(a, name) == getattr(b, name)


def test_features_are_read_as_written(features, tmp_path):
    write_features(tmp_path / "features.zarr", features)
    found = read_features(tmp_path / "features.zarr")
    np.testing.assert_array_equal(found.values, features.values)
    np.testing.assert_array_equal(found.valid, features.valid)
    assert found.values.dtype == np.float32 and found.valid.dtype == bool
    assert (found.names, found.encoder, found.stack) == (features.names, features.encoder, features.stack)
    assert found.grid == features.grid and found.geobox == features.geobox
    same_times(found.times, features.times)


@pytest.mark.parametrize("without", [(), ("p_value",), ("p_value", "change_db")])
def test_scores_are_read_as_written(scores, tmp_path, without):
    scores = replace(scores, **dict.fromkeys(without))
    write_scores(tmp_path / "scores.zarr", scores)
    found = read_scores(tmp_path / "scores.zarr")
    for name in ("values", "valid", "p_value", "change_db"):
        expected = getattr(scores, name)
        if expected is None:
            assert getattr(found, name) is None
        else:
            np.testing.assert_array_equal(getattr(found, name), expected)
    assert (found.detector, found.encoder, found.stack) == ("z_score", "statistics", "a")
    assert found.grid == scores.grid and found.geobox == scores.geobox
    same_times(found.times, scores.times)


def test_the_same_values_give_the_same_bytes(scores, tmp_path):
    write_scores(tmp_path / "a", scores)
    write_scores(tmp_path / "b", scores)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_a_date_is_whole_chunks_of_its_own(scores, tmp_path):
    write_scores(tmp_path / "a", scores)
    other = scores.values.copy()
    other[2] += 1
    write_scores(tmp_path / "b", replace(scores, values=other))
    a, b = digest(tmp_path / "a"), digest(tmp_path / "b")
    assert {name for name in a if a[name] != b[name]} == {"score/c/2/0/0"}


def test_xarray_alone_reads_times_places_and_crs(scores, tmp_path):
    write_scores(tmp_path / "scores.zarr", scores)
    with xr.open_zarr(tmp_path / "scores.zarr") as found:
        np.testing.assert_array_equal(found["score"].values, scores.values)
        np.testing.assert_array_equal(found["time"].values, scores.times.time)
        assert found["score"].dims == ("time", "row", "col")
        assert found["score"].rio.crs.to_epsg() == 32611
        y, x = cell_centres(scores.grid, scores.geobox)
        np.testing.assert_array_equal(found["y"].values, y)
        np.testing.assert_array_equal(found["x"].values, x)


def test_centres_are_the_middle_of_the_cells_edge_cells_too():
    grid = PatchGrid(image=(22, 16), patch=8, stride=4)
    box = GeoBox((22, 16), Affine(10, 0, 1000, 0, -10, 5000), "EPSG:32611")
    y, x = cell_centres(grid, box)
    np.testing.assert_array_equal(y, [4960, 4920, 4880, 4840, 4820])
    np.testing.assert_array_equal(x, [1040, 1080, 1120])


def test_geographic_grids_and_grids_without_crs(scores, tmp_path):
    for crs in ("EPSG:4326", None):
        box = GeoBox(scores.geobox.shape, Affine(1e-4, 0, 10, 0, -1e-4, 50), crs)
        write_scores(tmp_path / str(crs), replace(scores, geobox=box))
        assert read_scores(tmp_path / str(crs)).geobox == box


def test_what_is_no_store_is_one_line(features, tmp_path):
    write_features(tmp_path / "features.zarr", features)
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "none", tmp_path, tmp_path / "file", tmp_path / "features.zarr"):
        with pytest.raises(ArtefactError):
            read_scores(path)


def test_more_cells_than_a_chunk(make_features, rng, tmp_path):
    found = make_features(rng, dates=2, cells=(3, 300), dim=2, patch=2)
    write_features(tmp_path / "f", found)
    np.testing.assert_array_equal(read_features(tmp_path / "f").values, found.values)
