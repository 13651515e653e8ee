"""One grid per stack: native pixels, half the dates' ground, cut to the area of interest."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sarcast.errors import SettingsError, StackError
from sarcast.stack.grid import area_of_interest, stack_grid
from sarcast.values import Scene, SceneFile


def _scene(
    day: int, left: float, top: float, *, side: float = 30.0, shape=(100, 120), crs="EPSG:32611"
) -> Scene:
    file = SceneFile(
        path=f"/nowhere/{day}.tif", band="VV", product_id=f"p{day}", unit="power", scale=1.0, nodata=None,
        crs=crs, transform=(side, 0.0, left, 0.0, -side, top), shape=shape, size=1, sha256="0",
    )  # fmt: skip
    return Scene(
        scene_id=f"s{day}", time=np.datetime64("2024-01-01", "ns") + np.timedelta64(day, "D"), files=(file,),
        sensor="x", platform="x", product_type="GEO", radiometry="sigma0",
    )  # fmt: skip


def test_scenes_on_one_grid_keep_it():
    box = stack_grid([_scene(d, 500_010.0, 4_000_020.0) for d in range(5)])
    assert tuple(box.shape) == (100, 120)
    assert tuple(box.transform)[:6] == (30.0, 0.0, 500_010.0, 0.0, -30.0, 4_000_020.0)
    assert box.crs.to_epsg() == 32611


def test_extent_is_what_half_of_the_dates_cover():
    lefts = [500_000.0, 500_000.0, 500_600.0, 503_000.0]
    box = stack_grid([_scene(d, left, 4_000_000.0) for d, left in enumerate(lefts)])
    x = box.boundingbox
    assert (x.left, x.right) == (500_000.0, 504_200.0)
    box = stack_grid([_scene(d, left, 4_000_000.0) for d, left in enumerate(lefts[:3])])
    assert (box.boundingbox.left, box.boundingbox.right) == (500_000.0, 503_600.0)


def test_native_pixel_is_the_lower_median_on_that_scenes_own_grid():
    scenes = [
        _scene(0, 500_000.0, 4e6, side=0.4),
        _scene(1, 500_000.1, 4e6, side=0.35),
        _scene(2, 500_000.0, 4e6, side=0.5),
    ]
    box = stack_grid(scenes)
    assert box.transform.a == 0.4 and -box.transform.e == 0.4
    assert (box.transform.c - 500_000.0) / 0.4 == pytest.approx(round((box.transform.c - 500_000.0) / 0.4))


def test_given_resolution_starts_at_the_scenes_corner():
    box = stack_grid([_scene(d, 500_010.0, 4_000_020.0) for d in range(3)], resolution_m=90)
    assert tuple(box.transform)[:6] == (90.0, 0.0, 500_010.0, 0.0, -90.0, 4_000_020.0)
    assert tuple(box.shape) == (34, 40)


def test_geographic_products_get_a_utm_grid():
    box = stack_grid([_scene(0, -121.9, 37.3, side=1e-4, crs="EPSG:4326")])
    assert box.crs.to_epsg() == 32610
    assert 5 < box.transform.a < 15


def test_area_by_bbox_and_by_geojson_agree(tmp_path):
    scenes = [_scene(d, 500_000.0, 4_000_000.0) for d in range(3)]
    bbox = (-116.995, 36.125, -116.98, 36.135)
    ring = [
        [bbox[0], bbox[1]],
        [bbox[2], bbox[1]],
        [bbox[2], bbox[3]],
        [bbox[0], bbox[3]],
        [bbox[0], bbox[1]],
    ]
    path = tmp_path / "area.geojson"
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    one = stack_grid(scenes, area=area_of_interest(bbox=bbox))
    assert one == stack_grid(scenes, area=area_of_interest(path=path))
    whole = stack_grid(scenes)
    assert one.shape[0] < whole.shape[0] and one.shape[1] < whole.shape[1]
    assert (one.transform.c - whole.transform.c) % 30 == 0


def test_area_outside_the_data_is_one_line():
    scenes = [_scene(d, 500_000.0, 4_000_000.0) for d in range(3)]
    with pytest.raises(StackError, match="inside the data") as error:
        stack_grid(scenes, area=area_of_interest(bbox=(10, 10, 11, 11)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"type": "Point", "coordinates": [1, 2]}', '{"type": "Feature"}']
)
def test_no_area_in_the_file(tmp_path, text):
    path = tmp_path / "area.geojson"
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        area_of_interest(path=path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_bad_bbox_and_missing_file_and_both(tmp_path):
    with pytest.raises(SettingsError):
        area_of_interest(bbox=(1, 1, 0, 2))
    with pytest.raises(SettingsError):
        area_of_interest(path=tmp_path / "nothing")
    with pytest.raises(SettingsError):
        area_of_interest(bbox=(0, 0, 1, 1), path=tmp_path / "nothing")
    assert area_of_interest() is None
