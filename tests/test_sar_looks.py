"""Equivalent looks: right on plain clutter, hardly moved by texture, targets and edges, NaN when unknown."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from sarcast.errors import SettingsError, ShapeError
from sarcast.sar.looks import equivalent_looks


def clutter(rng, looks, shape=(256, 256)):
    return rng.gamma(looks, 1 / looks, shape).astype(np.float32)


@pytest.mark.parametrize(("looks", "within"), [(1, 0.05), (2, 0.1), (4, 0.2), (9, 0.3), (30, 1.5)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_plain_clutter_has_its_looks(looks, within, seed):
    assert equivalent_looks(clutter(np.random.default_rng(seed), looks)) == pytest.approx(looks, abs=within)


@pytest.mark.parametrize("window", [5, 7, 9, 15])
@pytest.mark.parametrize("looks", [1, 9])
def test_the_window_hardly_matters(rng, window, looks):
    assert equivalent_looks(clutter(rng, looks, (400, 400)), window=window) == pytest.approx(looks, rel=0.05)


@pytest.mark.parametrize("looks", [2, 4, 9])
def test_half_the_scene_textured_gives_the_flat_half(rng, looks):
    power = clutter(rng, looks)
    texture = gaussian_filter(rng.normal(size=power.shape), 2)
    power[:, 128:] *= (10 ** (0.3 * texture / texture.std()))[:, 128:]
    assert equivalent_looks(power) == pytest.approx(looks, rel=0.15)


@pytest.mark.parametrize("looks", [4, 9])
def test_k_distributed_half_gives_the_flat_half(rng, looks):
    power = clutter(rng, looks)
    power[:, 128:] *= rng.gamma(2, 1 / 2, (256, 128))
    assert equivalent_looks(power) == pytest.approx(looks, rel=0.15)


def test_fields_of_several_levels_and_point_targets(rng):
    power = clutter(rng, 9)
    power *= np.kron(rng.choice([0.1, 1.0, 4.0], (4, 4)), np.ones((64, 64)))
    power[rng.integers(0, 256, 100), rng.integers(0, 256, 100)] = 1e3
    assert equivalent_looks(power) == pytest.approx(9, rel=0.1)


def test_gain_does_not_matter(rng):
    power = clutter(rng, 4)
    assert equivalent_looks(power * 1e-4) == pytest.approx(equivalent_looks(power), rel=1e-3)


def test_invalid_pixels_do_not_matter(rng):
    power, valid = clutter(rng, 9), np.ones((256, 256), bool)
    valid[:, 180:] = False
    spoiled = np.where(valid, power, 0)
    spoiled[:, 200:] = 1e6 * rng.random((256, 56))
    expected = equivalent_looks(np.where(valid, power, 7), valid)
    assert equivalent_looks(spoiled, valid) == expected
    assert expected == pytest.approx(9, abs=0.4)


def test_not_measurable_is_nan(rng):
    assert np.isnan(equivalent_looks(clutter(rng, 9, (20, 20))))
    assert np.isnan(equivalent_looks(clutter(rng, 9), np.zeros((256, 256), bool)))
    assert np.isnan(equivalent_looks(np.ones((256, 256))))
    assert np.isnan(equivalent_looks(clutter(rng, 9, (5, 500))))


def test_bad_requests_raise():
    with pytest.raises(ShapeError):
        equivalent_looks(np.ones((2, 64, 64)))
    with pytest.raises(ShapeError):
        equivalent_looks(np.ones((64, 64)), np.ones((64, 32), bool))
    with pytest.raises(SettingsError):
        equivalent_looks(np.ones((64, 64)), window=2)
