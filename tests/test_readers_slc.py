"""SLCs read back as they were written; what cannot be trusted is refused, and so are pairs of two kinds."""

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import zarr
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning

from sarcast.errors import ProductError, StackError
from sarcast.readers.slc import DeclaredSlc, TiePoints, read_slc
from sarcast.readers.slc_capella import check_carrier
from sarcast.stack.slc_pair import check_pair

DECLARED = DeclaredSlc(time="2024-05-01T06:00:00Z", band="VV", sensor="own", look_side="right")


def snap(folder, *, date="19Mar2023", days=8478, shape=(6, 9), rng):
    """A small product as SNAP writes it: q beside i, tie points, its own and a slave's metadata."""
    samples = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    group = zarr.open_group(str(folder), mode="w", zarr_format=2)
    for name, part in (("i", samples.real), ("q", samples.imag)):
        group.create_array(f"{name}_VV_{date}", data=part.astype(">f4"))
    rows, cols = np.meshgrid([0, 4, 8], [-5, 5, 15], indexing="ij")
    for name, values in (
        ("latitude", 50 - 0.01 * rows),
        ("longitude", 5 + 0.02 * cols),
        ("incident_angle", 40),
    ):
        ties = group.create_array(name, data=(values + 0.0 * rows).astype(">f4"))
        ties.attrs.update({"offset_y": 0.0, "subsampling_y": 4.0, "offset_x": -5.0, "subsampling_x": 10.0})
    told = {
        "PRODUCT": "S1A_IW_SLC__1SDV_20230331T055032", "first_line_time": [8490, 21035, 812250],
        "REL_ORBIT": [37], "PASS": "DESCENDING", "antenna_pointing": "right", "ACQUISITION_MODE": "IW",
    }  # fmt: skip
    slave = told | {"PRODUCT": "S1A_IW_SLC__1SDV_20230319T055031", "first_line_time": [days, 21033, 553393]}
    plain = [[{"name": k, "data": {"elems": v}} for k, v in one.items()] for one in (told, slave)]
    sections = [
        {"name": "Abstracted_Metadata", "attributes": plain[0]},
        {"name": "Slave_Metadata", "elements": [{"name": "one", "attributes": plain[1]}]},
    ]
    (folder / "SNAP").mkdir()
    (folder / "SNAP" / "product_metadata.json").write_text(json.dumps(sections))
    return samples


def complex_tiff(path, samples, *, dtype="complex64", tags=None, **more):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            height=samples.shape[0],
            width=samples.shape[1],
            count=1,
            dtype=dtype,
            **more,
        ) as dataset:
            dataset.write(samples, 1)
            dataset.update_tags(**(tags or {}))
    return path


def test_snap_reads_the_bands_own_product(tmp_path, rng):
    samples = snap(tmp_path / "a.znap", rng=rng)
    found = read_slc(tmp_path / "a.znap")
    np.testing.assert_array_equal(found.samples, samples)
    assert found.time == np.datetime64("2023-03-19T05:50:33.553393", "ns")
    assert found.product_id == "S1A_IW_SLC__1SDV_20230319T055031"
    assert (found.sensor, found.platform, found.mode, found.track) == ("sentinel1", "S1A", "IW", "37")
    assert (found.orbit_direction, found.look_side, found.incidence_deg) == ("descending", "right", 40)
    latitude, longitude = found.ground.at(np.array([2.0]), np.array([0.0, 7.0]))
    np.testing.assert_allclose(latitude, [[49.98, 49.98]], atol=1e-5)
    np.testing.assert_allclose(longitude, [[5.0, 5.14]], atol=1e-5)


def test_spoiled_snap_is_refused(tmp_path, rng):
    snap(tmp_path / "a.znap", days=8000, rng=rng)
    with pytest.raises(ProductError, match="metadata of a product of 2023-03-19, found none"):
        read_slc(tmp_path / "a.znap")
    with pytest.raises(ProductError, match="expected one band i_POLARISATION_DATE, found none"):
        read_slc(tmp_path / "a.znap", DeclaredSlc(band="HH"))
    (tmp_path / "a.znap" / "SNAP" / "product_metadata.json").write_text("[1]")
    with pytest.raises(ProductError, match="expected SNAP's metadata"):
        read_slc(tmp_path / "a.znap")
    snap(tmp_path / "b.znap", date="33Mar2023", rng=rng)
    with pytest.raises(ProductError, match="expected a date"):
        read_slc(tmp_path / "b.znap")


@pytest.mark.parametrize("dtype", ["complex64", "complex_int16"])
def test_complex_geotiff_with_control_points(tmp_path, rng, dtype):
    samples = np.round(100 * (rng.normal(size=(20, 30)) + 1j * rng.normal(size=(20, 30)))).astype(
        np.complex64
    )
    samples[:3] = 0
    points = [
        GroundControlPoint(row=r, col=c, x=5 + 0.01 * c, y=50 - 0.02 * r) for r in (0, 20) for c in (0, 30)
    ]
    path = complex_tiff(tmp_path / "a.tif", samples, dtype=dtype, gcps=points, crs="EPSG:4326")
    found = read_slc(path, DECLARED)
    np.testing.assert_array_equal(found.samples, samples)
    assert not found.valid[:3].any() and found.valid[3:].mean() > 0.99
    latitude, longitude = found.ground.at(np.array([9.5]), np.array([14.5]))
    np.testing.assert_allclose((latitude[0, 0], longitude[0, 0]), (49.8, 5.15), atol=1e-6)


def test_complex_geotiff_on_a_map_and_on_nothing(tmp_path, rng):
    samples = (rng.normal(size=(8, 9)) + 1j).astype(np.complex64)
    path = complex_tiff(
        tmp_path / "a.tif", samples, crs="EPSG:4326", transform=Affine(0.01, 0, 5, 0, -0.02, 50)
    )
    latitude, longitude = read_slc(path, DECLARED).ground.at(np.array([0.0]), np.array([0.0]))
    np.testing.assert_allclose((latitude[0, 0], longitude[0, 0]), (49.99, 5.005), atol=1e-9)
    assert read_slc(complex_tiff(tmp_path / "b.tif", samples), DECLARED).ground is None


def test_what_is_no_slc_is_refused(tmp_path):
    with pytest.raises(ProductError, match="expected an SLC"):
        read_slc(tmp_path / "nothing.tif")
    real = complex_tiff(tmp_path / "real.tif", np.ones((4, 4), np.float32), dtype="float32")
    with pytest.raises(ProductError, match="expected complex samples, found float32"):
        read_slc(real, DECLARED)
    with pytest.raises(ProductError, match="expected a declared time and band"):
        read_slc(real)


@pytest.mark.parametrize("mode", ["spotlight", "sliding_spotlight", "stripmap"])
def test_only_a_stripmap_slant_plane_keeps_its_carrier(mode):
    if mode == "stripmap":
        check_carrier("SLC", mode, "slant_plane", where="x")
    with pytest.raises(ProductError, match=f"found {mode} in pfa geometry: .*deramped"):
        check_carrier("SLC", mode, "pfa", where="x")
    with pytest.raises(ProductError, match="expected an SLC"):
        check_carrier("GEO", mode, "geotransform", where="x")


def test_capella_metadata_of_real_products(shared, tmp_path, rng):
    """Stripmap is read with all its geometry, spotlight refused in one line."""
    outcome = {}
    for file in sorted((shared / "data/capella_metadata").glob("*_SLC_*_extended.json")):
        told = json.loads(file.read_text())
        told["collect"]["image"] |= {"rows": 12, "columns": 14}
        samples = np.round(50 * (rng.normal(size=(12, 14)) + 1j * rng.normal(size=(12, 14))))
        path = tmp_path / (file.name.removesuffix("_extended.json") + ".tif")
        tags = {"TIFFTAG_IMAGEDESCRIPTION": json.dumps(told)}
        complex_tiff(path, samples.astype(np.complex64), dtype="complex_int16", tags=tags)
        try:
            found = read_slc(path)
        except ProductError as error:
            assert "\n" not in str(error)
            assert "found spotlight in pfa geometry" in str(error)
            outcome[file.name] = "refused"
        else:
            np.testing.assert_allclose(
                found.samples, samples * told["collect"]["image"]["scale_factor"], rtol=1e-5
            )
            assert found.mode == "stripmap" and found.look_side and found.incidence_deg and found.track
            outcome[file.name] = "read"
    assert sorted(outcome.values()) == ["read", "read", "refused", "refused", "refused"]


def test_pairs_of_one_geometry_only(tmp_path, rng):
    snap(tmp_path / "a.znap", rng=rng)
    first = read_slc(tmp_path / "a.znap")
    second = replace(first, time=first.time + np.timedelta64(12, "D"), platform="S1B")
    check_pair(first, second)
    for change in (
        {"look_side": "left"}, {"track": "38"}, {"mode": "EW"}, {"sensor": "capella"}, {"band": "VH"},
        {"orbit_direction": None}, {"incidence_deg": 41.2}, {"incidence_deg": None}, {"time": first.time},
    ):  # fmt: skip
        with pytest.raises(StackError, match="expected a pair of one geometry"):
            check_pair(first, replace(second, **change))


def test_amsterdam(shared):
    first, second = (
        read_slc(shared / "data/slc_pair_amsterdam" / f"{day}-coreg.znap") for day in ("20230319", "20230331")
    )
    check_pair(first, second)
    assert (first.track, first.look_side, first.orbit_direction, first.mode) == (
        "37",
        "right",
        "descending",
        "IW",
    )
    assert (second.time - first.time) / np.timedelta64(1, "D") == pytest.approx(12, abs=1e-3)
    for one in (first, second):
        latitude, longitude = one.ground.at(np.arange(84.0), np.arange(338.0))
        assert 52.365 < latitude.min() < latitude.max() < 52.378
        assert 4.886 < longitude.min() < longitude.max() < 4.907


def test_tie_points_have_one_shape():
    with pytest.raises(Exception, match="expected tie points"):
        TiePoints(
            rows=np.arange(2.0), cols=np.arange(3.0), latitude=np.ones((3, 2)), longitude=np.ones((3, 2))
        )
