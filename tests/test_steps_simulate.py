"""`sarcast simulate` writes products that read back as what was simulated, and the truth beside them."""

import hashlib
import json

import geopandas
import numpy as np
import pytest
import rasterio
from scipy import ndimage

from sarcast.errors import ArtefactError, SettingsError
from sarcast.readers.capella import Capella, parse_metadata
from sarcast.readers.chip_sources import from_pairs
from sarcast.readers.opera import Opera
from sarcast.readers.pixels import read_power
from sarcast.runtime.artefact import finished, run_entry
from sarcast.sar.simulate import SimulateScene, make_geobox
from sarcast.sar.simulate import simulate as simulate_scene
from sarcast.sar.simulate.seasonal import SimulateSeasons, simulate_seasons
from sarcast.sar.world_cover import WORLD_COVER
from sarcast.steps.products import read_labels, write_capella, write_labels
from sarcast.steps.simulate import Simulate, simulate

SCENE = SimulateScene(shape=(96, 112), dates=5, events=3)


def run(folder, **settings):
    return simulate(Simulate(out=folder, **({"scene": SCENE, "seed": 4} | settings)))


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def scenes(folder, reader):
    found = reader.sort(sorted(folder.iterdir()))
    return sorted((s for product in found.products for s in reader.read(product)), key=lambda s: s.time)


def simulated(settings=SCENE, seed=4):
    """What `Simulate` simulates with grids="same"."""
    return simulate_scene(settings, rng=np.random.default_rng(seed).spawn(2)[0])


def test_capella_geo_reads_back(tmp_path):
    products = run(tmp_path, grids="same")
    truth = simulated().stack
    read = scenes(products, Capella())
    assert [s.scene_id for s in read] == list(truth.times.scene_id)
    assert len({s.files[0].scale for s in read}) == len(read)
    for index, scene in enumerate(read):
        assert scene.time == truth.times.time[index]
        assert scene.platform == truth.times.platform[index]
        assert (scene.radiometry, scene.geometry, scene.looks) == ("sigma0", "terrain", 9.0)
        assert (scene.orbit_direction, scene.look_side, scene.track) == ("ascending", "right", "53")
        assert scene.incidence_deg == pytest.approx(truth.times.incidence_deg[index], abs=1e-4)
        power, valid = read_power(scene.files[0])
        np.testing.assert_array_equal(valid, truth.valid[index])
        step = scene.files[0].scale
        np.testing.assert_allclose(np.sqrt(power), truth.amplitude[index, 0], atol=1.01 * step)


def test_capella_files_are_as_the_provider_makes_them(tmp_path):
    products = run(tmp_path)
    shapes = set()
    for path in sorted(products.iterdir()):
        with rasterio.open(path) as dataset:
            assert dataset.dtypes == ("uint16",)
            assert dataset.nodata is None
            assert dataset.block_shapes == [(256, 256)]
            assert dataset.compression.name == "deflate"
            shapes.add(dataset.shape)
            text = dataset.tags()["TIFFTAG_IMAGEDESCRIPTION"]
            found = json.loads(text)
            a = dataset.transform
            assert found["collect"]["image"]["image_geometry"]["geotransform"] == [
                a.c,
                a.a,
                a.b,
                a.f,
                a.d,
                a.e,
            ]
        metadata = parse_metadata(text)
        assert metadata.plane == "53"
        assert metadata.inclination_deg == pytest.approx(53, abs=1e-3)
        assert path.stem.startswith(f"CAPELLA_C{metadata.platform.split('-')[1].zfill(2)}_SP_GEO_HH_")
        for part, time in zip(path.stem.split("_")[-2:], (metadata.start, metadata.stop), strict=True):
            assert part == str(time.astype("datetime64[s]")).translate({ord(c): None for c in "-T:"})
    assert len(shapes) > 1


@pytest.mark.parametrize("direction", ["ascending", "descending"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_geometry_is_declared_and_flown(tmp_path, direction, side):
    scene = SCENE.model_copy(update={"dates": 1, "orbit_direction": direction, "look_side": side})
    (read,) = scenes(run(tmp_path, scene=scene), Capella())
    assert (read.orbit_direction, read.look_side, read.track) == (direction, side, "53")


def test_own_grids_stay_where_the_ground_is(tmp_path):
    """Each date's pixels, taken at their own map coordinates, show the clean scene there."""
    settings = SCENE.model_copy(
        update={"looks": 2000.0, "jitter_px": 0.0, "gain_db": 0.0, "events": 0, "edge_px": 0}
    )
    truth = simulated(settings)
    to_pixel = ~make_geobox(settings).transform
    starts = set()
    for index, scene in enumerate(scenes(run(tmp_path, scene=settings), Capella())):
        file = scene.files[0]
        power, valid = read_power(file)
        left, top = file.transform[2], file.transform[5]
        row, col = (to_pixel.e * top + to_pixel.f, to_pixel.a * left + to_pixel.c)
        starts.add((row, col))
        at = np.meshgrid(np.arange(file.shape[0]) + row, np.arange(file.shape[1]) + col, indexing="ij")
        expected = ndimage.map_coordinates(truth.clean[index, 0], at, order=3, mode="nearest")
        inner = np.s_[4:-4, 4:-4]
        assert valid.all()
        ratio_db = 10 * np.log10(power[inner] / np.maximum(expected[inner], 1e-4))
        assert abs(np.median(ratio_db)) < 0.02
        assert np.std(ratio_db) < 0.6
    assert len(starts) == settings.dates
    assert any(abs(row - round(row)) > 0.05 for row, _ in starts)


def test_gec_differs_from_geo_in_scale_and_not_in_power(tmp_path):
    stack = simulated().stack
    geo = write_capella(tmp_path, stack, 0, scale_factor=1.7e-4, looks=9)
    gec = write_capella(tmp_path, stack, 0, scale_factor=1.5e-4, looks=9, product_type="GEC")
    one, other = (Capella().read([path])[0] for path in (geo, gec))
    assert (one.geometry, other.geometry) == ("terrain", "ellipsoid")
    assert one.files[0].scale != other.files[0].scale
    assert one.extra["collect_id"] == other.extra["collect_id"]
    (a, valid), (b, _) = (read_power(scene.files[0]) for scene in (one, other))
    assert abs(10 * np.log10(a[valid].mean() / b[valid].mean())) < 0.01
    assert np.percentile(np.abs(10 * np.log10(a[valid] / b[valid])), 99) < 0.1


def test_slc_pairs_have_the_coherence_written_beside(tmp_path):
    scene = SCENE.model_copy(update={"shape": (160, 160), "dates": 2, "events": 0, "dynamics": 0.0})
    products = run(tmp_path, scene=scene, product="capella-slc")
    images, metadata = [], []
    for path in sorted(products.iterdir()):
        with rasterio.open(path) as dataset:
            assert dataset.dtypes == ("complex_int16",)
            points, crs = dataset.gcps
            assert (len(points), str(crs)) == (4, "EPSG:32610")
            metadata.append(parse_metadata(dataset.tags()["TIFFTAG_IMAGEDESCRIPTION"]))
            images.append(dataset.read(1) * metadata[-1].scale_factor)
    assert {m.radiometry for m in metadata} == {"beta0"}
    with rasterio.open(tmp_path / "coherence.tif") as dataset:
        told = dataset.read(1)
    for value in np.unique(told):
        inside = told == value
        a, b = (image[inside] for image in images)
        weight = 1 / np.maximum(simulated(scene).clean[0, 0][inside], 1e-9)
        found = abs((weight * a * b.conj()).mean()) / np.sqrt(
            (weight * abs(a) ** 2).mean() * (weight * abs(b) ** 2).mean()
        )
        if inside.sum() > 1500:
            assert abs(found - value) < 0.08


def test_opera_reads_back(tmp_path):
    scene = SCENE.model_copy(update={"kind": "opera"})
    products = run(tmp_path, scene=scene)
    truth = simulated(scene).stack
    read = scenes(products, Opera())
    assert [s.scene_id for s in read] == list(truth.times.scene_id)
    for index, one in enumerate(read):
        assert one.bands == ("VH", "VV")
        assert one.orbit_direction == "ascending"
        assert one.time == truth.times.time[index]
        for file in one.files:
            power, valid = read_power(file)
            np.testing.assert_array_equal(valid, truth.valid[index])
            expected = truth.amplitude[index, truth.bands.index(file.band)] ** 2
            np.testing.assert_allclose(power, expected, rtol=1e-6)
        with rasterio.open(one.files[0].path) as dataset:
            assert np.isnan(dataset.nodata)
            assert dataset.transform.a == 30
            assert dataset.transform.c % 30 == 0


def test_truth_reads_back(tmp_path):
    run(tmp_path)
    labels = simulated().labels
    read = read_labels(tmp_path / "truth.parquet")
    assert read.crs == labels.crs
    assert len(read.labels) == len(labels.labels) > 0
    for one, other in zip(read.labels, labels.labels, strict=True):
        assert one.geometry.equals(other.geometry)
        for name in ("label_id", "kind", "onset", "end", "change_db", "texture_only"):
            assert getattr(one, name) == getattr(other, name)
    frame = geopandas.read_parquet(tmp_path / "truth.parquet")
    assert frame.crs.to_epsg() == 32610


def test_no_labels_and_no_file(tmp_path):
    empty = simulated(SCENE.model_copy(update={"stationary": True})).labels
    write_labels(tmp_path / "none.parquet", empty)
    assert read_labels(tmp_path / "none.parquet") == empty
    with pytest.raises(ArtefactError, match="found nothing"):
        read_labels(tmp_path / "missing.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ArtefactError, match="expected labels as GeoParquet"):
        read_labels(tmp_path / "bad.parquet")


@pytest.mark.parametrize("product", ["capella-geo", "capella-gec", "capella-slc", "opera"])
def test_bytes_repeat_and_differ_by_seed(tmp_path, product):
    scene = SCENE.model_copy(update={"kind": "opera" if product == "opera" else "capella", "dates": 2})
    one, two, other = (
        run(tmp_path / str(number), scene=scene, product=product, seed=seed)
        for number, seed in enumerate((1, 1, 2))
    )
    assert digests(one) == digests(two)
    assert set(digests(one).values()).isdisjoint(digests(other).values())
    same = [(tmp_path / str(number) / "truth.parquet").read_bytes() for number in (0, 1)]
    assert same[0] == same[1]


def test_a_second_call_does_nothing(tmp_path):
    products = run(tmp_path)
    assert finished(products)
    assert finished(tmp_path / "truth.parquet")
    assert run_entry(products)["seed"] == 4
    before = {path.name: path.stat().st_mtime_ns for path in products.iterdir()}
    run(tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in products.iterdir()} == before
    run(tmp_path, seed=5)
    assert {path.name: path.stat().st_mtime_ns for path in products.iterdir()} != before


def test_a_product_of_the_other_sensor_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="expected a product of a capella scene, found opera"):
        run(tmp_path, product="opera")
    assert not list(tmp_path.iterdir())


def test_seasonal_tiles_are_pairs_with_roles_and_their_truth(tmp_path):
    region = SimulateSeasons(tiles=(7, 8), side=16)
    told = {"product": "seasons", "region": region, "bands": 5, "seed": 3}
    folder = simulate(Simulate(out=tmp_path / "a", **told))
    expected = list(simulate_seasons(region, rng=np.random.default_rng(3)))
    cover = from_pairs(folder / "s1", folder / "land_cover", side=16, classes=WORLD_COVER)
    assert set(cover.roles) == {"train", "val", "test"} and len(cover) == 56
    parts = cover.parts()
    number = [int(name[-9:-4]) for name in parts["train"].ids]
    tiles = [expected[i] for i in number]
    np.testing.assert_array_equal(parts["train"].pixels()[0], [one.image.db for one in tiles])
    np.testing.assert_array_equal(parts["train"].targets()[0], [one.land_cover for one in tiles])
    built = from_pairs(folder / "s1", folder / "built", side=16, kind="regression").parts()["train"]
    np.testing.assert_array_equal(built.targets()[0], [one.built for one in tiles])
    again = simulate(Simulate(out=tmp_path / "b", **told))
    assert digests(again / "s1" / "train") == digests(folder / "s1" / "train")
    fewer = simulate(Simulate(out=tmp_path / "c", **told, buffer_m=10.0))
    names = {path.name for path in (fewer / "s1" / "test").iterdir()}
    assert names == {path.name for path in (folder / "s1" / "test").iterdir()}
    assert len(list(fewer.rglob("*.tif"))) < len(list(folder.rglob("*.tif")))
