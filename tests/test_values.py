"""Values are frozen and true from birth: what does not fit raises, what fits is kept as it is."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from sarcast.errors import ShapeError
from sarcast.values import Estimate, PatchGrid, Scene, SceneFile, Scores, Split, Times


def scene_file(**told) -> SceneFile:
    given = {
        "path": "/a.tif", "band": "VV", "product_id": "a", "unit": "power", "scale": 1.0, "nodata": None,
        "crs": "EPSG:32611", "transform": (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), "shape": (4, 5), "size": 9,
        "sha256": "x",
    }  # fmt: skip
    return SceneFile(**{**given, **told})


def scene(*files: SceneFile) -> Scene:
    return Scene(
        scene_id="s", time=np.datetime64("2024-01-01", "ns"), files=files, sensor="x", platform="x",
        product_type="RTC", radiometry="gamma0",
    )  # fmt: skip


@pytest.mark.parametrize(
    "told", [{"band": "VX"}, {"band": "vv"}, {"unit": "sigma"}, {"scale": 0.0}, {"scale": float("nan")}]
)
def test_a_scene_file_with_a_wrong_word_raises(told):
    with pytest.raises(ShapeError, match=r"/a\.tif"):
        scene_file(**told)


def test_a_scene_has_files_of_one_unit():
    with pytest.raises(ShapeError, match="no files"):
        scene()
    with pytest.raises(ShapeError, match="one unit"):
        scene(scene_file(), scene_file(band="VH", unit="db"))
    found = scene(scene_file(product_id="b"), scene_file(band="VH"))
    assert found.bands == ("VH", "VV") and found.product_ids == ("a", "b")
    with pytest.raises(FrozenInstanceError):
        found.sensor = "y"


def test_times_ascend_are_named_once_and_count_days(make_times):
    times = make_times(4, days=[0, 1.5, 1.5, 30])
    np.testing.assert_allclose(times.days, [0, 1.5, 1.5, 30])
    with pytest.raises(ShapeError, match="ascend"):
        make_times(3, days=[0, 2, 1])
    with pytest.raises(ShapeError, match="unique"):
        replace(times, scene_id=("a", "b", "c", "a"))
    with pytest.raises(ShapeError, match="platform"):
        replace(times, platform=("a",))
    with pytest.raises(ShapeError, match="datetime64"):
        replace(times, time=times.time.astype("datetime64[s]"))


@pytest.mark.parametrize(
    "index", [np.array([0, 2]), np.array([True, False, True, False]), np.array([], int), slice(1, 3)]
)
def test_times_are_taken_together(make_times, index):
    times = make_times(4)
    chosen = np.arange(4)[index]
    found = times.take(index)
    assert isinstance(found, Times) and len(found) == len(chosen)
    assert found.scene_id == tuple(times.scene_id[i] for i in chosen)
    np.testing.assert_array_equal(found.time, times.time[chosen])


def test_a_stack_fits_its_times_bands_and_grid(make_stack, rng):
    stack = make_stack(rng)
    for wrong in (
        {"valid": stack.valid[:, :-1]},
        {"bands": ("VV",)},
        {"times": stack.times.take(np.array([0]))},
        {"geobox": GeoBox((48, 55), stack.geobox.affine, stack.geobox.crs)},
    ):
        with pytest.raises(ShapeError):
            replace(stack, **wrong)


@given(
    height=st.integers(1, 70), width=st.integers(1, 70), patch=st.integers(1, 20), stride=st.integers(1, 20)
)
def test_cells_cover_the_image_and_stay_inside(height, width, patch, stride):
    if not stride <= patch <= min(height, width):
        with pytest.raises(ShapeError):
            PatchGrid(image=(height, width), patch=patch, stride=stride)
        return
    grid = PatchGrid(image=(height, width), patch=patch, stride=stride)
    covered = np.zeros((height, width), bool)
    for top in grid.tops:
        for left in grid.lefts:
            assert top + patch <= height and left + patch <= width
            covered[top : top + patch, left : left + patch] = True
    assert covered.all()
    assert grid.shape == (len(grid.tops), len(grid.lefts)) == grid.shifted.shape
    assert (np.diff(grid.tops) > 0).all() and (np.diff(grid.lefts) > 0).all()


def test_left_over_edges_are_covered_by_one_more_marked_cell():
    grid = PatchGrid(image=(22, 16), patch=8, stride=8)
    np.testing.assert_array_equal(grid.tops, [0, 8, 14])
    np.testing.assert_array_equal(grid.lefts, [0, 8])
    np.testing.assert_array_equal(grid.shifted, [[False, False], [False, False], [True, True]])
    assert not PatchGrid(image=(16, 16), patch=8, stride=8).shifted.any()


def test_features_and_scores_fit_and_are_finite_where_valid(make_features, rng):
    features = make_features(rng, dates=3)
    spoiled = features.values.copy()
    spoiled[1, 2, 3, 0] = np.nan
    for wrong in (
        {"values": spoiled},
        {"valid": features.valid[:2]},
        {"names": features.names[:-1]},
        {"times": features.times.take(np.array([0, 1]))},
        {"grid": PatchGrid(image=(96, 96), patch=8, stride=8)},
    ):
        with pytest.raises(ShapeError):
            replace(features, **wrong)
    hidden = features.valid.copy()
    hidden[1, 2, 3] = False
    replace(features, values=spoiled, valid=hidden)
    scores = Scores(
        values=features.values[..., 0], valid=features.valid, times=features.times, grid=features.grid,
        geobox=features.geobox, detector="x",
    )  # fmt: skip
    for wrong in (
        {"values": spoiled[..., 0]},
        {"p_value": scores.values[:1]},
        {"change_db": scores.values[:, :1]},
        {"valid": scores.valid[..., :-1]},
    ):
        with pytest.raises(ShapeError):
            replace(scores, **wrong)


def test_a_split_never_judges_what_it_learned_from():
    fit = np.array([True, True, False, False])
    Split(fit=fit, judge=~fit)
    Split(fit=fit, judge=np.zeros(4, bool))
    for judge in (np.array([False, True, True, True]), np.ones(3, bool), np.array([0, 0, 1, 1])):
        with pytest.raises(ShapeError):
            Split(fit=fit, judge=judge)
    with pytest.raises(ShapeError, match="after history"):
        Split(fit=np.array([False, True]), judge=np.array([True, False]))


def test_an_estimate_prints_its_interval():
    estimate = Estimate(name="x", value=0.5, low=0.25, high=0.75, n=9, resampled="event", seed=0)
    assert str(estimate) == "0.500 [0.250, 0.750]"
