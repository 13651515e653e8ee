"""Labelled chips: cut to one size before anything sees them, and never the same chip in two roles."""

from __future__ import annotations

import io
import warnings
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sarcast.errors import DataError, ProductError, SettingsError, ShapeError
from sarcast.readers.chip_files import ChipFile, Images
from sarcast.readers.chip_sources import from_folder, from_manifest, from_pairs, unlabelled
from sarcast.readers.labelled_chips import UNLABELLED, LabelledChips, split_groups
from sarcast.sar.world_cover import CLASS_NAMES, WORLD_COVER

SIDES = {"car": (20, 21), "ship": (33, 30), "tank": (16, 16)}
FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def pictures(rng):
    """Role/class/name -> uint8 image; sizes are those of the class."""
    return {
        f"{role}/{name}/{number}.png": rng.integers(0, 256, SIDES[name], dtype=np.uint8)
        for role in ("TRAIN", "TEST")
        for name in SIDES
        for number in range(3)
    }


@pytest.fixture
def folder(tmp_path, pictures):
    for name, image in pictures.items():
        path = tmp_path / "chips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(image))
    return tmp_path / "chips"


@pytest.fixture
def archive(tmp_path, pictures):
    lines = ["path,class,split,group,length"]
    with zipfile.ZipFile(tmp_path / "chips.zip", "w") as held:
        for i, (name, image) in enumerate(pictures.items()):
            held.writestr(f"set/{name}", png(image))
            role, kind, _ = name.split("/")
            lines.append(f"{name},{kind},{role.lower()},g{i},{i / 4}")
        held.writestr("set/list.csv", "\n".join(lines))
    (tmp_path / "list.csv").write_text("\n".join(lines))
    return tmp_path / "chips.zip"


def middle(image, side):
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return image[top : top + side, left : left + side]


def test_folder_manifest_and_archive_say_the_same(folder, archive, pictures):
    told = {"side": 16, "label": "class", "role": "split", "group": "group"}
    ways = [
        from_folder(folder, side=16),
        from_manifest(archive.parent / "list.csv", files=folder, **told),
        from_manifest(archive.parent / "list.csv", files=archive, prefix="set/", **told),
        from_manifest(ChipFile(path=archive, member="set/list.csv"), prefix="set/", **told),
    ]
    for chips in ways:
        assert chips.class_names == ("car", "ship", "tank") and len(chips) == 18
        pixels, valid = chips.pixels()
        assert pixels.shape == (18, 1, 16, 16) and pixels.dtype == np.float32 and valid.all()
        for name, label, role, chip in zip(chips.ids, chips.labels, chips.roles, pixels, strict=True):
            np.testing.assert_allclose(chip[0], middle(pictures[name], 16) / 255, atol=1e-7)
            assert name.split("/")[:2] == [role.upper(), chips.class_names[label]]
        values, labelled = chips.targets()
        assert labelled.all() and (values == chips.labels).all()
    assert sorted(ways[0].hashes) == sorted(ways[3].hashes)


def test_size_of_a_chip_cannot_leak(tmp_path, rng):
    """The same middle in chips of three sizes gives the same bytes, whatever lies around."""
    core = rng.integers(0, 256, (16, 16), dtype=np.uint8)
    for name, (rows, cols) in SIDES.items():
        image = rng.integers(0, 256, (rows, cols), dtype=np.uint8)
        image[(rows - 16) // 2 :, (cols - 16) // 2 :][:16, :16] = core
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(png(image))
    chips = from_folder(tmp_path, side=16)
    pixels, _ = chips.pixels()
    assert (pixels == pixels[0]).all() and len(set(chips.hashes)) == 1
    assert sorted(map(tuple, chips.sizes().tolist())) == sorted(SIDES.values())
    with pytest.raises(
        DataError, match=r"expected chips of 17 pixels a side or more, found 16 x 16, in .*a.png"
    ):
        replace(chips, side=17).pixels()
    large = replace(chips, side=20)
    assert len(large[(large.sizes() >= 20).all(1)].pixels()[0]) == 2


def test_the_same_chip_in_two_roles_raises(folder, pictures):
    assert {role: len(part) for role, part in from_folder(folder, side=16).parts().items()} == {
        "test": 9,
        "train": 9,
    }
    around = np.full((20, 21), 7, np.uint8)
    around[2:18, 2:18] = middle(pictures["TRAIN/tank/0.png"], 16)
    (folder / "TEST" / "car" / "copy.png").write_bytes(png(around))
    with pytest.raises(
        DataError, match=r"no chip of one content in two roles, found 1 such, the first .*copy.png"
    ):
        from_folder(folder, side=16).parts()
    from_folder(folder, side=14)[np.arange(5)].parts()


def test_a_group_in_two_roles_raises_and_so_does_no_role(folder):
    with pytest.raises(DataError, match="expected no chip of one group in two roles, found 9 such"):
        from_folder(folder, side=16, group_in_path=r"\w+/\d").parts()
    chips = from_folder(folder, side=16)
    with pytest.raises(DataError, match="expected a role for every chip, found 18 without"):
        replace(chips, roles=("",) * 18).parts()


@FEW
@given(seed=st.integers(0, 10_000), groups=st.integers(12, 60), test=st.sampled_from([0.2, 0.5]))
def test_whole_groups_are_dealt_out(seed, groups, test):
    rng = np.random.default_rng(seed)
    n = 400
    own = rng.integers(groups, size=n)
    chips = made(own, labels=own % 3, hashes=np.where(rng.random(n) < 0.02, 0, np.arange(n) + 1))
    found = split_groups(chips, {"train": 1 - test, "test": test}, rng=np.random.default_rng(seed))
    for keys in (own, np.array(chips.hashes)):
        for key in np.unique(keys):
            assert len({found.roles[i] for i in np.flatnonzero(keys == key)}) == 1
    again = split_groups(chips, {"train": 1 - test, "test": test}, rng=np.random.default_rng(seed))
    assert found.roles == again.roles
    largest = np.unique([len(p) for p in np.split(np.sort(own), np.flatnonzero(np.diff(np.sort(own))) + 1)])[
        -1
    ]
    joined = (np.array(chips.hashes) == "0").sum() * largest
    assert abs((np.array(found.roles) == "test").mean() - test) < (joined + 2 * largest) / n


def made(groups, *, labels, hashes):
    """Chips without files; their hashes are told."""
    n = len(groups)
    chips = LabelledChips(
        files=tuple(ChipFile(path=None) for _ in range(n)),
        ids=tuple(map(str, range(n))),
        kind="classification",
        labels=np.asarray(labels),
        label_files=None,
        class_names=("a", "b", "c"),
        groups=tuple(map(str, groups)),
        roles=("",) * n,
        side=1,
        where="nowhere",
    )
    chips.__dict__["hashes"] = tuple(map(str, hashes))
    return chips


def test_fewer_groups_than_roles_is_refused(rng):
    with pytest.raises(DataError, match="expected 2 groups or more and positive shares, found 1 groups"):
        split_groups(made([0, 0], labels=[0, 1], hashes=[1, 2]), {"train": 0.5, "test": 0.5}, rng=rng)


def test_manifest_lines_by_what_they_say_and_numbers(folder, archive):
    chips = from_manifest(
        archive.parent / "list.csv",
        files=folder,
        side=8,
        label="length",
        kind="regression",
        only={"class": "ship", "split": "test"},
        group_in_path=r"\w+$|^\w+",
    )
    np.testing.assert_allclose(chips.labels, np.array([12, 13, 14]) / 4)
    assert chips.class_names == () and set(chips.groups) == {"TEST"}


@pytest.mark.parametrize(
    "told, message",
    [
        ({"label": "sort"}, "expected columns path, sort, found no sort"),
        ({"only": {"class": "bus"}}, r"expected chips with {'class': 'bus'}, found none"),
        ({"label": "split", "kind": "regression"}, "expected numbers for labels"),
    ],
)
def test_manifests_that_do_not_say_it_are_refused(archive, told, message):
    with pytest.raises(ProductError, match=message):
        from_manifest(archive.parent / "list.csv", **{"side": 8, "label": "class", **told})


def test_paths_stay_under_the_folder(tmp_path):
    for name in ("../a.png", "/a.png"):
        (tmp_path / "list.csv").write_text(f"path,class\n{name},a\n")
        with pytest.raises(ProductError, match="expected paths under"):
            from_manifest(tmp_path / "list.csv", side=8, label="class")


def test_files_that_are_no_images_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a.png").write_bytes(b"hello")
    with pytest.raises(ProductError, match=r"expected a PNG, JPEG or TIFF, found .* in .*a.png"):
        from_folder(tmp_path, side=8).pixels()
    with pytest.raises(ProductError, match="expected images in folders named by their class"):
        from_folder(tmp_path / "a", side=8)
    (tmp_path / "a.zip").write_bytes(b"PK")
    with Images() as images, pytest.raises(ProductError, match=r"expected a readable file, found .*a.zip: b"):
        images.read(ChipFile(path=tmp_path / "a.zip", member="b"))


def tiff(path, values, *, left=500_000.0, nodata=None):
    path.parent.mkdir(exist_ok=True)
    profile = {"driver": "GTiff", "crs": "EPSG:32611", "nodata": nodata, "dtype": values.dtype}
    profile |= {"count": values.shape[0], "height": values.shape[1], "width": values.shape[2]}
    with rasterio.open(path, "w", transform=Affine(10, 0, left, 0, -10, 4_000_000), **profile) as out:
        out.write(values)


@pytest.fixture
def pairs(tmp_path, rng):
    codes = np.array(list(WORLD_COVER), np.uint8)
    for name in ("a", "b"):
        values = rng.normal(-12, 3, (2, 20, 24)).astype(np.float32)
        values[0, 9, 12] = np.nan
        tiff(tmp_path / "chips" / f"{name}.tif", values)
        label = codes[rng.integers(11, size=(1, 20, 24))]
        label[0, 8, 10] = 0
        tiff(tmp_path / "labels" / f"{name}.tif", label)
    return tmp_path / "chips", tmp_path / "labels"


def test_pairs_of_chips_and_label_images(pairs):
    chips = from_pairs(*pairs, side=10, classes=WORLD_COVER, ignored=(0,))
    pixels, valid = chips.pixels()
    assert pixels.shape == valid.shape == (2, 2, 10, 10)
    assert np.argwhere(~valid).tolist() == [[0, 0, 4, 5], [1, 0, 4, 5]], "of that channel alone"
    assert (pixels[:, 0, 4, 5] == 0).all() and (pixels[:, 1, 4, 5] < -1).all()
    values, labelled = chips.targets()
    assert chips.class_names == CLASS_NAMES and (values[~labelled] == UNLABELLED).all()
    assert np.argwhere(~labelled).tolist() == [[0, 3, 3], [1, 3, 3]]
    with rasterio.open(pairs[1] / "b.tif") as held:
        stored = held.read(1)[5:15, 7:17]
    np.testing.assert_array_equal(np.where(labelled[1], np.array(chips.codes)[values[1]], 0), stored)
    numbers = from_pairs(*pairs, side=10, kind="regression")
    np.testing.assert_array_equal(numbers.targets()[0][1], stored.astype(np.float32))


def test_labels_that_do_not_fit_are_refused(pairs):
    chips, labels = pairs
    with pytest.raises(ProductError, match=r"expected labels among 10, 20, .*, found 0, in .*a.tif"):
        from_pairs(chips, labels, side=10, classes=WORLD_COVER).targets()
    tiff(labels / "a.tif", np.full((1, 20, 24), 10, np.uint8), left=500_010.0)
    with pytest.raises(DataError, match=r"expected the size and grid of .*a.tif, found another, in .*a.tif"):
        from_pairs(chips, labels, side=10, classes=WORLD_COVER, ignored=(0,)).targets()
    (labels / "b.tif").unlink()
    with pytest.raises(ProductError, match="found none for b"):
        from_pairs(chips, labels, side=10, classes=WORLD_COVER)
    with pytest.raises(SettingsError, match="expected classes for segmentation alone"):
        from_pairs(chips, labels, side=10)


def test_labels_are_of_one_kind():
    with pytest.raises(ShapeError, match="labels or label_files"):
        replace(made([0], labels=[0], hashes=[1]), labels=None)


@pytest.mark.shared
def test_mstar_both_conventions(shared):
    folder = shared / "data" / "mstar_soc"
    told = {
        "files": folder / "chips.zip",
        "prefix": "mstar_soc/",
        "side": 128,
        "label": "class",
        "role": "split",
    }
    for only, counts in (({}, (3671, 3203)), ({"std_single_serial": "1"}, (2747, 2425))):
        chips = from_manifest(folder / "manifest.csv", only=only, **told)
        assert tuple(chips.roles.count(role) for role in ("train", "test")) == counts
        assert len(chips.class_names) == 10
    some = chips[np.linspace(0, len(chips) - 1, 60).astype(int)]
    parts = some.parts()
    assert parts["train"].pixels()[0].shape[1:] == (1, 128, 128)
    assert len(np.unique(some.sizes(), axis=0)) > 4, "native sizes differ by class"


@pytest.mark.shared
def test_aircraft_are_split_by_group(shared):
    folder = shared / "data" / "sar_acd"
    chips = from_manifest(
        folder / "groups.csv",
        files=folder / "chips.zip",
        prefix="sar_acd/",
        side=32,
        label="class",
        group="group",
    )
    assert len(chips) == 3032 and len(chips.class_names) == 6
    some = chips[np.arange(0, len(chips), 6)]
    found = split_groups(some, {"train": 0.8, "test": 0.2}, rng=np.random.default_rng(0))
    parts = found.parts()
    assert not set(parts["train"].groups) & set(parts["test"].groups)
    assert abs(len(parts["test"]) / len(some) - 0.2) < 0.03
    assert set(parts["test"].labels) == set(range(6))


@pytest.mark.shared
def test_ships_are_split_by_scene(shared):
    folder = shared / "data" / "opensarship"
    chips = from_manifest(
        folder / "manifest.csv",
        side=32,
        label="ais_type",
        only={"pol": "VH+VV", "product": "GRD"},
        group_in_path="^[^/]+",
    )
    assert len(chips) == 162 and len(set(chips.groups)) == 5
    chips = chips[(chips.sizes() >= 32).all(1)]
    pixels, valid = chips[np.arange(20)].pixels()
    assert pixels.shape == (20, 2, 32, 32) and valid.all() and pixels.min() >= 0
    parts = split_groups(chips, {"train": 0.6, "test": 0.4}, rng=np.random.default_rng(0)).parts()
    assert not set(parts["train"].groups) & set(parts["test"].groups)


@pytest.mark.shared
@pytest.mark.parametrize("kind, folder", [("segmentation", "LULC"), ("regression", "NDVI")])
def test_land_cover_chips(shared, kind, folder):
    root = shared / "data" / "s1_landcover_chips" / "examples"
    classes = {code: str(code) for code in range(10)} if kind == "segmentation" else None
    chips = from_pairs(root / "S1RTC", root / folder, side=192, kind=kind, classes=classes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels, valid = chips.pixels()
        values, labelled = chips.targets()
    assert pixels.shape == (5, 2, 192, 192) and valid.all() and -40 < pixels.mean() < 0
    assert values.shape == (5, 192, 192) and labelled.all()
    assert np.abs(values).max() <= (9 if kind == "segmentation" else 1)


def test_pictures_of_sixteen_bits_become_0_to_1_too(tmp_path):
    image = np.array([[0, 65535], [16384, 32768]], np.uint16)
    Image.fromarray(image).save(tmp_path / "a.png")
    values, _ = unlabelled([ChipFile(path=tmp_path / "a.png")], ["a"], side=2, where=tmp_path).pixels()
    np.testing.assert_allclose(values[0, 0], image / 65535, atol=1e-6)
