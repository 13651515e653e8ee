"""What every encoder promises: one vector per cell, from that cell's valid pixels and surroundings alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import sarcast.encoders.base as base
from sarcast.encoders import ENCODERS
from sarcast.errors import DataError
from sarcast.values import Stack

EVERY = [
    *((name, {}) for name in ENCODERS),
    *(("statistics", {"despeckle": how}) for how in ("boxcar", "lee", "total_variation")),
    ("statistics", {"groups": ("mean",)}),
    ("gradients", {"radii": (1, 3)}),
    ("pixels", {"despeckle": "none"}),
]


def total_variation(told) -> bool:
    """A filter whose reach fades but has no end, and whose gain is the strip's."""
    return told[1].get("despeckle", "total_variation" if told[0] == "pixels" else "none") == "total_variation"


@pytest.fixture(params=EVERY, ids=lambda p: "-".join([p[0], *map(str, p[1].values())]))
def told(request):
    return request.param


@pytest.fixture
def encode(told):
    name, options = told

    def run(stack: Stack, times=None, **more):
        return ENCODERS[name](**{"patch": 8, **options, **more}).encode(stack, times)

    return run


@pytest.fixture
def holed(make_stack, rng):
    """A stack with a ragged border and a few holes, 0 under them."""
    stack = make_stack(rng, (45, 53))
    valid = stack.valid.copy()
    valid[0, :, :11] = False
    valid[1, 30:, 20:] = False
    valid[2] = rng.random(valid.shape[1:]) > 0.03
    return replace(stack, valid=valid, amplitude=np.where(valid[:, None], stack.amplitude, 0))


def test_one_vector_for_every_cell(encode, make_stack, rng):
    stack = make_stack(rng, (45, 53))
    features = encode(stack)
    assert features.values.shape == (3, 6, 7, len(features.names)) and features.values.dtype == np.float32
    assert len(set(features.names)) == len(features.names) > 0
    assert features.valid.all() and np.isfinite(features.values).all()
    assert features.geobox == stack.geobox and features.stack == stack.name
    assert features.times.scene_id == stack.times.scene_id


@pytest.mark.parametrize("bands", [("HH",), ("HV", "VH", "VV")])
def test_any_number_of_bands_each_by_itself(encode, make_stack, rng, bands):
    stack = make_stack(rng, (32, 32), bands=bands, dates=1)
    features = encode(stack)
    per = len(features.names) // len(bands)
    for i, band in enumerate(bands):
        one = replace(stack, amplitude=stack.amplitude[:, i : i + 1], bands=(band,))
        alone = encode(one)
        some = slice(i * per, (i + 1) * per)
        assert alone.names == features.names[some]
        assert all(name.startswith(band.lower()) for name in alone.names)
        np.testing.assert_array_equal(alone.values, features.values[..., some])


@pytest.mark.parametrize("under", [1e4, 0.0, np.nan, np.inf])
def test_invalid_pixels_reach_no_feature(encode, holed, under):
    other = np.where(holed.valid[:, None], holed.amplitude, np.float32(under))
    a, b = encode(holed), encode(replace(holed, amplitude=other))
    np.testing.assert_array_equal(a.valid, b.valid)
    np.testing.assert_array_equal(a.values, b.values)
    assert a.valid.any() and not a.valid.all()
    assert (a.values[~a.valid] == 0).all()


def test_valid_cells_have_the_asked_share_of_valid_pixels(encode, holed):
    """And no cell with fewer; an encoder may ask for more surroundings than that."""
    for share in (0.5, 0.9, 1.0):
        features = encode(holed, min_valid=share)
        for t, row, col in np.ndindex(features.valid.shape):
            top, left = features.grid.tops[row], features.grid.lefts[col]
            found = holed.valid[t, top : top + 8, left : left + 8].mean()
            assert found >= share or not features.valid[t, row, col]
        assert features.valid.mean() > 0.3


def test_a_date_alone_equals_the_date_in_the_whole(encode, holed):
    whole = encode(holed)
    for t in range(3):
        alone = encode(holed, [t])
        np.testing.assert_array_equal(alone.values[0], whole.values[t])
        np.testing.assert_array_equal(alone.valid[0], whole.valid[t])
        assert alone.times.scene_id == (holed.times.scene_id[t],)
    two = encode(holed, [0, 2])
    np.testing.assert_array_equal(two.values, whole.values[[0, 2]])


def test_no_dates_give_no_features(encode, holed):
    assert encode(holed, []).values.shape[0] == 0


def test_strips_equal_the_whole(encode, told, holed, monkeypatch):
    tolerance = 0.3 if total_variation(told) else 1e-5
    whole = encode(holed)
    monkeypatch.setattr(base, "STRIP_PIXELS", 53 * 8)
    strips = encode(holed)
    np.testing.assert_array_equal(strips.valid, whole.valid)
    np.testing.assert_allclose(strips.values, whole.values, atol=tolerance)


@pytest.mark.parametrize("shape", [(9, 9), (9, 31), (31, 9), (17, 40)])
@pytest.mark.parametrize("stride", [3, 8])
def test_any_size_and_stride(encode, make_stack, rng, shape, stride):
    stack = make_stack(rng, shape, dates=1)
    features = encode(stack, stride=stride)
    assert features.values.shape[1:3] == features.grid.shape
    assert features.grid.tops[-1] == shape[0] - 8 and features.grid.lefts[-1] == shape[1] - 8
    assert np.isfinite(features.values).all()


def test_an_image_smaller_than_a_cell_raises(encode, make_stack, rng):
    with pytest.raises(DataError, match="at least 8 px"):
        encode(make_stack(rng, (7, 40), dates=1))


@pytest.mark.parametrize(("side", "patch"), [(30.0, 4), (10.0, 8), (1.0, 16), (0.35, 16)])
def test_the_side_of_a_cell_follows_the_pixel(told, make_stack, rng, side, patch):
    stack = make_stack(rng, (40, 40), dates=1, side_m=side)
    own = ENCODERS[told[0]](**told[1]).encode(stack).grid.patch
    assert own == (1 if told[0] == "pixels" else patch)


def test_pixels_without_power_stay_finite(encode, make_stack, rng):
    stack = make_stack(rng, dates=1)
    amplitude = stack.amplitude.copy()
    amplitude[..., :20, :20] = 0
    assert np.isfinite(encode(replace(stack, amplitude=amplitude)).values).all()


def test_a_far_change_does_not_reach_a_cell(encode, told, make_stack, rng):
    """Surroundings are bounded: a cell 96 px away feels nothing of it."""
    far = 0.1 if total_variation(told) else 1e-4
    stack = make_stack(rng, (16, 160), dates=1)
    amplitude = stack.amplitude.copy()
    amplitude[..., 144:] *= 3
    a, b = encode(stack).values[0], encode(replace(stack, amplitude=amplitude)).values[0]
    np.testing.assert_allclose(a[:, :5], b[:, :5], atol=far)
    assert np.abs(a[:, -2:] - b[:, -2:]).max() > 0.1
