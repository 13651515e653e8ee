"""The catalogue: written the same every time, read back exactly, and the same in one go or in many."""

import json
import os
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcast.errors import ArtefactError, ProductError, SarcastError
from sarcast.readers.acquisitions import Dropped, Refusal
from sarcast.readers.catalogue import Catalogue, find_products, merge, read_catalogue, scan, write_catalogue
from sarcast.readers.scene_json import scene_from_json, scene_to_json
from sarcast.values import Scene, SceneFile

GRANULE = "OPERA_L2_RTC-S1_T137-292318-IW2_2022{day}T015900Z_{made}T234616Z_S1A_30_v1.0_{band}.tif"


def product(folder, day="1114", band="VV", made="20250222", value=0.1):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / GRANULE.format(day=day, band=band, made=made)
    shape = {"count": 1, "height": 16, "width": 16, "dtype": "float32"}
    transform = rasterio.Affine(30, 0, 5e5, 0, -30, 4e6)
    pixels = np.full((16, 16), value, np.float32) + np.arange(16, dtype=np.float32)
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32611", transform=transform, **shape) as out:
        out.write(pixels, 1)
    return path


FILE = SceneFile(
    path="/data/a.tif",
    band="VV",
    product_id="a",
    unit="power",
    scale=9.657046131856903e-05,
    nodata=float("nan"),
    crs="EPSG:32611",
    transform=(30.0, 0.0, 5e5, 0.0, -30.0, 4e6),
    shape=(16, 16),
    size=1234,
    sha256="0" * 64,
)
SCENE = Scene(
    scene_id="a",
    time=np.datetime64("2024-07-09T04:03:29.010153366"),
    files=(FILE, replace(FILE, band="VH", nodata=-9999.0)),
    sensor="capella",
    platform="capella-14",
    mode="spotlight",
    product_type="GEO",
    place="here",
    orbit_direction="ascending",
    look_side="left",
    track="45",
    incidence_deg=38.231502739080746,
    radiometry="sigma0",
    calibration="full",
    geometry="terrain",
    looks=9.0,
    processed=np.datetime64("2025-03-13T01:41:25.629930", "ns"),
    extra={"collect_id": "x", "nested": {"a": [1, 2.5, None, True]}},
)


def same(a, b):
    """Equal, NaN included, with the very types."""
    return repr(a) == repr(b)


# --- JSON --------------------------------------------------------------------------------------------------


def test_round_trip_of_every_field(tmp_path):
    bare = {"mode": None, "place": None, "orbit_direction": None, "incidence_deg": None, "processed": None}
    other = replace(SCENE, scene_id="b", looks=None, extra={}, **bare)
    before = Catalogue(
        scenes=(SCENE, other),
        refused=(Refusal(path="/data/b.tif", reason="expected ü"),),
        dropped=(Dropped(path="/data/c.tif", why="a copy"),),
    )
    path = tmp_path / "scenes.json"
    write_catalogue(path, before)
    after = read_catalogue(path)
    assert same(before, after)
    assert type(after.scenes[0].time) is np.datetime64
    assert "NaN" not in path.read_text()


@given(
    st.integers(2**60, 2**62),
    st.floats(min_value=1e-300, allow_nan=False, allow_infinity=False),
    st.none() | st.floats(),
    st.text(),
)
def test_round_trip_of_anything(time_ns, scale, nodata, word):
    file = replace(FILE, scale=scale, nodata=nodata, product_id=word)
    scene = replace(SCENE, time=np.datetime64(time_ns, "ns"), files=(file,), platform=word, extra={"a": word})
    assert same(scene_from_json(json.loads(json.dumps(scene_to_json(scene))), where="x"), scene)


@pytest.mark.parametrize("kind", ["scene", "file"])
def test_unknown_missing_and_wrong_fields_are_refused(kind):
    for field in fields(Scene if kind == "scene" else SceneFile):
        for spoil in ("rename", [{}], 1j, "nonsense"):
            data = scene_to_json(SCENE)
            inner = data if kind == "scene" else data["files"][0]
            if spoil == "rename":
                inner[field.name + "_"] = inner.pop(field.name)
            elif isinstance(inner[field.name], str) and spoil == "nonsense":
                continue
            else:
                inner[field.name] = spoil
            with pytest.raises(ArtefactError, match=r"scenes\.json"):
                scene_from_json(data, where="scenes.json")
    for field, word in (
        ("radiometry", "sigma"),
        ("orbit_direction", "up"),
        ("time", "NaT"),
        ("geometry", "flat"),
    ):
        with pytest.raises(ArtefactError, match=field):
            scene_from_json({**scene_to_json(SCENE), field: word}, where="scenes.json")


@pytest.mark.parametrize("path", ["a.tif", "../a.tif", "/data/../etc/a.tif", "/data/a\0.tif", ""])
def test_paths_are_plain_and_absolute(path):
    data = scene_to_json(SCENE)
    data["files"][0]["path"] = path
    with pytest.raises(ArtefactError, match="absolute path"):
        scene_from_json(data, where="x")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other"}', "[" * 100_000, "\x00"])
def test_what_is_no_catalogue(text, tmp_path):
    path = tmp_path / "scenes.json"
    path.write_text(text)
    with pytest.raises(ArtefactError, match=r"scenes\.json"):
        read_catalogue(path)
    with pytest.raises(ArtefactError, match=r"none\.json"):
        read_catalogue(tmp_path / "none.json")


@settings(max_examples=200)
@given(st.data())
def test_mutated_catalogues_give_only_our_errors(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("c") / "scenes.json"
    write_catalogue(path, Catalogue(scenes=(SCENE,), dropped=(Dropped(path="/c", why="a copy"),)))
    found = json.loads(path.read_text())
    spots = [found, found["scenes"][0], found["scenes"][0]["files"][0], found["dropped"][0]]
    inner = data.draw(st.sampled_from(spots))
    anything = (
        st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
    )
    inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(anything)
    path.write_text(json.dumps(found))
    try:
        read_catalogue(path)
    except SarcastError as error:
        assert "\n" not in str(error)


# --- walking -----------------------------------------------------------------------------------------------


def test_walks_in_order_and_through_links_once(tmp_path):
    late, early = product(tmp_path / "a", "1126"), product(tmp_path / "b", "1114")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.tif").write_bytes(b"junk")
    (tmp_path / "b" / "notes.txt").write_text("no product")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "again.tif").symlink_to(early)
    found = find_products(tmp_path)
    times = [scene.time for scene in found.scenes]
    assert len(times) == 2
    assert times == sorted(times)
    assert {os.path.realpath(scene.files[0].path) for scene in found.scenes} == {str(late), str(early)}


def test_what_a_run_wrote_is_no_product(tmp_path):
    product(tmp_path / "here")
    (tmp_path / "out" / "site" / "maps").mkdir(parents=True)
    (tmp_path / "out" / "site" / "maps" / "anomaly.tif").write_bytes(b"II*\0")
    with pytest.raises(ProductError, match=r"anomaly\.tif"):
        find_products(tmp_path)
    for name in ("scenes.json", "manifest.json"):
        (tmp_path / "out" / name).write_text("{}")
    assert len(find_products(tmp_path).scenes) == 1


@pytest.mark.parametrize("content", ["nothing", "text", "folder"])
def test_a_source_without_products_raises(content, tmp_path):
    source = tmp_path / "source"
    if content != "nothing":
        source.mkdir()
    if content == "text":
        (source / "a.txt").write_text("x")
    with pytest.raises(ProductError, match=f"{source}"):
        find_products(source)
    with pytest.raises(ProductError, match=f"{source}"):
        find_products(source, skip_bad=True)


def test_one_bad_product_stops_or_is_listed(tmp_path):
    product(tmp_path)
    bad = product(tmp_path, "1126")
    bad.write_bytes(bad.read_bytes()[:500])
    with pytest.raises(ProductError, match=rf"{bad.name}.*--skip-bad"):
        find_products(tmp_path)
    found = find_products(tmp_path, skip_bad=True)
    assert len(found.scenes) == 1
    assert [(one.path, bad.name in one.reason) for one in found.refused] == [(str(bad), True)]


def test_all_bad_raises_either_way(tmp_path):
    for day in ("1114", "1126"):
        path = product(tmp_path, day)
        path.write_bytes(b"II*\0")
    for skip_bad in (False, True):
        with pytest.raises(ProductError, match="and 1 more"):
            find_products(tmp_path, skip_bad=skip_bad)
    assert len(scan(tmp_path).refused) == 2


def test_a_broken_link_is_listed(tmp_path):
    product(tmp_path)
    (tmp_path / GRANULE.format(day="1208", band="VV", made="20250222")).symlink_to(tmp_path / "gone")
    assert len(scan(tmp_path).refused) == 1


# --- one acquisition once ----------------------------------------------------------------------------------


def test_copies_are_left_out(tmp_path):
    product(tmp_path / "a")
    product(tmp_path / "b")
    found = find_products(tmp_path)
    assert len(found.scenes) == 1
    assert found.scenes[0].files[0].path.startswith(str(tmp_path / "a"))
    assert ["a copy" in note for note in found.notes] == [True]


def test_one_id_with_two_contents_is_refused(tmp_path):
    product(tmp_path / "a")
    product(tmp_path / "b", value=0.2)
    with pytest.raises(ProductError, match="one content"):
        find_products(tmp_path)


def test_a_newer_processing_with_fewer_polarisations_says_so(tmp_path):
    product(tmp_path, band="VV")
    product(tmp_path, band="VH")
    product(tmp_path, band="VV", made="20250301")
    found = find_products(tmp_path)
    assert [scene.bands for scene in found.scenes] == [("VV",)]
    assert "also had VH" in found.notes[0]


def test_every_order_of_arrival_gives_the_same_catalogue(tmp_path, rng):
    """Dates, a superseded processing twice over, a copy: in one go or one by one, merged."""
    parts = []
    for number, (day, made, band) in enumerate(
        [
            ("1114", "20250222", "VV"),
            ("1114", "20250301", "VV"),
            ("1114", "20250401", "VV"),
            ("1126", "20250222", "VV"),
            ("1208", "20250222", "VV"),
        ]
    ):
        product(tmp_path / "all" / str(number), day, band, made)
        parts.append(tmp_path / "all" / str(number))
    whole = find_products(tmp_path / "all")
    assert len(whole.scenes) == 3
    assert len(whole.dropped) == 2
    for _ in range(12):
        merged = Catalogue()
        for at in rng.permutation(len(parts)):
            merged = merge(merged, find_products(parts[at]))
        assert same(merged, whole)
    assert same(merge(whole, whole), whole)


def test_merge_lets_the_new_entry_win(tmp_path):
    path = product(tmp_path)
    old = find_products(tmp_path)
    product(tmp_path, value=0.5)
    new = find_products(tmp_path)
    assert old.scenes[0].files[0].sha256 != new.scenes[0].files[0].sha256
    assert same(merge(old, new), new)
    whole = path.read_bytes()
    product(tmp_path, "1126")
    path.write_bytes(whole[:300])
    spoiled = merge(new, scan(tmp_path))
    assert [scene.scene_id for scene in spoiled.scenes] == [path.stem[:-3].replace("1114", "1126")]
    assert [one.path for one in spoiled.refused] == [str(path)]
    path.write_bytes(whole)
    assert not merge(spoiled, scan(tmp_path)).refused


def test_same_source_same_bytes(tmp_path):
    for day in ("1114", "1126"):
        for band in ("VV", "VH"):
            product(tmp_path / "p", day, band)
    texts = []
    for number in range(2):
        write_catalogue(tmp_path / f"{number}.json", find_products(tmp_path / "p"))
        texts.append((tmp_path / f"{number}.json").read_bytes())
    assert texts[0] == texts[1]
    assert all(Path(f.path).is_absolute() for s in find_products(tmp_path / "p").scenes for f in s.files)
