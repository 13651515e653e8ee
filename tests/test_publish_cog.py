"""Maps: every pixel shows the right cell, nodata is NaN, valid COGs, always the same bytes."""

import hashlib

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rio_cogeo import cog_validate

from sarcast.errors import ShapeError
from sarcast.publish.cog import (
    STATUS_CODES,
    Painted,
    anomaly_map,
    cells_geobox,
    cells_in,
    status_map,
    strength,
    write_cog,
)
from sarcast.values import Event, PatchGrid, Scores, Times

DAYS = np.array(["2023-01-01", "2023-01-13", "2023-01-25", "2023-02-06"], "datetime64[ns]")


def box(shape, step=10.0):
    return GeoBox(shape, Affine(step, 0, 500_000, 0, -step, 4_100_000), "EPSG:32610")


def make_scores(rng, image=(64, 48), patch=8, stride=8, calibrated=True):
    grid = PatchGrid(image=image, patch=patch, stride=stride)
    shape = (len(DAYS), *grid.shape)
    valid = rng.random(shape) > 0.2
    times = Times(
        time=DAYS,
        scene_id=tuple("abcd"),
        platform=("S1A",) * 4,
        incidence_deg=np.full(4, 38.0, np.float32),
        look_side=("right",) * 4,
        orbit_direction=("descending",) * 4,
        relative_orbit=("137",) * 4,
    )
    return Scores(
        values=np.where(valid, rng.normal(size=shape), 0).astype(np.float32),
        valid=valid,
        times=times,
        grid=grid,
        geobox=box(image),
        detector="z_score",
        stack="a",
        p_value=np.where(valid, rng.uniform(1e-4, 1, shape), 1).astype(np.float32) if calibrated else None,
    )


def make_event(**changes):
    facts = {
        "event_id": "a-1",
        "stack": "a",
        "first_seen": DAYS[1],
        "confirmed": DAYS[2],
        "last_seen": DAYS[2],
        "status": "finished_high",
        "observations": 3,
        "peak_time": DAYS[1],
        "peak_score": 5.0,
        "p_value": 1e-4,
        "direction": "darker",
        "change_db": -3.0,
        "area_m2": 6400.0,
        "cells": 1,
        "geometry": shapely.box(500_080, 4_100_000 - 160, 500_160, 4_100_000 - 80),
    }
    return Event(**{**facts, **changes})


@given(
    image=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    patch=st.integers(1, 8),
    stride=st.integers(1, 8),
)
@settings(max_examples=60, deadline=None)
def test_a_map_covers_the_image_and_each_pixel_shows_a_cell_it_lies_in(image, patch, stride):
    grid = PatchGrid(image=image, patch=max(patch, stride), stride=min(patch, stride))
    inside = box(image)
    found = cells_geobox(grid, inside)
    assert found.extent.geom.equals(inside.extent.geom)
    step = image[0] // found.shape[0]
    painted = Painted(np.indices(grid.shape), grid)
    assert painted.shape[1:] == tuple(found.shape)
    rows, cols = painted[0:1, :, 0:1].ravel(), painted[1:2, 0:1, :].ravel()
    for shown, starts in ((rows, grid.tops), (cols, grid.lefts)):
        assert set(shown) == set(range(len(starts))), "every cell is to be seen"
        first = np.arange(len(shown)) * step
        assert (starts[shown] <= first).all()
        assert (first + step <= starts[shown] + grid.patch).all()


def test_a_regular_map_has_one_pixel_a_cell(rng):
    grid = PatchGrid(image=(64, 48), patch=8, stride=8)
    cells = rng.normal(size=(3, *grid.shape))
    np.testing.assert_array_equal(Painted(cells, grid)[:, :, :], cells)
    assert cells_geobox(grid, box((64, 48))).resolution.x == 80


def test_a_left_over_border_halves_the_pixel_and_not_more():
    grid = PatchGrid(image=(100, 100), patch=8, stride=8)
    assert cells_geobox(grid, box((100, 100))).shape == (25, 25)
    with pytest.raises(ShapeError, match="100"):
        cells_geobox(grid, box((96, 100)))


@pytest.mark.parametrize("image", [(64, 48), (60, 44), (1100, 24)])
@pytest.mark.parametrize("categorical", [False, True])
def test_it_reads_back_as_a_valid_cog(tmp_path, rng, image, categorical):
    array = rng.normal(size=(2, *image)).astype(np.float32)
    array[:, :5, :7] = np.nan
    tags = {"sarcast_version": "0.1", "detector": "z_score"}
    write_cog(tmp_path / "m.tif", array, box(image), categorical=categorical, tags=tags, bands=("one", "two"))
    valid, errors, warnings = cog_validate(tmp_path / "m.tif", strict=True)
    assert valid, (errors, warnings)
    with rasterio.open(tmp_path / "m.tif", driver="GTiff") as file:
        np.testing.assert_array_equal(file.read(), array)
        assert np.isnan(file.nodata)
        assert file.dtypes == ("float32", "float32")
        assert file.descriptions == ("one", "two")
        assert file.tags()["detector"] == "z_score"
        assert file.transform == box(image).affine
        assert file.crs.to_epsg() == 32610
        assert file.compression.value == "DEFLATE"
    assert [p.name for p in tmp_path.iterdir()] == ["m.tif"], "nothing else is left"


def test_overviews_average_scores_and_keep_labels(tmp_path):
    labels = np.tile(np.array([[0, 6], [6, 6]], np.float32), (512, 512))
    for categorical, expected in ((False, {4.5}), (True, {6.0})):
        write_cog(tmp_path / "m.tif", labels, box(labels.shape), categorical=categorical)
        with rasterio.open(tmp_path / "m.tif", driver="GTiff", overview_level=0) as file:
            assert set(np.unique(file.read(1))) == expected


def test_same_input_same_bytes(tmp_path, rng):
    array = rng.normal(size=(300, 300)).astype(np.float32)
    found = []
    for name in ("one.tif", "two.tif"):
        write_cog(tmp_path / name, array, box((300, 300)), tags={"stack": "a"})
        found.append(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert found[0] == found[1]


def test_a_failed_write_leaves_the_old_file(tmp_path, rng):
    array = rng.normal(size=(16, 16)).astype(np.float32)
    write_cog(tmp_path / "m.tif", array, box((16, 16)))
    before = (tmp_path / "m.tif").read_bytes()

    class Spoiled:
        ndim, shape = 3, (1, 16, 16)

        def __len__(self):
            return 1

        def __getitem__(self, _):
            raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        write_cog(tmp_path / "m.tif", Spoiled(), box((16, 16)))
    assert (tmp_path / "m.tif").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.tif"]


def test_a_wrong_grid_is_refused(tmp_path, rng):
    with pytest.raises(ShapeError, match="grid"):
        write_cog(tmp_path / "m.tif", rng.normal(size=(16, 16)), box((16, 17)))


def test_the_anomaly_map_holds_strength_and_score(rng):
    scores = make_scores(rng)
    bands, names = anomaly_map(scores, 2)
    bands = bands[:, :, :]
    assert len(bands) == len(names) == 2
    np.testing.assert_array_equal(np.isnan(bands[0]), ~scores.valid[2])
    at = np.argwhere(scores.valid[2])[0]
    assert bands[0][tuple(at)] == pytest.approx(-np.log10(scores.p_value[2][tuple(at)]))
    assert bands[1][tuple(at)] == scores.values[2][tuple(at)]
    plain, names = anomaly_map(make_scores(rng, calibrated=False), 2)
    assert len(plain) == len(names) == 1


def test_strength_of_p():
    np.testing.assert_allclose(strength(np.array([1.0, 0.1, 1e-3], np.float32)), [0, 1, 3], atol=1e-6)
    assert np.isfinite(strength(np.zeros(1, np.float32))).all()


def test_status_codes_are_those_of_dist_alert():
    assert sorted(STATUS_CODES.values()) == list(range(1, 9))
    assert STATUS_CODES["provisional_low"] == 2
    assert STATUS_CODES["confirmed_high"] == 6


def test_the_status_map_paints_codes_where_they_are(rng):
    scores = make_scores(rng)
    codes = rng.integers(0, 9, scores.grid.shape).astype(np.uint8)
    codes[0, 0] = 255
    painted = status_map(codes, scores.grid)[:, :, :][0]
    np.testing.assert_array_equal(painted, np.where(codes == 255, np.nan, codes))


def test_cells_in_an_outline_are_those_with_their_centre_inside(rng):
    scores = make_scores(rng, image=(60, 44))
    grid = scores.grid
    shape = shapely.Point(500_200, 4_099_700).buffer(110)
    x = 500_000 + 10 * (grid.lefts + 4)
    y = 4_100_000 - 10 * (grid.tops + 4)
    slow = [[shape.contains(shapely.Point(a, b)) for a in x] for b in y]
    np.testing.assert_array_equal(cells_in(shape, scores), slow)
    assert cells_in(shapely.box(500_001, 4_099_990, 500_002, 4_099_991), scores).sum() == 1


def test_a_map_finer_than_its_cells_is_painted_by_blocks(tmp_path, rng):
    scores = make_scores(rng, image=(61, 47))
    bands, names = anomaly_map(scores, 1)
    assert bands.shape == (2, 61, 47)
    assert bands.cells.shape == (2, *scores.grid.shape)
    write_cog(tmp_path / "m.tif", bands, cells_geobox(scores.grid, scores.geobox), bands=names)
    with rasterio.open(tmp_path / "m.tif", driver="GTiff") as file:
        np.testing.assert_array_equal(file.read(), bands[:, :, :])
