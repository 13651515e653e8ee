"""Multilooking averages power over valid pixels of whole blocks."""

import numpy as np
import pytest

from sarcast.errors import SettingsError, ShapeError
from sarcast.sar.looks import equivalent_looks
from sarcast.sar.multilook import multilook


def slow(power, valid, factor, share):
    rows, cols = factor
    y, x = power.shape[0] // rows, power.shape[1] // cols
    out, seen = np.zeros((y, x)), np.zeros((y, x), bool)
    for i in range(y):
        for j in range(x):
            cell = np.s_[i * rows : (i + 1) * rows, j * cols : (j + 1) * cols]
            if valid[cell].sum() >= share * rows * cols:
                out[i, j], seen[i, j] = power[cell][valid[cell]].mean(), True
    return out, seen


@pytest.mark.parametrize("factor", [(1, 1), (2, 3), (5, 4)])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_equals_a_loop(rng, factor, share):
    power, valid = rng.exponential(size=(23, 31)), rng.random((23, 31)) > 0.4
    got, seen = multilook(power, valid, factor=factor, share=share)
    expected, expected_seen = slow(power, valid, factor, share)
    np.testing.assert_array_equal(seen, expected_seen)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_leading_axes_are_kept_apart(rng):
    power, valid = rng.exponential(size=(2, 3, 12, 12)), rng.random((2, 3, 12, 12)) > 0.3
    got, seen = multilook(power, valid, factor=(3, 3))
    one, one_seen = multilook(power[1, 2], valid[1, 2], factor=(3, 3))
    np.testing.assert_array_equal(got[1, 2], one)
    np.testing.assert_array_equal(seen[1, 2], one_seen)


def test_what_lies_in_invalid_pixels_does_not_matter(rng):
    power, valid = rng.exponential(size=(20, 20)), rng.random((20, 20)) > 0.3
    spoiled = np.where(valid, power, np.nan)
    np.testing.assert_array_equal(
        multilook(power, valid, factor=(4, 4))[0], multilook(spoiled, valid, factor=(4, 4))[0]
    )


def test_looks_multiply(rng):
    power = rng.exponential(size=(600, 600))
    got, seen = multilook(power, np.ones(power.shape, bool), factor=(3, 3))
    assert seen.all()
    assert equivalent_looks(got) == pytest.approx(9, abs=0.4)


def test_bad_requests_raise():
    power, valid = np.ones((8, 8)), np.ones((8, 8), bool)
    with pytest.raises(ShapeError, match="one shape"):
        multilook(power, valid[:4], factor=(2, 2))
    with pytest.raises(ShapeError, match="no block"):
        multilook(power, valid, factor=(9, 2))
    with pytest.raises(SettingsError):
        multilook(power, valid, factor=(0, 2))
    with pytest.raises(SettingsError):
        multilook(power, valid, factor=(2, 2), share=0)
