"""Products of every reader: they read back on their own grid, and a spoiled one names its file and field."""

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sarcast.errors import ProductError, SarcastError
from sarcast.readers import READERS
from sarcast.readers.capella import Capella, parse_metadata
from sarcast.readers.catalogue import find_products, scan
from sarcast.readers.geotiff import GeoTIFF
from sarcast.readers.opera import Opera, orbit_direction
from sarcast.readers.pixels import read_power
from sarcast.sar.looks import equivalent_looks

TRANSFORM = rasterio.Affine(0.4, 0, 495852.0, 0, -0.4, 4181726.0)
GEO = "CAPELLA_C14_SP_GEO_HH_20240709040329_20240709040358"
GEC = GEO.replace("GEO", "GEC")
SLC = GEO.replace("GEO", "SLC")
OPERA = "OPERA_L2_RTC-S1_T137-292318-IW2_20221114T015900Z_20250222T234616Z_S1A_30_v1.0"


def write(path, pixels, *, transform=TRANSFORM, crs="EPSG:32633", text=None, **profile):
    pixels = pixels if pixels.ndim == 3 else pixels[None]
    profile = {"driver": "GTiff", "dtype": pixels.dtype, "count": len(pixels), "crs": crs, **profile}
    shape = {"height": pixels.shape[1], "width": pixels.shape[2]}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", transform=transform, **shape, **profile) as out:
        out.write(pixels)
        if text is not None:
            out.update_tags(TIFFTAG_IMAGEDESCRIPTION=text)
    return path


def metadata(kind="GEO", *, shape=(64, 64), scale_factor=9.657046131856903e-05, looks=9.0):
    """A state vector ascending at 45.6 degrees of inclination, as a real product has it."""
    model = "ExplicitInflatedWGS84[1711.3]" if kind == "GEC" else "WhiteboxFilter[AW3D30v2012,8,50]"
    image = {
        "data_type": "CInt16" if kind == "SLC" else "UInt16",
        "rows": shape[0],
        "columns": shape[1],
        "pixel_spacing_row": 0.4,
        "pixel_spacing_column": 0.4,
        "algorithm": "backprojection",
        "scale_factor": scale_factor,
        "radiometry": "beta_nought" if kind == "SLC" else "sigma_nought",
        "calibration": "full",
        "range_autofocus": None,
        "azimuth_looks": looks,
        "range_looks": 1.0,
        "enl": looks,
        "nesz_peak": -20.2,
        "image_geometry": {"type": "slant_plane" if kind == "SLC" else "geotransform"},
        "center_pixel": {
            "incidence_angle": 38.231502739080746,
            "look_angle": 34.4,
            "squint_angle": -2.1e-08,
            "center_time": "2024-07-09T04:03:43.566999123Z",
        },
        "terrain_models": {"reprojection": {"name": model}},
    }
    vectors = [
        {
            "time": f"2024-07-09T04:03:{second}.400000000Z",
            "position": [5478107.8, 1740710.2, 3944891.5],
            "velocity": [-3979.2, 5029.9, 3298.2],
        }
        for second in (13, 43)
    ]
    return {
        "product_version": "1.10",
        "product_type": kind,
        "processing_time": "2025-03-13T01:41:25.629930Z",
        "collect": {
            "start_timestamp": "2024-07-09T04:03:29.010153366Z",
            "stop_timestamp": "2024-07-09T04:03:57.901172422Z",
            "platform": "capella-14",
            "mode": "spotlight",
            "collect_id": "ce46dc3a-daa2-4169-b7d3-7bc3d425b2f7",
            "image": image,
            "radar": {"pointing": "left", "transmit_polarization": "H", "receive_polarization": "H"},
            "state": {"direction": "ascending", "source": "real_time", "state_vectors": vectors},
        },
    }


def write_capella(folder, name=GEO, *, amplitude=None, data=None, beside=False, **facts):
    """Amplitude (linear) as uint16 over the scale factor; 0 stays 0."""
    amplitude = np.full((64, 64), 0.3) if amplitude is None else amplitude
    data = data or metadata(name.split("_")[3], shape=amplitude.shape, **facts)
    stored = np.rint(amplitude / data["collect"]["image"].get("scale_factor", 1e-4)).astype(np.uint16)
    text = json.dumps(data)
    path = write(folder / f"{name}.tif", stored, text=None if beside else text)
    if beside:
        (folder / f"{name}_extended.json").write_text(text)
    return path


def write_opera(folder, band="VV", *, granule=OPERA, power=None):
    power = np.full((64, 64), 0.1, np.float32) if power is None else power.astype(np.float32)
    return write(folder / f"{granule}_{band}.tif", power, nodata=np.nan, tiled=True, compress="deflate")


def write_plain(folder, band="VV", *, power=None):
    power = np.full((64, 64), 0.1, np.float32) if power is None else power.astype(np.float32)
    return write(folder / f"plain_{band}.tif", power)


WRITERS = {"capella": write_capella, "opera": write_opera, "geotiff": write_plain}
READER = {
    "capella": Capella(),
    "opera": Opera(),
    "geotiff": GeoTIFF(unit="power", time="2024-07-09T04:03:29Z", bands=("VV",)),
}


# --- every reader ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", READERS)
def test_reads_back_on_the_same_grid(name, tmp_path):
    path = WRITERS[name](tmp_path)
    assert READER[name].claims(path)
    (scene,) = READER[name].read(READER[name].sort([path]).products[0])
    (file,) = scene.files
    with rasterio.open(path) as dataset:
        assert (file.crs, file.transform) == (dataset.crs.to_string(), tuple(dataset.transform)[:6])
        assert file.shape == dataset.shape
    assert Path(file.path).is_absolute()
    power, valid = read_power(file)
    assert power.shape == valid.shape == file.shape
    assert power.dtype == np.float32
    assert valid.all()
    assert power.mean() == pytest.approx(0.09 if name == "capella" else 0.1, rel=1e-3)


@pytest.mark.parametrize("name", READERS)
def test_a_spoiled_product_names_its_file(name, tmp_path):
    path = WRITERS[name](tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ProductError, match=path.name):
        READER[name].read([path])
    path.write_bytes(b"")
    with pytest.raises(ProductError, match=path.name):
        READER[name].read([path])


@pytest.mark.parametrize("name", READERS)
def test_a_missing_file_is_a_product_error(name, tmp_path):
    path = WRITERS[name](tmp_path)
    path.unlink()
    with pytest.raises(ProductError, match=path.name):
        READER[name].read([path])


@pytest.mark.parametrize("name", READERS)
def test_without_georeference_raises(name, tmp_path):
    path = WRITERS[name](tmp_path)
    pixels = rasterio.open(path).read()
    text = rasterio.open(path).tags().get("TIFFTAG_IMAGEDESCRIPTION")
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        write(path, pixels, transform=rasterio.Affine.identity(), crs=None, text=text)
    with pytest.raises(ProductError, match=f"georeferenced.*{path.name}"):
        READER[name].read([path])


@pytest.mark.parametrize("name", READERS)
def test_mutated_bytes_give_only_our_errors(name, tmp_path):
    path = WRITERS[name](tmp_path)
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(7)
    for _ in range(150):
        spoiled = bytearray(whole)
        for at in rng.integers(0, min(len(whole), 2000), size=rng.integers(1, 6)):
            spoiled[at] = rng.integers(0, 256)
        path.write_bytes(spoiled)
        try:
            for scene in READER[name].read([path]):
                for file in scene.files:
                    read_power(file)
        except SarcastError as error:
            assert "\n" not in str(error)


# --- Capella -----------------------------------------------------------------------------------------------


def test_capella_scene(tmp_path):
    (scene,) = Capella().read([write_capella(tmp_path)])
    assert scene.scene_id == GEO
    assert scene.time == np.datetime64("2024-07-09T04:03:43.566999123")
    assert (scene.sensor, scene.platform, scene.mode) == ("capella", "capella-14", "spotlight")
    assert (scene.orbit_direction, scene.look_side, scene.track) == ("ascending", "left", "45")
    assert (scene.radiometry, scene.calibration, scene.geometry) == ("sigma0", "full", "terrain")
    assert scene.incidence_deg == pytest.approx(38.2315027)
    assert (scene.looks, scene.bands) == (9.0, ("HH",))


def test_capella_calibrates_by_the_formula(tmp_path, rng):
    amplitude = rng.gamma(9, 0.03, (64, 64))
    (scene,) = Capella().read([write_capella(tmp_path, amplitude=amplitude)])
    stored = rasterio.open(scene.files[0].path).read(1).astype(np.float64)
    power, _ = read_power(scene.files[0])
    np.testing.assert_allclose(power, (9.657046131856903e-05 * stored) ** 2, rtol=1e-6)


def test_capella_looks_are_those_declared(tmp_path, rng):
    """Amplitude taken for power gives about 36 looks, one more square root about 144."""
    speckle = rng.gamma(9, 1 / 9, (360, 360))
    (scene,) = Capella().read([write_capella(tmp_path, amplitude=np.sqrt(0.05 * speckle))])
    power, valid = read_power(scene.files[0])
    assert equivalent_looks(power, valid) == pytest.approx(9, abs=1)
    assert equivalent_looks(np.sqrt(power), valid) > 30
    assert equivalent_looks(power**0.25, valid) > 120


def test_capella_undeclared_zero_is_never_a_value(tmp_path):
    amplitude = np.full((64, 64), 0.3)
    amplitude[:20] = 0
    path = write_capella(tmp_path, amplitude=amplitude)
    assert rasterio.open(path).nodata is None
    power, valid = read_power(Capella().read([path])[0].files[0])
    assert not valid[:20].any()
    assert valid[20:].all()
    assert (power[:20] == 0).all()


def test_capella_geo_and_gec_agree_though_their_scales_differ(tmp_path, rng):
    amplitude = np.sqrt(0.05 * rng.gamma(9, 1 / 9, (64, 64)))
    paths = [
        write_capella(tmp_path, GEO, amplitude=amplitude, scale_factor=9.657e-05),
        write_capella(tmp_path, GEC, amplitude=amplitude, scale_factor=8.860e-05),
    ]
    geo, gec = (np.median(read_power(Capella().read([path])[0].files[0])[0]) for path in paths)
    raw = [np.median(rasterio.open(path).read(1).astype(float) ** 2) for path in paths]
    assert abs(10 * np.log10(geo / gec)) < 0.1
    assert abs(10 * np.log10(raw[0] / raw[1])) > 0.7


def test_capella_prefers_geo_and_says_so(tmp_path):
    write_capella(tmp_path, GEO)
    write_capella(tmp_path, GEC)
    write_capella(tmp_path, SLC)
    write(tmp_path / f"{GEO}_preview.tif", np.zeros((8, 8), np.uint8))
    found = find_products(tmp_path)
    assert [scene.scene_id for scene in found.scenes] == [GEO]
    assert [one.kept for one in found.dropped if one.scene_id == GEC] == [GEO]
    assert len(found.notes) == 3


def test_capella_gec_alone_is_ellipsoid(tmp_path):
    (scene,) = find_products(write_capella(tmp_path, GEC)).scenes
    assert scene.geometry == "ellipsoid"


def test_capella_slc_alone_is_refused(tmp_path):
    with pytest.raises(ProductError, match="slant geometry"):
        find_products(write_capella(tmp_path, SLC))


def test_capella_metadata_beside_and_by_any_name(tmp_path):
    (scene,) = Capella().read([write_capella(tmp_path, beside=True)])
    assert scene.files[0].scale == 9.657046131856903e-05
    path = write_capella(tmp_path / "other").rename(tmp_path / "renamed.tif")
    assert Capella().claims(path)
    assert Capella().read([path])[0].scene_id.endswith("ce46dc3a-daa2-4169-b7d3-7bc3d425b2f7")


def test_capella_without_any_scale_factor(tmp_path):
    path = write_capella(tmp_path, beside=True)
    (tmp_path / f"{GEO}_extended.json").unlink()
    with pytest.raises(ProductError, match=f"scale_factor.*{GEO}.tif"):
        Capella().read([path])


NEEDED = (
    "collect.image.scale_factor",
    "collect.image.center_pixel.incidence_angle",
    "collect.radar.pointing",
    "collect.radar.transmit_polarization",
    "collect.start_timestamp",
    "collect.collect_id",
    "product_type",
)


@pytest.mark.parametrize("spoil", ["drop", None, "text", -5, [], math.inf])
@pytest.mark.parametrize("field", NEEDED)
def test_capella_names_the_field(field, spoil, tmp_path):
    data = metadata()
    *way, last = field.split(".")
    inner = data
    for part in way:
        inner = inner[part]
    if spoil == "drop":
        del inner[last]
    else:
        inner[last] = spoil
    if field == "collect.collect_id" and spoil == "text":
        assert parse_metadata(data).collect_id == "text"
        return
    with pytest.raises(ProductError, match=f"{field}.*file.tif"):
        parse_metadata(data, where=tmp_path / "file.tif")


def test_capella_optional_blocks_may_be_absent():
    data = metadata()
    del data["collect"]["state"], data["collect"]["image"]["terrain_models"], data["collect"]["image"]["enl"]
    del data["collect"]["image"]["center_pixel"]["center_time"], data["processing_time"]
    data["product_version"] = 1.1
    found = parse_metadata(data)
    assert (found.orbit_direction, found.plane, found.inclination_deg) == (None, None, None)
    assert (found.looks, found.product_version, found.processed) == (9.0, "1.1", None)
    assert found.start < found.center < found.stop
    del data["collect"]["image"]["radiometry"], data["collect"]["image"]["calibration"]
    assert (parse_metadata(data).radiometry, parse_metadata(data).calibration) == ("uncalibrated", "unknown")


def test_capella_direction_from_the_state_vectors():
    data = metadata()
    del data["collect"]["state"]["direction"]
    assert parse_metadata(data).orbit_direction == "ascending"
    data["collect"]["state"]["direction"] = "descending"
    with pytest.raises(ProductError, match=r"collect\.state\.direction"):
        parse_metadata(data)


def test_capella_name_and_metadata_must_agree(tmp_path):
    with pytest.raises(ProductError, match="expected GEC as in the name, found GEO"):
        Capella().read([write_capella(tmp_path, GEC, data=metadata("GEO"))])


def test_capella_crop_keeps_looks_and_resampling_does_not(tmp_path):
    crop = write_capella(tmp_path, data=metadata(shape=(640, 640)))
    (scene,) = Capella().read([crop])
    assert (scene.looks, scene.extra["cropped"], scene.extra["resampled"]) == (9.0, True, False)
    data = metadata(shape=(640, 640))
    data["collect"]["image"]["pixel_spacing_row"] = 0.2
    (scene,) = Capella().read([write_capella(tmp_path, data=data)])
    assert (scene.looks, scene.extra["resampled"]) == (None, True)


@pytest.mark.parametrize("kind", ["float32", "int16"])
def test_capella_is_uint16(kind, tmp_path):
    path = write(tmp_path / f"{GEO}.tif", np.ones((64, 64), kind), text=json.dumps(metadata()))
    with pytest.raises(ProductError, match=f"uint16.*{kind}"):
        Capella().read([path])


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_capella_mutated_metadata_give_only_our_errors(data):
    found = copy.deepcopy(metadata())
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=4,
    )
    for _ in range(data.draw(st.integers(1, 3))):
        inner = found
        while True:
            key = data.draw(st.sampled_from(sorted(inner)))
            if isinstance(inner[key], dict) and inner[key] and data.draw(st.booleans()):
                inner = inner[key]
            else:
                inner[key] = data.draw(anything)
                break
    try:
        parse_metadata(found)
        parse_metadata(json.dumps(found))
    except SarcastError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"[" * 100_000, b'{"a": NaN}', b"\xff\xfe", b"1" * 5000])
def test_capella_junk_is_our_error(text):
    with pytest.raises(ProductError, match=r"where\.tif"):
        parse_metadata(text, where="where.tif")


@pytest.mark.shared
def test_capella_real_metadata_all_parse(shared):
    found = {
        path.name: parse_metadata(path.read_bytes(), where=path)
        for path in sorted((shared / "data/capella_metadata").glob("*.json"))
    }
    assert len(found) == 7
    kinds = [one.product_type for one in found.values()]
    assert (kinds.count("GEO"), kinds.count("GEC"), kinds.count("SLC")) == (1, 1, 5)
    assert sorted(one.plane for one in found.values()) == ["45", "45", "53", "53", "53", "53", "97"]
    for name, one in found.items():
        _, satellite, _, kind, band, *_ = name.split("_")
        assert (one.product_type, one.band) == (kind, band)
        assert one.platform == f"capella-{satellite[1:]}"
        assert one.start <= one.center <= one.stop
        assert one.geometry == {"GEO": "terrain", "GEC": "ellipsoid", "SLC": "slant"}[kind]
        assert one.radiometry == ("beta0" if kind == "SLC" else "sigma0")
        assert one.looks == (1.0 if kind == "SLC" else 9.0)


# --- OPERA -------------------------------------------------------------------------------------------------


def test_opera_scene(tmp_path):
    paths = [write_opera(tmp_path, band) for band in ("VV", "VH")]
    (scene,) = Opera().read(paths)
    assert scene.scene_id == OPERA
    assert scene.bands == ("VH", "VV")
    assert (scene.place, scene.track, scene.platform) == ("T137-292318-IW2", "T137", "S1A")
    assert scene.time == np.datetime64("2022-11-14T01:59:00")
    assert scene.processed == np.datetime64("2025-02-22T23:46:16")
    assert (scene.radiometry, scene.geometry, scene.incidence_deg) == ("gamma0", "terrain", None)


def test_opera_zero_is_a_value_and_nan_is_not(tmp_path):
    power = np.full((64, 64), 0.1)
    power[0], power[1], power[2] = 0, np.nan, np.inf
    file = Opera().read([write_opera(tmp_path, power=power)])[0].files[0]
    power, valid = read_power(file)
    assert valid[0].all()
    assert not valid[1:3].any()
    assert valid[3:].all()
    assert np.isfinite(power).all()


def test_opera_newest_processing_wins(tmp_path):
    newer = OPERA.replace("20250222T234616Z", "20250301T000000Z")
    for granule in (OPERA, newer):
        for band in ("VV", "VH"):
            write_opera(tmp_path, band, granule=granule)
    found = find_products(tmp_path)
    assert [scene.scene_id for scene in found.scenes] == [newer]
    assert found.notes == (f"{OPERA}: an older processing; {newer} is used",)


def test_opera_two_acquisitions_of_a_day_both_live(tmp_path):
    later = OPERA.replace("20221114T015900Z", "20221114T140512Z")
    write_opera(tmp_path)
    write_opera(tmp_path, granule=later)
    assert [scene.scene_id for scene in find_products(tmp_path).scenes] == [OPERA, later]


def test_opera_polarisations_of_one_granule_may_lie_apart(tmp_path):
    write_opera(tmp_path / "vv", "VV")
    write_opera(tmp_path / "vh", "VH", power=np.full((64, 64), 0.02))
    (scene,) = find_products(tmp_path).scenes
    assert scene.bands == ("VH", "VV")


def test_opera_missing_polarisation_is_seen(tmp_path):
    other = OPERA.replace("20221114T", "20221126T")
    for granule, band in ((OPERA, "VV"), (OPERA, "VH"), (other, "VV")):
        write_opera(tmp_path, band, granule=granule)
    assert [scene.bands for scene in find_products(tmp_path).scenes] == [("VH", "VV"), ("VV",)]


def test_opera_mask_is_no_pixel(tmp_path):
    write_opera(tmp_path)
    write(tmp_path / f"{OPERA}_mask.tif", np.zeros((64, 64), np.uint8))
    found = find_products(tmp_path)
    assert len(found.scenes) == 1
    assert "mask is not used" in found.notes[0]


@pytest.mark.parametrize(
    "name",
    [
        OPERA.replace("20221114T015900Z", "20221314T015900Z") + "_VV",
        OPERA.replace("20221114T", "20251114T") + "_VV",
        OPERA.replace("T137-", "T13-") + "_VV",
        OPERA + "_VX",
    ],
)
def test_opera_spoiled_names(name, tmp_path):
    path = write_opera(tmp_path).rename(tmp_path / f"{name}.tif")
    with pytest.raises(ProductError, match=f"expected .*{name}"):
        find_products(path)


def test_opera_wrong_grid_of_a_polarisation(tmp_path):
    write_opera(tmp_path, "VV")
    write_opera(tmp_path, "VH", power=np.ones((32, 32)))
    with pytest.raises(ProductError, match="one grid"):
        find_products(tmp_path)


def test_opera_integers_are_not_linear_power(tmp_path):
    path = write(tmp_path / f"{OPERA}_VV.tif", np.ones((8, 8), np.uint16))
    with pytest.raises(ProductError, match="uint16"):
        find_products(path)


def test_orbit_direction_of_a_burst():
    """T137 over California rises; half an orbit later it falls; a burst of another track says nothing."""
    assert orbit_direction(137, 292318) == "ascending"
    assert orbit_direction(137, 292318 + 1000) == "descending"
    assert orbit_direction(1, 292318) is None


@pytest.mark.shared
def test_opera_real_stack(shared):
    found = scan(shared / "data/opera_rtc_t137")
    assert not found.refused
    assert not found.dropped
    assert len(found.scenes) == 110
    assert sum(len(scene.files) for scene in found.scenes) == 220
    places = {scene.place for scene in found.scenes}
    assert len(places) == 5
    for place in places:
        assert len({scene.time for scene in found.scenes if scene.place == place}) == 22
    assert {scene.bands for scene in found.scenes} == {("VH", "VV")}
    assert {scene.orbit_direction for scene in found.scenes} == {"ascending"}
    zeros = 0
    for scene in found.scenes:
        for file in scene.files:
            power, valid = read_power(file)
            assert valid.all()
            zeros += int((power == 0).sum())
            assert (power == 0).sum() == 0 or "292318" in scene.place
    assert zeros == 34
