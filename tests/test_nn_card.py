"""The scaling of pixels: what numpy sees torch sees, limits are fixed, and hidden pixels reach nothing."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from sarcast.nn.card import Card, scaled


@pytest.mark.parametrize("name", ["db_clip", "minmax_patch"])
def test_numpy_and_torch_alike(rng, name):
    power, valid = rng.gamma(4, 0.05, (3, 2, 8, 9)), rng.random((3, 2, 8, 9)) > 0.2
    a = scaled(power, Card(name=name), valid)
    b = scaled(torch.from_numpy(power), Card(name=name), torch.from_numpy(valid))
    assert isinstance(a, np.ndarray) and a.dtype == np.float32 and b.dtype == torch.float32
    np.testing.assert_array_equal(a, b.numpy())
    assert a.min() == 0 and a.max() <= 1 and (a[~valid] == 0).all()


def test_fixed_limits_in_decibel():
    power = np.array([[0.0, 1e-9, 1e-3, 0.1, 1.0, 10.0, 1e5]])
    expected = [0, 0, 0, 0.5, 0.75, 1, 1]
    np.testing.assert_allclose(scaled(power, Card())[0], expected, atol=1e-6)
    other = Card(low_db=-20, high_db=0)
    np.testing.assert_allclose(scaled(power, other)[0], [0, 0, 0, 0.5, 1, 1, 1], atol=1e-6)


def test_each_pixel_by_itself_or_each_image_between_its_extremes(rng):
    power = rng.gamma(4, 0.05, (2, 8, 9)).astype(np.float32)
    brighter = power * np.array([1, 4])[:, None, None]
    fixed, own = Card(), Card(name="minmax_patch")
    shift = scaled(brighter, fixed)[1] - scaled(power, fixed)[1]
    np.testing.assert_allclose(shift, 10 * np.log10(4) / 40, atol=1e-5)
    np.testing.assert_allclose(scaled(brighter, own), scaled(power, own), atol=1e-5)
    assert (scaled(power, own).min((1, 2)) == 0).all() and (scaled(power, own).max((1, 2)) == 1).all()


@pytest.mark.parametrize("name", ["db_clip", "minmax_patch"])
@pytest.mark.parametrize("under", [0.0, 1e9, np.nan, np.inf])
def test_blind_to_invalid_pixels(rng, name, under):
    power, valid = rng.gamma(4, 0.05, (2, 8, 9)).astype(np.float32), rng.random((2, 8, 9)) > 0.3
    valid[1] = False
    other = np.where(valid, power, np.float32(under))
    np.testing.assert_array_equal(
        scaled(power, Card(name=name), valid), scaled(other, Card(name=name), valid)
    )


def test_limits_in_order():
    with pytest.raises(ValidationError, match="low_db must be under high_db"):
        Card(low_db=10, high_db=-10)
