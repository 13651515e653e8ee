"""Seasonal tiles of geetiles: what was written is read, in our order, and what wrapped round is seen."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy.ndimage import gaussian_filter, median_filter

from sarcast.errors import ProductError
from sarcast.readers.chip_files import ChipFile
from sarcast.readers.chip_sources import unlabelled
from sarcast.readers.seasonal_tiles import (
    STORED,
    is_seasonal,
    read_header,
    read_seasons,
    read_tile,
    wrap_suspects,
    write_seasons,
    write_tile,
)
from sarcast.sar.seasons import of_db

SIDE = 40
BOX = GeoBox((SIDE, SIDE), Affine(10, 0, 500_000, 0, -10, 4_000_000), "EPSG:32611")
STEP = 30 / 255
PROFILE = {"driver": "GTiff", "count": 1, "dtype": "uint8", "transform": BOX.transform, "crs": "EPSG:32611"}


@pytest.fixture
def db(rng):
    """VV about -11 dB, VH about -18 dB, speckle of 30 looks."""
    level = gaussian_filter(rng.normal(0, 12, (2, 4, SIDE, SIDE)), (0, 0, 4, 4))
    level += np.array([-11.0, -18.0])[:, None, None, None]
    return level + 10 * np.log10(rng.gamma(30, 1 / 30, level.shape))


def test_written_is_read_in_our_order(tmp_path, db):
    write_tile(tmp_path / "a.tif", db, geobox=BOX)
    tile = read_tile(tmp_path / "a.tif")
    assert tile.stack.valid.all() and tile.wrapped_share == 0
    expected = np.concatenate([db[:1] - db[1:], db]).reshape(12, SIDE, SIDE)
    assert np.abs(tile.stack.db - expected)[4:].max() <= STEP + 1e-4
    assert tile.stack.geobox.transform == BOX.transform and tile.stack.geobox.crs == BOX.crs
    with rasterio.open(tmp_path / "a.tif") as held:
        assert held.descriptions[:5] == (
            "winter_vvasc", "winter_vvdes", "winter_vhasc", "winter_vhdes", "spring_vvasc"
        )  # fmt: skip


def test_bands_go_by_name_and_orbits_differ(tmp_path, db):
    write_tile(tmp_path / "a.tif", db, geobox=BOX)
    with rasterio.open(tmp_path / "a.tif") as held:
        stored, profile = held.read(), held.profile
    order = list(range(16))[::-1]
    with rasterio.open(tmp_path / "b.tif", "w", **profile) as out:
        for number, old in enumerate(order, 1):
            out.write(stored[old] // 2 if STORED[old].endswith("des") else stored[old], number)
            out.set_band_description(number, STORED[old])
    a, b = read_tile(tmp_path / "a.tif").stack, read_tile(tmp_path / "b.tif").stack
    np.testing.assert_array_equal(a.db, b.db)
    descending = read_tile(tmp_path / "b.tif", orbit="des", wrapped="keep").stack
    assert (descending.db[4:].mean() + 30) < 0.55 * (a.db[4:].mean() + 30)


@pytest.mark.parametrize("planted", [(0, 3.0), (1, -35.0)])
def test_what_wrapped_round_is_seen_and_nothing_else(tmp_path, db, planted):
    """A town over 0 dB in VV, or a lake under -30 dB in VH: 12 x 12 px of one season."""
    band, level = planted
    if band:
        db[0, 2, 10:22, 10:22] -= 9
    db[band, 2, 10:22, 10:22] = level
    write_tile(tmp_path / "a.tif", db, geobox=BOX, wrap=True)
    tile = read_tile(tmp_path / "a.tif")
    assert tile.wrapped[band, 2, 10:22, 10:22].mean() > 0.95
    outside = tile.wrapped.copy()
    outside[:, 2, 10:22, 10:22] = False
    assert outside.mean() < 1e-3
    assert not tile.stack.valid[[2, 6, 10]][:, 12:20, 12:20].any()
    kept = read_tile(tmp_path / "a.tif", wrapped="keep")
    assert kept.stack.valid.all() and kept.wrapped_share == tile.wrapped_share
    with pytest.raises(
        ProductError, match=r"expected numbers within -30..0 dB, found 2.\d% that seem to have"
    ):
        read_tile(tmp_path / "a.tif", wrapped="refuse", most=0.01)
    read_tile(tmp_path / "a.tif", wrapped="refuse", most=0.05)
    write_tile(tmp_path / "b.tif", db, geobox=BOX)
    assert read_tile(tmp_path / "b.tif").wrapped_share < 0.001, "clipped, not wrapped"


def test_a_single_wrapped_pixel_is_seen_by_its_neighbours():
    stored = np.full((2, 4, 9, 9), 230, np.uint8)
    stored[:, 1, 4, 4] = 20
    assert np.argwhere(wrap_suspects(stored, np.ones(stored.shape, bool))).tolist() == [
        [0, 1, 4, 4],
        [1, 1, 4, 4],
    ]


def test_masks_and_empty_seasons_are_not_valid(tmp_path, db):
    db[:, 3] = -30
    db[:, :, :5] = np.nan
    write_tile(tmp_path / "a.tif", db, geobox=BOX)
    found = read_tile(tmp_path / "a.tif").stack
    assert not found.valid[:, :5].any() and found.valid[0, 5:].all()
    assert found.seasons == ("DJF", "MAM", "JJA")
    assert (found.db[~found.valid] == 0).all()


def test_a_mask_beside_the_tile_counts(tmp_path, db):
    write_tile(tmp_path / "a.tif", db, geobox=BOX)
    mask = np.full((SIDE, SIDE), 255, np.uint8)
    mask[:, -7:] = 0
    profile = {**PROFILE, "width": SIDE, "height": SIDE}
    with rasterio.open(tmp_path / "a.tif.msk", "w", **profile) as out:
        out.write(mask, 1)
    found = read_tile(tmp_path / "a.tif").stack
    assert not found.valid[:, :, -7:].any() and found.valid[:, :, :-7].all()


@pytest.mark.parametrize("count, dtype", [(16, "float32"), (12, "uint8")])
def test_other_rasters_are_refused(tmp_path, count, dtype):
    profile = {**PROFILE, "width": 8, "height": 8, "count": count, "dtype": dtype}
    with rasterio.open(tmp_path / "a.tif", "w", **profile) as out:
        out.write(np.ones((count, 8, 8), dtype))
    with pytest.raises(ProductError, match="expected 16 bands of uint8, found"):
        read_tile(tmp_path / "a.tif")
    write_tile(tmp_path / "b.tif", np.zeros((2, 4, 8, 8)), geobox=GeoBox((8, 8), BOX.transform, BOX.crs))
    with rasterio.open(tmp_path / "b.tif", "r+") as out:
        out.set_band_description(3, "something")
    with pytest.raises(ProductError, match="expected bands winter_vvasc to fall_vhdes, found"):
        read_tile(tmp_path / "b.tif")


def test_our_own_tiles_come_back_whole(tmp_path, db):
    ok = np.ones(db.shape, bool)
    ok[1, 2], ok[0, 0, :5] = False, False
    tile = of_db(db, ok, geobox=BOX, name="a", statistic="median", radiometry="gamma0")
    write_seasons(tmp_path / "a.tif", tile)
    found = read_seasons(tmp_path / "a.tif")
    np.testing.assert_array_equal(found.db, tile.db)
    np.testing.assert_array_equal(found.valid, tile.valid)
    assert (found.name, found.statistic, found.radiometry) == ("a", "median", "gamma0")
    assert is_seasonal(tmp_path / "a.tif")


def test_either_kind_of_tile_is_known_and_others_are_refused(tmp_path, db):
    write_tile(tmp_path / "a.tif", db, geobox=BOX)
    assert is_seasonal(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_seasons(tmp_path / "a.tif").db, read_tile(tmp_path / "a.tif").stack.db)
    profile = {**PROFILE, "width": 8, "height": 8, "count": 12, "dtype": "float32"}
    with rasterio.open(tmp_path / "b.tif", "w", **profile) as out:
        out.write(np.ones((12, 8, 8), np.float32))
    with pytest.raises(ProductError, match="expected bands VV-VH DJF to VH SON of float32, found 12"):
        read_seasons(tmp_path / "b.tif")


def test_suspects_are_those_of_medians(rng):
    """A pixel at one end of the scale whose 5 x 5 median is at the other, by a median filter."""
    stored = rng.choice(np.array([5, 60, 64, 120, 191, 192, 250], np.uint8), (2, 4, 40, 40))
    stored[:, :, :20, :20] = rng.choice(np.array([10, 240], np.uint8), (2, 4, 20, 20), p=[0.1, 0.9])
    around = median_filter(stored, size=(1, 1, 5, 5), mode="nearest").astype(int)
    alone = (stored < 64) & (around > 191) | (stored > 191) & (around < 64)
    crossed = stored[1].astype(int) - stored[0] > 6 * 255 / 30
    assert alone.any()
    np.testing.assert_array_equal(wrap_suspects(stored, np.ones(stored.shape, bool)), alone | crossed)


def test_a_header_tells_grid_and_radiometry(tmp_path, db):
    write_tile(tmp_path / "a.tif", db, geobox=BOX)
    found = read_header(tmp_path / "a.tif")
    assert found.geobox.shape == (SIDE, SIDE) and found.radiometry == "sigma0"
    write_seasons(tmp_path / "b.tif", read_tile(tmp_path / "a.tif").stack)
    assert read_header(tmp_path / "b.tif") == found


def test_labelled_chips_read_such_files_as_twelve_channels_in_db(tmp_path, db):
    (tmp_path / "s1").mkdir()
    write_tile(tmp_path / "s1" / "a.tif", db, geobox=BOX)
    listed = unlabelled([ChipFile(path=tmp_path / "s1" / "a.tif")], ["a"], side=SIDE, where=tmp_path)
    values, valid = listed.pixels()
    tile = read_seasons(tmp_path / "s1" / "a.tif")
    np.testing.assert_array_equal(values[0], tile.db)
    np.testing.assert_array_equal(valid[0], tile.valid)
