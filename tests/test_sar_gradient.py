"""Ratio gradients: equal to the published code's numbers and to a direct sum; blind to invalid pixels."""

import numpy as np
import pytest

from sarcast.errors import SettingsError, ShapeError
from sarcast.sar.gradient import RADII, ratio_components, ratio_gradient, ratio_gradients


def slow(image, radius, offset, valid=None, share=0.5):
    """Sums of both halves of each pixel's window, one pixel at a time."""
    valid = np.ones(image.shape, bool) if valid is None else valid
    padded = np.pad(image.astype(np.float64), radius, mode="reflect") + offset
    seen = np.pad(valid, radius, mode="reflect")
    out, ok = np.zeros((2, *image.shape)), np.zeros(image.shape, bool)
    side = 2 * radius + 1
    halves = (
        np.s_[: radius + 1, :],
        np.s_[radius:, :],
        np.s_[:, : radius + 1],
        np.s_[:, radius:],
    )
    for y, x in np.ndindex(image.shape):
        window = np.s_[y : y + side, x : x + side]
        kept = [seen[window][half] for half in halves]
        ok[y, x] = valid[y, x] and all(k.mean() >= share for k in kept)
        if ok[y, x]:
            means = [padded[window][half][k].mean() for half, k in zip(halves, kept, strict=True)]
            out[:, y, x] = np.log(means[0] / means[1]), np.log(means[2] / means[3])
    return out, ok


@pytest.mark.shared
@pytest.mark.parametrize("radius", RADII)
def test_equals_the_published_gradients(shared, radius):
    golden = np.load(shared / "golden" / "sarjepa_small.npz")
    got = ratio_gradient(golden["images"], radius=radius)
    assert got.shape == golden[f"gradient_r{radius}"].shape
    np.testing.assert_allclose(got, golden[f"gradient_r{radius}"], atol=1e-4)


@pytest.mark.parametrize("radius", [1, 3, 7])
def test_equals_a_direct_sum(rng, radius):
    image = rng.random((19, 23)).astype(np.float32)
    image[4:9, 5:12] = 0
    (gy, gx), _ = slow(image, radius, 1e-2)
    np.testing.assert_allclose(ratio_gradient(image, radius=radius), np.hypot(gy, gx), atol=1e-6)
    got_y, got_x, ok = ratio_components(image, radius=radius)
    assert ok.all()
    np.testing.assert_allclose(got_y, gy, atol=1e-6)
    np.testing.assert_allclose(got_x, gx, atol=1e-6)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_with_a_mask_equals_a_direct_mean(rng, share):
    image, valid = rng.random((17, 21)), rng.random((17, 21)) > 0.3
    (gy, gx), expected_ok = slow(image, 3, 1e-2, valid, share)
    magnitude, ok = ratio_gradients(image, radii=(2, 3), valid=valid, share=share)
    np.testing.assert_array_equal(ok[1], expected_ok)
    np.testing.assert_allclose(magnitude[1], np.hypot(gy, gx), atol=1e-6)
    assert (magnitude[~ok] == 0).all()


def test_a_mask_of_ones_is_the_plain_formula(rng):
    image = rng.random((2, 24, 24))
    plain, _ = ratio_gradients(image, radii=(2, 5))
    masked, ok = ratio_gradients(image, radii=(2, 5), valid=np.ones(image.shape, bool))
    np.testing.assert_array_equal(plain, masked)
    assert ok.all()


def test_one_valid_pixel_less_moves_far_pixels_not_at_all(rng):
    image, valid = rng.random((40, 40)), np.ones((40, 40), bool)
    valid[10, 10] = False
    plain, _ = ratio_gradients(image, radii=(3,))
    masked, _ = ratio_gradients(image, radii=(3,), valid=valid)
    np.testing.assert_allclose(masked[0, 20:], plain[0, 20:], atol=1e-6)
    assert abs(masked[0, 8:13, 8:13] - plain[0, 8:13, 8:13]).max() > 1e-3


def test_what_lies_in_invalid_pixels_does_not_matter(rng):
    image, valid = rng.random((30, 30)), rng.random((30, 30)) > 0.2
    spoiled = np.where(valid, image, np.nan)
    one, _ = ratio_gradients(image, radii=(4,), valid=valid)
    other, _ = ratio_gradients(spoiled, radii=(4,), valid=valid)
    np.testing.assert_array_equal(one, other)


def test_gain_does_not_matter_without_the_offset(rng):
    image = rng.random((30, 30)) + 0.5
    np.testing.assert_allclose(
        ratio_gradient(image, radius=5, offset=1e-9),
        ratio_gradient(50 * image, radius=5, offset=1e-9),
        atol=1e-6,
    )


def test_an_edge_of_known_contrast():
    image = np.ones((32, 32))
    image[:, 16:] = 4
    gy, gx, _ = ratio_components(image, radius=3, offset=1e-12)
    assert abs(gy).max() < 1e-6
    assert gx[16, 16] == pytest.approx(np.log((3 + 4) / 16), abs=1e-6)
    assert gx[16, 4] == pytest.approx(0, abs=1e-6)


def test_turning_the_image_swaps_the_components(rng):
    image = rng.random((20, 26))
    gy, gx, _ = ratio_components(image, radius=4)
    ty, tx, _ = ratio_components(image.T, radius=4)
    np.testing.assert_allclose(gy, tx.T, atol=1e-6)
    np.testing.assert_allclose(gx, ty.T, atol=1e-6)


def test_several_radii_are_stacked_before_y_and_x(rng):
    image = rng.random((2, 3, 24, 28)).astype(np.float32)
    magnitude, ok = ratio_gradients(image, radii=(2, 9))
    assert magnitude.shape == ok.shape == (2, 3, 2, 24, 28)
    assert magnitude.dtype == np.float32
    for i, radius in enumerate((2, 9)):
        np.testing.assert_allclose(magnitude[:, :, i], ratio_gradient(image, radius=radius), atol=1e-6)


def test_bad_requests_raise(rng):
    image = rng.random((12, 16))
    assert ratio_gradient(image, radius=11).shape == image.shape
    with pytest.raises(ShapeError, match="image side - 1"):
        ratio_gradient(image, radius=12)
    with pytest.raises(ShapeError, match="one shape"):
        ratio_gradients(image, valid=np.ones((12, 12), bool))
    for bad in ({"radii": ()}, {"radii": (0,)}, {"offset": 0.0}, {"share": 0.0}):
        with pytest.raises(SettingsError):
            ratio_gradients(image, **bad)
