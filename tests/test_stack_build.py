"""Warping carries power and validity: copied on one grid, averaged when coarser, never fed by nodata."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy.ndimage import gaussian_filter

from sarcast.stack.build import Correction, crop, warp_all, warp_scene
from sarcast.values import Scene, SceneFile

CRS = "EPSG:32611"
LEFT, TOP = 500_000.0, 4_000_000.0


def _file(name: str, power: np.ndarray, *, band="VV", left=LEFT, top=TOP, side=10.0, crs=CRS) -> SceneFile:
    return SceneFile(
        path=name, band=band, product_id=name, unit="power", scale=1.0, nodata=0.0, crs=crs,
        transform=(side, 0.0, left, 0.0, -side, top), shape=power.shape, size=1, sha256="0",
    )  # fmt: skip


def _scene(*files: SceneFile) -> Scene:
    return Scene(
        scene_id="one", time=np.datetime64("2024-01-01", "ns"), files=files, sensor="x", platform="x",
        product_type="GEO", radiometry="sigma0",
    )  # fmt: skip


def _reader(**images: np.ndarray):
    """Images by name; 0 means no data."""

    def read(file, window):
        (r0, r1), (c0, c1) = window
        assert 0 <= r0 < r1 <= file.shape[0] and 0 <= c0 < c1 <= file.shape[1]
        part = images[file.path][r0:r1, c0:c1].astype(np.float32)
        return part, part != 0

    return read


def _box(shape, *, left=LEFT, top=TOP, side=10.0, crs=CRS) -> GeoBox:
    return GeoBox(shape, Affine(side, 0.0, left, 0.0, -side, top), crs)


def _image(rng, shape=(40, 48)) -> np.ndarray:
    return rng.gamma(3.0, 1 / 3, shape).astype(np.float32)


def test_one_grid_passes_through_bit_for_bit(rng):
    image = _image(rng)
    image[3:5, 7:9] = 0
    amplitude, valid = warp_scene(_scene(_file("a", image)), _box((40, 48)), read=_reader(a=image))
    np.testing.assert_array_equal(amplitude[0], np.sqrt(image))
    np.testing.assert_array_equal(valid, image != 0)
    assert amplitude.dtype == np.float32 and valid.dtype == bool


def test_beyond_the_file_is_not_valid(rng):
    image = _image(rng)
    box = _box((50, 60), left=LEFT - 50, top=TOP + 30)
    amplitude, valid = warp_scene(_scene(_file("a", image)), box, read=_reader(a=image))
    np.testing.assert_array_equal(amplitude[0, 3:43, 5:53], np.sqrt(image))
    assert valid.sum() == image.size and not amplitude[0][~valid].any()


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_coarser_is_the_mean_power(rng, factor):
    image = _image(rng, (48, 48))
    n = 48 // factor
    box = _box((n, n), side=10.0 * factor)
    amplitude, valid = warp_scene(_scene(_file("a", image)), box, read=_reader(a=image))
    mean = image.reshape(n, factor, n, factor).mean(axis=(1, 3))
    assert valid.all()
    np.testing.assert_allclose(amplitude[0] ** 2, mean, rtol=1e-5)


@pytest.mark.parametrize(
    ("side", "left", "crs"),
    [
        (20.0, LEFT, CRS),
        (25.0, LEFT + 3.3, CRS),
        (10.0, LEFT + 4.0, CRS),
        (9.0, LEFT + 1.0, CRS),
        (12.0, LEFT, CRS),
    ],
)
def test_edges_of_nodata_beside_bright_ground_are_right_within_a_twentieth_of_a_db(side, left, crs):
    image = np.full((60, 60), 50.0, np.float32)
    image[:, :11] = 0
    image[33:36, 40:44] = 0
    amplitude, valid = warp_scene(
        _scene(_file("a", image)), _box((20, 20), side=side, left=left, crs=crs), read=_reader(a=image)
    )
    assert valid.any() and not valid.all()
    error_db = 20 * np.log10(amplitude[0][valid]) - 10 * np.log10(50.0)
    assert np.abs(error_db).max() < 0.05
    assert not amplitude[0][~valid].any()


def test_another_zone_lands_where_it_should():
    """Against the analytic field at each pixel's own coordinates."""
    from pyproj import Transformer

    left, top = 700_000.0, 4_000_000.0

    def field(x, y):
        return 2 + np.sin((x - left) / 90) + np.cos((y - top) / 110)

    cols, rows = np.meshgrid(np.arange(120) + 0.5, np.arange(120) + 0.5)
    image = field(left + 10 * cols, top - 10 * rows).astype(np.float32)
    x, y = Transformer.from_crs("EPSG:32611", "EPSG:32612", always_xy=True).transform(left + 600, top - 600)
    box = _box((32, 32), left=round(x) - 160, top=round(y) + 160, crs="EPSG:32612")
    file = _file("a", image, left=left, top=top)
    amplitude, valid = warp_scene(_scene(file), box, read=_reader(a=image))
    assert valid.all()
    c, r = np.meshgrid(np.arange(32) + 0.5, np.arange(32) + 0.5)
    a = box.transform
    back = Transformer.from_crs("EPSG:32612", "EPSG:32611", always_xy=True)
    truth = field(*back.transform(a.c + 10 * c, a.f - 10 * r))
    np.testing.assert_allclose(amplitude[0] ** 2, truth, rtol=0.01)


def test_a_shift_is_taken_out_in_one_resampling(rng):
    field = gaussian_filter(rng.normal(size=(80, 80)), 3, mode="wrap")
    image = (2 + field / field.std() * 0.3).astype(np.float32)
    moved = np.roll(image, (2, -1), axis=(0, 1))
    amplitude, _ = warp_scene(
        _scene(_file("a", moved)),
        _box((40, 40), left=LEFT + 200, top=TOP - 200),
        correction=Correction(shift_px=(2.0, -1.0)),
        read=_reader(a=moved),
    )
    np.testing.assert_array_equal(amplitude[0], np.sqrt(image[20:60, 20:60]))


def test_a_gain_is_taken_out_of_its_band_only(rng):
    image = _image(rng)
    scene = _scene(_file("a", image, band="VV"), _file("b", image, band="VH"))
    amplitude, _ = warp_scene(
        scene, _box((40, 48)), correction=Correction(gain_db=(("VV", 3.0),)), read=_reader(a=image, b=image)
    )
    np.testing.assert_array_equal(amplitude[0], np.sqrt(image))
    np.testing.assert_allclose(amplitude[1] ** 2, image * 10**-0.3, rtol=1e-6)


def test_valid_is_valid_in_every_band(rng):
    one, other = _image(rng), _image(rng)
    one[0, 0] = other[5, 5] = 0
    scene = _scene(_file("a", one, band="VV"), _file("b", other, band="VH"))
    amplitude, valid = warp_scene(scene, _box((40, 48)), read=_reader(a=one, b=other))
    assert not valid[0, 0] and not valid[5, 5] and valid.sum() == one.size - 2
    assert not amplitude[:, ~valid].any()


def test_first_valid_frame_of_a_mosaic_wins(rng):
    one, other = _image(rng), _image(rng)
    one[10:20, 30:] = 0
    scene = _scene(_file("b", other, left=LEFT + 240), _file("a", one))
    amplitude, valid = warp_scene(scene, _box((40, 72)), read=_reader(a=one, b=other))
    expected = np.zeros((40, 72), np.float32)
    expected[:, 24:] = other
    expected[:, :48] = np.where(one != 0, one, expected[:, :48])
    np.testing.assert_array_equal(amplitude[0], np.sqrt(expected))
    np.testing.assert_array_equal(valid, expected != 0)


@pytest.mark.parametrize("side", [10.0, 20.0, 11.0])
def test_blocks_and_threads_change_nothing(rng, side):
    image = _image(rng, (128, 128))
    image[:, 60:64] = 0
    scene, read = _scene(_file("a", image)), _reader(a=image)
    box = _box((50, 50), side=side, left=LEFT + 20, top=TOP - 20)
    whole, seen = warp_scene(scene, box, read=read)
    parts, mask, lock = np.full_like(whole, np.nan), np.zeros_like(seen), threading.Lock()

    def sink(_, start, amplitude, valid):
        rows, cols = (slice(at, at + n) for at, n in zip(start, valid.shape, strict=True))
        with lock:
            parts[:, rows, cols], mask[rows, cols] = amplitude, valid

    warp_all([(scene, Correction())], box, sink, block=16, workers=3, read=read)
    np.testing.assert_array_equal(mask, seen)
    np.testing.assert_allclose(parts, whole, rtol=1e-5)


def test_an_error_in_a_thread_comes_out(rng):
    image = _image(rng)

    def sink(*_):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="space"):
        warp_all(
            [(_scene(_file("a", image)), Correction())] * 9, _box((40, 48)), sink, block=16, workers=2,
            read=_reader(a=image),
        )  # fmt: skip


def test_crop_is_the_same_grid():
    part = crop(_box((40, 48)), (32, 16), 16)
    assert tuple(part.shape) == (8, 16)
    assert (part.transform.c, part.transform.f) == (LEFT + 160, TOP - 320)
