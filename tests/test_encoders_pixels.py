"""The encoder of pixels: the despeckled image itself, in dB, at full resolution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sarcast.encoders.pixels import Pixels
from sarcast.sar.decibel import to_db
from sarcast.sar.speckle import total_variation


def test_a_pixel_is_a_cell_and_unfiltered_is_the_pixel_itself(make_stack, rng):
    stack = make_stack(rng, (20, 30))
    features = Pixels(despeckle="none").encode(stack)
    assert features.grid.shape == (20, 30) and features.names == ("vh_mean", "vv_mean")
    power = np.moveaxis(stack.amplitude.astype(np.float64) ** 2, 1, -1)
    np.testing.assert_allclose(features.values, to_db(power), atol=1e-4)


def test_filtered_it_is_the_total_variation_image(make_stack, rng):
    stack = make_stack(rng, (40, 40), dates=1)
    features = Pixels(strength_db=2.0).encode(stack)
    for band in range(2):
        expected = total_variation(stack.amplitude[0, band] ** 2, stack.valid[0], strength_db=2.0)
        np.testing.assert_allclose(features.values[0, ..., band], to_db(expected), atol=1e-4)


def test_invalid_pixels_are_no_cells(make_stack, rng):
    stack = make_stack(rng, (20, 30), dates=1)
    valid = rng.random(stack.valid.shape) > 0.2
    features = Pixels().encode(replace(stack, valid=valid))
    np.testing.assert_array_equal(features.valid, valid)
