"""Ratio gradients on tensors against those of sarcast.sar, the published numbers and plain sums."""

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook

from sarcast.errors import ShapeError
from sarcast.sar import gradient as reference

with install_import_hook(["sarcast.nn", "sarcast.objectives"], "beartype.beartype"):
    from sarcast.nn.gradient import RADII, ratio_gradients


@pytest.fixture
def images(rng):
    return torch.from_numpy(rng.gamma(4, 0.05, (2, 3, 30, 41)).astype(np.float32))


@pytest.fixture
def valid(rng):
    hole = np.ones((2, 30, 41), bool)
    hole[0, 5:19, 8:30] = False
    hole[1] = rng.random((30, 41)) < 0.8
    return torch.from_numpy(hole)


def test_equals_the_numpy_form(images):
    found, seen = ratio_gradients(images)
    expected, _ = reference.ratio_gradients(images.numpy(), radii=RADII)
    assert found.dtype == torch.float32
    assert seen.all()
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_equals_the_numpy_form_over_valid_pixels_only(images, valid):
    found, seen = ratio_gradients(images, valid=valid)
    wide = np.broadcast_to(valid.numpy()[:, None], images.shape)
    expected, ok = reference.ratio_gradients(images.numpy(), radii=RADII, valid=wide)
    np.testing.assert_array_equal(seen, ok)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert 0 < seen.float().mean() < 1


@pytest.mark.parametrize("bad", [7.0, float("nan"), float("inf")])
def test_blind_to_invalid_pixels(images, valid, bad):
    other = torch.where(valid[:, None], images, bad)
    for a, b in zip(
        ratio_gradients(images, valid=valid, level=True),
        ratio_gradients(other, valid=valid, level=True),
        strict=True,
    ):
        assert torch.equal(a, b)


def test_level_is_the_log_of_the_local_mean(images):
    found, _ = ratio_gradients(images, radii=(3, 2), level=True)
    assert found.shape[2] == 3
    expected = torch.log(images[1, 2, 10:15, 20:25].double().mean() + 1e-2)
    assert abs(found[1, 2, 2, 12, 22] - expected) < 1e-6


def test_gradients_are_blind_to_gain_and_level_is_not(images):
    a, b = (ratio_gradients(x, offset=1e-9, level=True)[0] for x in (images, 4 * images))
    torch.testing.assert_close(a[:, :, :-1], b[:, :, :-1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(a[:, :, -1] + np.log(4), b[:, :, -1], atol=1e-5, rtol=1e-5)


def test_dark_blocks_keep_their_digits():
    """A block of zeros beside a bright field: where a float32 integral image goes wrong."""
    images = torch.full((1, 1, 128, 128), 1.0)
    images[..., 40:100, 40:100] = 0
    found, _ = ratio_gradients(images)
    expected, _ = reference.ratio_gradients(images.numpy(), radii=RADII)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert found[..., 65:75, 65:75].abs().max() < 1e-6


@pytest.mark.parametrize("radii", [(0,), (30,), ()])
def test_radii_that_do_not_fit_are_refused(images, radii):
    with pytest.raises(ShapeError, match="expected radii"):
        ratio_gradients(images, radii=radii)


@pytest.mark.shared
def test_golden(shared):
    golden = np.load(shared / "golden" / "sarjepa_small.npz")
    found, _ = ratio_gradients(torch.from_numpy(golden["images"]))
    for i, radius in enumerate(RADII):
        np.testing.assert_allclose(found[:, :, i], golden[f"gradient_r{radius}"], atol=1e-4, rtol=0)
