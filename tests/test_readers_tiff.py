"""A TIFF that is cut off, lies about its size or is something else never reaches a pixel."""

import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling

from sarcast.errors import ProductError, SarcastError
from sarcast.readers import tiff
from sarcast.readers.gdal import SAFE, describe, open_raster
from sarcast.readers.tiff import check_complete, images, is_tiff

LAYOUTS = {
    "strips": {},
    "tiles": {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"},
    "bigtiff": {"BIGTIFF": "YES", "tiled": True, "blockxsize": 64, "blockysize": 64},
    "big endian": {"ENDIANNESS": "BIG", "compress": "lzw"},
    "planes": {"interleave": "band", "tiled": True, "blockxsize": 64, "blockysize": 64},
}


def write(path, *, rng=None, side=160, bands=2, pixels=None, **profile):
    rng = rng or np.random.default_rng(1)
    pixels = rng.random((bands, side, side)).astype(np.float32) if pixels is None else pixels
    shape = {"count": pixels.shape[0], "height": pixels.shape[1], "width": pixels.shape[2]}
    profile = {"driver": "GTiff", "dtype": pixels.dtype, "crs": "EPSG:32611", **profile}
    with rasterio.open(
        path, "w", transform=rasterio.Affine(30, 0, 5e5, 0, -30, 4e6), **shape, **profile
    ) as out:
        out.write(pixels)
    return path


def write_cog(path):
    """With overviews, in GDAL's cloud-optimised layout."""
    source = write(path.with_name("source.tif"), bands=1)
    with rasterio.open(source) as dataset:
        pixels = dataset.read()
        profile = {"crs": dataset.crs, "transform": dataset.transform, "dtype": "float32", "count": 1}
    shape = {"height": 160, "width": 160, "blocksize": 128, "overview_count": 2}
    with rasterio.open(path, "w", driver="COG", compress="deflate", **profile, **shape) as out:
        out.write(pixels)
    source.unlink()
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_whole_file_passes_and_no_part_of_it_does(layout, tmp_path):
    path = write(tmp_path / "a.tif", **LAYOUTS[layout])
    check_complete(path)
    _refuses_every_truncation(path)


def test_a_cloud_optimised_file_cut_anywhere_is_refused(tmp_path):
    path = write_cog(tmp_path / "cog.tif")
    check_complete(path)
    assert len(images(path)) > 1
    _refuses_every_truncation(path)


def test_overviews_at_the_end_are_checked_too(tmp_path):
    path = write(tmp_path / "a.tif", **LAYOUTS["tiles"])
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.average)
    check_complete(path)
    _refuses_every_truncation(path)


def _refuses_every_truncation(path):
    whole = path.read_bytes()
    points = np.linspace(0, len(whole) - 1, 25).astype(int)
    for size in points:
        path.write_bytes(whole[:size])
        with pytest.raises(ProductError, match=path.name):
            check_complete(path)
    path.write_bytes(whole)


def test_structure_is_what_gdal_says(tmp_path):
    for layout, profile in LAYOUTS.items():
        path = write(tmp_path / f"{layout}.tif".replace(" ", ""), **profile)
        (image,) = images(path)
        with rasterio.open(path) as dataset:
            assert image.shape == dataset.shape
            assert image.tile == dataset.block_shapes[0]
            assert image.bands == dataset.count


def test_tiles_never_written_are_no_data_only_where_there_is_nodata(tmp_path):
    profile = {**LAYOUTS["tiles"], "SPARSE_OK": "TRUE"}
    pixels = np.zeros((1, 160, 160), np.float32)
    pixels[:, :64, :64] = 1
    path = write(tmp_path / "a.tif", pixels=pixels, **profile)
    with pytest.raises(ProductError, match="never written"):
        check_complete(path)
    check_complete(path, sparse=True)
    with pytest.raises(ProductError, match="never written"):
        describe(path)
    describe(path, nodata=0.0)
    path = write(tmp_path / "b.tif", pixels=0 * pixels, **profile)
    with pytest.raises(ProductError, match="never written"):
        check_complete(path, sparse=True)


def test_limits(tmp_path, monkeypatch):
    path = write(tmp_path / "a.tif", **LAYOUTS["tiles"])
    for name, value in (("MAX_PIXELS", 100), ("MAX_TILE_BYTES", 100), ("MAX_BANDS", 1)):
        with monkeypatch.context() as patch:
            patch.setattr(tiff, name, value)
            with pytest.raises(ProductError, match=r"expected .* found .*a\.tif"), open_raster(path):
                pass
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(TIFFTAG_IMAGEDESCRIPTION="x" * 1000)
    monkeypatch.setattr(tiff, "MAX_DESCRIPTION_BYTES", 999)
    with pytest.raises(ProductError, match="ImageDescription"):
        images(path)


def test_bombs_cost_nothing(tmp_path):
    """A sparse 10^6 x 10^6 image, and one tile of 512 MiB in a few kilobytes."""
    sparse = tmp_path / "sparse.tif"
    huge = {"driver": "GTiff", "width": 10**6, "height": 10**6, "count": 1, "dtype": "uint8", "tiled": True}
    huge |= {"blockxsize": 16384, "blockysize": 16384, "SPARSE_OK": "TRUE", "BIGTIFF": "YES"}
    transform = rasterio.Affine(1, 0, 9, 0, -1, 9)
    with rasterio.open(sparse, "w", crs="EPSG:32611", transform=transform, **huge):
        pass
    tile = tmp_path / "tile.tif"
    fat = {
        **huge,
        "width": 8192,
        "height": 8192,
        "blockxsize": 8192,
        "blockysize": 8192,
        "compress": "deflate",
    }
    with rasterio.open(tile, "w", crs="EPSG:32611", transform=transform, **fat) as out:
        out.write(np.zeros((1, 8192, 8192), np.uint8))
    began = time.monotonic()
    for path in (sparse, tile):
        with pytest.raises(ProductError, match=path.name):
            describe(path)
    assert time.monotonic() - began < 2


def test_vrt_in_disguise_is_refused(tmp_path):
    secret = write(tmp_path / "secret.tif", bands=1)
    disguised = tmp_path / "disguised.tif"
    disguised.write_text(
        '<VRTDataset rasterXSize="160" rasterYSize="160"><VRTRasterBand dataType="Float32" band="1">'
        f"<SimpleSource><SourceFilename>{secret}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(ProductError, match=r"expected a GeoTIFF.*disguised\.tif"), open_raster(disguised):
        pass


@pytest.mark.parametrize(
    "name", ["/vsicurl/http://127.0.0.1/a.tif", "nothing.tif", "a\0b.tif", ".", "x" * 300]
)
def test_what_is_no_file_is_our_error(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProductError), open_raster(Path(name)):
        pass
    assert not is_tiff(Path("nothing.tif"))


def test_loops_of_directories_end(tmp_path):
    path = write(tmp_path / "a.tif", bands=1)
    data = bytearray(path.read_bytes())
    first = int.from_bytes(data[4:8], "little")
    end = first + 2 + 12 * int.from_bytes(data[first : first + 2], "little")
    data[end : end + 4] = data[4:8]
    path.write_bytes(data)
    with pytest.raises(ProductError, match="loop"):
        images(path)


def test_mutated_headers_give_only_our_errors(tmp_path):
    rng = np.random.default_rng(3)
    for layout in ("strips", "bigtiff", "big endian"):
        path = write(tmp_path / f"{len(layout)}.tif", side=32, **LAYOUTS[layout])
        whole = path.read_bytes()
        for _ in range(200):
            spoiled = bytearray(whole)
            for at in rng.integers(0, 600, size=rng.integers(1, 4)):
                spoiled[at] = rng.choice([0, 1, 255, rng.integers(0, 256)])
            path.write_bytes(spoiled)
            try:
                describe(path)
            except SarcastError as error:
                assert "\n" not in str(error)


def test_settings_of_the_caller_are_left_alone(tmp_path):
    path = write(tmp_path / "a.tif", bands=1)
    (tmp_path / "a.tif.aux.xml").write_text(
        "<PAMDataset><Metadata><MDI key='A'>b</MDI></Metadata></PAMDataset>"
    )
    with rasterio.Env() as env, open_raster(path) as dataset:
        assert "A" not in dataset.tags()
        assert not set(SAFE) & set(env.options)
