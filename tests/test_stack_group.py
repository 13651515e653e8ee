"""Scenes meet by place and geometry, never by date alone; names do not change when a date is added."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sarcast.errors import StackError
from sarcast.stack.group import group_scenes
from sarcast.values import Scene, SceneFile

DAY = np.timedelta64(1, "D")


def _scene(day: int = 0, *, east: float = 500_000.0, bands=("VV",), unit="power", **told) -> Scene:
    time = np.datetime64("2024-01-01T02:00:00", "ns") + day * DAY + np.timedelta64(told.pop("second", 0), "s")
    name = f"P_{told.get('place')}_{east:.0f}_{time}_{told.pop('suffix', '')}"
    files = tuple(
        SceneFile(
            path=f"/nowhere/{name}_{band}.tif",
            band=band,
            product_id=name,
            unit=unit,
            scale=1.0,
            nodata=None,
            crs="EPSG:32611",
            transform=(30.0, 0.0, east, 0.0, -30.0, 4_000_000.0),
            shape=(100, 100),
            size=1,
            sha256="0",
        )
        for band in bands
    )
    facts = {
        "sensor": "capella",
        "platform": "capella-14",
        "product_type": "GEO",
        "radiometry": "sigma0",
        "geometry": "terrain",
        "orbit_direction": "ascending",
        "look_side": "right",
        "incidence_deg": 36.9,
    }
    return Scene(scene_id=name, time=time, files=files, **{**facts, **told})


def _sizes(scenes) -> list[int]:
    return sorted(len(group.scenes) for group in group_scenes(scenes))


@pytest.mark.parametrize(
    "other",
    [
        {"look_side": "left"},
        {"orbit_direction": "descending"},
        {"sensor": "umbra"},
        {"track": "53"},
        {"bands": ("HH",)},
        {"radiometry": "gamma0"},
        {"geometry": "ellipsoid", "product_type": "GEC"},
        {"incidence_deg": 40.0},
        {"incidence_deg": None},
        {"east": 600_000.0},
    ],
)
def test_what_differs_does_not_meet(other):
    assert _sizes([_scene(0), _scene(3), _scene(6, **other)]) == [1, 2]


def test_incidence_is_clustered_not_binned():
    angles = [36.9, 37.1, 37.4, 38.5, 38.6]
    groups = group_scenes([_scene(day, incidence_deg=angle) for day, angle in enumerate(angles)])
    found = [[s.incidence_deg for s in group.scenes] for group in groups]
    assert sorted(found) == [[36.9, 37.1, 37.4], [38.5, 38.6]]


def test_overlap_is_chained():
    assert _sizes([_scene(0), _scene(1, east=502_000.0), _scene(2, east=504_000.0)]) == [3]


def test_bursts_that_lie_apart_are_stacks_of_their_own_and_touching_ones_one_pass():
    apart = [_scene(d, place=f"b{k}", east=500_000.0 + 20_000 * k) for d in range(2) for k in range(3)]
    assert _sizes(apart) == [2, 2, 2]
    touching = [
        _scene(d, place=f"b{k}", east=500_000.0 + 2_900 * k, second=3 * k) for d in range(2) for k in range(3)
    ]
    (group,) = group_scenes(touching)
    assert len(group.scenes) == 2
    assert len(group.scenes[0].files) == 3
    assert group.scenes[0].time == touching[1].time
    assert group.scenes[0].product_ids == tuple(sorted(s.files[0].product_id for s in touching[:3]))


def test_two_scenes_on_one_day_both_live():
    assert _sizes([_scene(0), _scene(0, second=6 * 3600)]) == [2]
    assert _sizes([_scene(0), _scene(0, second=5, suffix="b")]) == [2]


def test_names_are_unique_and_stay_when_a_date_is_added():
    scenes = [_scene(d, look_side=side) for d in range(4) for side in ("left", "right")]
    scenes += [_scene(d, look_side="left", incidence_deg=37.4 + 1.1) for d in range(4)]
    names = [group.name for group in group_scenes(scenes)]
    assert len(set(names)) == 3
    more = group_scenes(
        [*scenes, *(replace(s, scene_id=s.scene_id + "x", time=s.time + 30 * DAY) for s in scenes)]
    )
    assert [group.name for group in more] == names
    assert any("capella_vv_ascending_right_37deg" in name for name in names)


def test_names_that_would_be_alike_differ():
    near = [_scene(0, incidence_deg=36.6), _scene(1, incidence_deg=37.4), _scene(2, incidence_deg=38.0)]
    names = [group.name for group in group_scenes(near)]
    assert len(names) == len(set(names)) == 2


def test_order_of_scenes_does_not_matter(rng):
    scenes = [_scene(d, incidence_deg=36 + 0.3 * d, east=500_000.0 + 500 * d) for d in range(9)]
    shuffled = [scenes[i] for i in rng.permutation(len(scenes))]
    assert group_scenes(scenes) == group_scenes(shuffled)


def test_calibrated_with_uncalibrated_raises():
    with pytest.raises(StackError, match="uncalibrated"):
        group_scenes([_scene(0), _scene(1, radiometry="uncalibrated")])
    assert _sizes([_scene(0), _scene(1, radiometry="uncalibrated", east=600_000.0)]) == [1, 1]


def test_declared_units_of_one_stack_must_be_one():
    told = {"product_type": "geotiff", "sensor": "mine"}
    with pytest.raises(StackError, match="one declared unit"):
        group_scenes([_scene(0, **told), _scene(1, unit="db", **told)])


def test_footprints_meet_across_the_date_line():
    west, east = _scene(0), _scene(1)
    grids = (("EPSG:32660", 777_000.0), ("EPSG:32601", 223_000.0))
    scenes = [
        replace(
            scene,
            files=tuple(
                replace(f, crs=crs, transform=(300.0, 0.0, x - 15_000, 0.0, -300.0, 4_000_000.0))
                for f in scene.files
            ),
        )
        for scene, (crs, x) in zip((west, east), grids, strict=True)
    ]
    assert _sizes(scenes) == [2]
