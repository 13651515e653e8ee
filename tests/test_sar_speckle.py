"""Speckle filters: unbiased on plain clutter, kind to edges, blind to invalid pixels."""

import numpy as np
import pytest

from sarcast.errors import SettingsError, ShapeError
from sarcast.sar.decibel import to_db
from sarcast.sar.looks import equivalent_looks
from sarcast.sar.speckle import _denoise, boxcar, lee, total_variation

FILTERS = {
    "boxcar": lambda p, v: boxcar(p, v, size=5),
    "lee": lambda p, v: lee(p, v, size=7, looks=4),
    "total_variation": lambda p, v: total_variation(p, v, strength_db=5),
}


@pytest.fixture(params=FILTERS)
def speckle_filter(request):
    return FILTERS[request.param]


def clutter(rng, looks=4, shape=(96, 96)):
    return rng.gamma(looks, 1 / looks, shape).astype(np.float32)


def everywhere(power):
    return np.ones(power.shape, bool)


def rms_db(filtered, truth):
    return float(np.sqrt(np.mean((to_db(filtered) - to_db(truth)) ** 2)))


@pytest.mark.parametrize("level", [1e-3, 1.0, 100.0])
def test_mean_power_of_plain_clutter_is_kept(rng, speckle_filter, level):
    power = level * clutter(rng, shape=(128, 128))
    filtered = speckle_filter(power, everywhere(power))
    assert filtered.dtype == np.float32
    assert to_db(filtered.mean()) == pytest.approx(to_db(power.mean()), abs=0.1)
    assert filtered.std() < power.std() / 2


@pytest.mark.parametrize("looks", [1, 4, 20])
@pytest.mark.parametrize("strength_db", [1.0, 2.5, 5.0])
def test_total_variation_is_unbiased_at_any_looks(rng, looks, strength_db):
    power = clutter(rng, looks, (128, 128))
    filtered = total_variation(power, everywhere(power), strength_db=strength_db)
    assert to_db(filtered.mean()) == pytest.approx(to_db(power.mean()), abs=0.1)
    assert to_db(filtered[32:96, 32:96].mean()) == pytest.approx(0, abs=0.25)


def test_bright_targets_do_not_raise_the_clutter(rng):
    power = clutter(rng)
    before = total_variation(power, everywhere(power))
    power[40:43, 40:43] = 1e4
    after = total_variation(power, everywhere(power))
    assert abs(to_db(after[:30]) - to_db(before[:30])).max() < 0.1


def test_what_lies_in_invalid_pixels_does_not_matter(rng, speckle_filter):
    power, valid = clutter(rng), rng.random((96, 96)) > 0.2
    valid[:, 60:70] = False
    one = speckle_filter(np.where(valid, power, 0), valid)
    other = speckle_filter(np.where(valid, power, 1e5), valid)
    np.testing.assert_array_equal(one, other)
    assert (one[~valid] == 0).all()
    assert (one[valid] > 0).all()


def test_valid_areas_apart_do_not_see_each_other(rng):
    power, valid = clutter(rng), np.ones((96, 96), bool)
    valid[:, 48] = False
    left = _denoise(to_db(power), valid, 5.0, 100)[:, :48]
    alone = _denoise(to_db(power[:, :48]), valid[:, :48], 5.0, 100)
    np.testing.assert_allclose(left, alone, atol=0.02)


def test_leading_axes_are_filtered_apart(rng, speckle_filter):
    power = clutter(rng, shape=(2, 3, 32, 32))
    valid = rng.random(power.shape) > 0.1
    got = speckle_filter(power, valid)
    np.testing.assert_allclose(got[1, 2], speckle_filter(power[1, 2], valid[1, 2]), rtol=1e-6)


def test_boxcar_is_the_mean_of_valid_neighbours(rng):
    power, valid = clutter(rng, shape=(14, 17)), rng.random((14, 17)) > 0.4
    expected = np.zeros(power.shape)
    for y, x in np.argwhere(valid):
        window = np.s_[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        expected[y, x] = power[window][valid[window]].mean()
    np.testing.assert_allclose(boxcar(power, valid, size=5), expected, rtol=1e-5)


def test_lee_is_its_formula(rng):
    power, valid = clutter(rng, shape=(14, 17)), rng.random((14, 17)) > 0.3
    expected = np.zeros(power.shape)
    for y, x in np.argwhere(valid):
        window = np.s_[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        near = power[window][valid[window]].astype(np.float64)
        mean, variance = near.mean(), near.var()
        signal = max(variance - mean**2 / 4, 0) / (1 + 1 / 4)
        gain = signal / variance if variance > 0 else 0
        expected[y, x] = mean + gain * (power[y, x] - mean)
    np.testing.assert_allclose(lee(power, valid, size=5, looks=4), expected, rtol=1e-4)


def test_lee_keeps_what_is_not_speckle():
    power = np.ones((40, 40), np.float32)
    power[20, 20] = 1e4
    filtered = lee(power, everywhere(power), size=7, looks=1)
    assert filtered[20, 20] > 0.4e4
    assert filtered[20, 30] == pytest.approx(1, rel=1e-5)


def test_total_variation_keeps_an_edge_better_than_a_boxcar_of_equal_smoothing(rng):
    truth = np.ones((96, 96), np.float32)
    truth[:, 48:] = 4
    power = truth * clutter(rng)
    seen = everywhere(power)
    smooth, box = total_variation(power, seen, strength_db=5), boxcar(power, seen, size=9)
    edge, flat = np.s_[:, 44:52], np.s_[:, 4:36]
    assert rms_db(smooth[flat], truth[flat]) < rms_db(box[flat], truth[flat])
    assert rms_db(smooth[edge], truth[edge]) < 0.5 * rms_db(box[edge], truth[edge])
    raw = np.median(to_db(smooth[:, 49])) - np.median(to_db(smooth[:, 46]))
    assert raw > 4.5
    assert np.median(to_db(box[:, 49])) - np.median(to_db(box[:, 46])) < 3.5


def test_total_variation_adds_looks(rng):
    power = clutter(rng, shape=(256, 256))
    assert equivalent_looks(total_variation(power, everywhere(power), strength_db=1)) > 12


def objective(u, f, strength):
    dy = np.diff(u, axis=0, append=u[-1:])
    dx = np.diff(u, axis=1, append=u[:, -1:])
    return 0.5 * ((u - f) ** 2).sum() + strength * np.sqrt(dy**2 + dx**2).sum()


@pytest.mark.parametrize("strength", [0.5, 5.0])
def test_it_minimises_its_objective(rng, strength):
    f = to_db(clutter(rng, shape=(24, 24)))
    valid = np.ones(f.shape, bool)
    best = _denoise(f, valid, strength, 3000).astype(np.float64)
    least = objective(best, f, strength)
    for _ in range(50):
        other = best + 10.0 ** rng.uniform(-3, 0.5) * rng.normal(size=f.shape)
        assert objective(other, f, strength) > least
    for other in (f, np.full(f.shape, f.mean()), 0.98 * best, best + 0.05):
        assert objective(other, f, strength) >= least * (1 - 1e-6)
    quick = _denoise(f, valid, strength, 100)
    assert objective(quick.astype(np.float64), f, strength) < least * 1.005


def test_a_step_has_the_known_solution():
    """Without noise a two-level image loses strength * border / pixels from each side's level."""
    f = np.zeros((20, 40), np.float32)
    f[:, 20:] = 10
    u = _denoise(f, np.ones(f.shape, bool), 5.0, 4000)
    np.testing.assert_allclose(u[:, :20], 5 / 20, atol=5e-3)
    np.testing.assert_allclose(u[:, 20:], 10 - 5 / 20, atol=5e-3)


def test_no_strength_changes_nothing_but_the_mean_of_ratios(rng):
    power = clutter(rng)
    np.testing.assert_allclose(total_variation(power, everywhere(power), strength_db=0), power, rtol=1e-5)


def test_nothing_valid_gives_nothing(speckle_filter):
    power = np.ones((16, 16), np.float32)
    assert (speckle_filter(power, np.zeros((16, 16), bool)) == 0).all()


def test_bad_requests_raise(rng):
    power = clutter(rng, shape=(16, 16))
    valid = everywhere(power)
    with pytest.raises(ShapeError):
        boxcar(power, valid[:8])
    for call in (
        lambda: boxcar(power, valid, size=4),
        lambda: lee(power, valid, size=0, looks=1),
        lambda: lee(power, valid, looks=0),
        lambda: total_variation(power, valid, strength_db=-1),
        lambda: total_variation(power, valid, iterations=0),
    ):
        with pytest.raises(SettingsError):
            call()
