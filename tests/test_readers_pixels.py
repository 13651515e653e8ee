"""Stored numbers become linear power by the formula, and invalid ones never become a value."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from sarcast.errors import ProductError, ShapeError
from sarcast.readers.base import scene_file
from sarcast.readers.gdal import describe
from sarcast.readers.pixels import is_nodata, read_power, read_stored


@pytest.fixture
def make(tmp_path):
    def make(pixels, *, unit="power", scale=1.0, nodata=None, **profile):
        path = tmp_path / "a.tif"
        shape = {"count": 1, "height": pixels.shape[0], "width": pixels.shape[1], "dtype": pixels.dtype}
        transform = rasterio.Affine(30, 0, 5e5, 0, -30, 4e6)
        with rasterio.open(
            path, "w", driver="GTiff", crs="EPSG:32611", transform=transform, **shape, **profile
        ) as out:
            out.write(pixels, 1)
        return scene_file(describe(path), band="VV", product_id="a", unit=unit, scale=scale, nodata=nodata)

    return make


FORMULA = {
    "amplitude": lambda stored, scale: (scale * stored) ** 2,
    "power": lambda stored, scale: scale * stored,
    "db": lambda stored, scale: 10 ** (scale * stored / 10),
}
BUGS = {
    "an extra square root": lambda stored, scale: scale * stored,
    "scale not squared": lambda stored, scale: scale * stored**2,
    "amplitude as power": lambda stored, scale: np.sqrt(scale * stored),
}


@pytest.mark.parametrize("unit", FORMULA)
@pytest.mark.parametrize("kind", ["uint16", "int16", "float32", "float64"])
def test_calibration_to_one_in_a_million(unit, kind, make, rng):
    stored = rng.integers(1, 200, (32, 48)).astype(kind)
    power, valid = read_power(make(stored, unit=unit, scale=0.37))
    np.testing.assert_allclose(power, FORMULA[unit](stored.astype(np.float64), 0.37), rtol=1e-6)
    assert valid.all()


@pytest.mark.parametrize("bug", BUGS)
def test_known_calibration_bugs_would_be_seen(bug, make, rng):
    stored = rng.integers(1, 60000, (32, 48)).astype(np.uint16)
    power, _ = read_power(make(stored, unit="amplitude", scale=9.7e-5))
    assert np.median(np.abs(BUGS[bug](stored.astype(np.float64), 9.7e-5) / power - 1)) > 0.1


def test_invalid_numbers_never_become_values(make):
    stored = np.full((4, 8), 0.5, np.float32)
    stored[0, :6] = [np.nan, np.inf, -np.inf, -32768, -0.1, 0]
    power, valid = read_power(make(stored, nodata=-32768.0))
    np.testing.assert_array_equal(valid[0, :7], [False, False, False, False, False, True, True])
    assert (power[~valid] == 0).all()
    assert np.isfinite(power).all()


def test_what_does_not_fit_is_invalid(make):
    power, valid = read_power(make(np.array([[1000.0, 0.0]], np.float32), unit="db"))
    np.testing.assert_array_equal(valid, [[False, True]])
    np.testing.assert_array_equal(power, [[0, 1]])


@given(st.sampled_from([-9999.0, 0.0, 255.0, -3.4028234663852886e38, 1e300, float("nan")]))
def test_nodata_is_compared_as_stored(nodata):
    for kind in (np.uint8, np.int16, np.float32, np.float64):
        exact = np.float64(nodata) if np.dtype(kind).kind == "f" else nodata
        low, high = (0, 0) if np.dtype(kind).kind == "f" else (np.iinfo(kind).min, np.iinfo(kind).max)
        holds = np.dtype(kind).kind == "f" or low <= nodata <= high
        with np.errstate(over="ignore", invalid="ignore"):
            stored = np.array([exact if holds else 1, 7], np.float64).astype(kind)
        expected = [bool(holds and not np.isnan(nodata)), False]
        assert is_nodata(stored, nodata).tolist() == expected


def test_windows_are_rows_then_columns(make, rng):
    stored = rng.random((32, 48)).astype(np.float32)
    file = make(stored, tiled=True, blockxsize=16, blockysize=16)
    power, valid = read_power(file, ((3, 20), (30, 48)))
    np.testing.assert_array_equal(power, stored[3:20, 30:48])
    assert valid.shape == (17, 18)
    for window in (((0, 33), (0, 5)), ((-1, 4), (0, 5)), ((4, 4), (0, 5)), ((0, 32), (0, 49))):
        with pytest.raises(ShapeError, match="window"):
            read_stored(file, window)


def test_a_file_that_changed_is_refused(make):
    file = make(np.ones((8, 8), np.float32))
    with Path(file.path).open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(ProductError, match=r"as catalogued.*a\.tif"):
        read_power(file)
    with pytest.raises(ProductError, match="nothing"):
        read_power(replace(file, path=file.path + "x"))


def test_a_damaged_tile_names_the_file(make, rng):
    file = make(rng.random((64, 64)).astype(np.float32), compress="deflate")
    with Path(file.path).open("r+b") as stream:
        stream.seek(-2000, 2)
        stream.write(b"\xff" * 1500)
    with pytest.raises(ProductError, match=r"readable GeoTIFF.*a\.tif"):
        read_power(file)


def test_complex_numbers_are_refused(make):
    with pytest.raises(ProductError, match="complex64"):
        read_power(make(np.ones((8, 8), np.complex64)))
