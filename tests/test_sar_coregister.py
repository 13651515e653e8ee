"""Shifts are found to a tenth of a pixel in texture, and never in speckle; gains ignore events."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from sarcast.errors import ShapeError
from sarcast.sar.coregister import apply_shift, estimate_gain_db, estimate_shift
from sarcast.sar.decibel import to_db

LOOKS = 9


def _texture(
    rng: np.random.Generator, side: int, contrast_db: float = 3.0, size_px: float = 2.0
) -> np.ndarray:
    field = gaussian_filter(rng.normal(size=(side, side)), size_px, mode="wrap")
    return contrast_db * field / field.std()


def _speckled(rng: np.random.Generator, level_db: np.ndarray) -> np.ndarray:
    return to_db(10 ** (level_db / 10) * rng.gamma(LOOKS, 1 / LOOKS, level_db.shape))


def _reference(rng: np.random.Generator, level_db: np.ndarray) -> np.ndarray:
    return np.median([_speckled(rng, level_db) for _ in range(7)], axis=0)


@pytest.mark.parametrize("side", [64, 100, 128])
def test_shift_within_a_tenth_of_a_pixel_under_nine_look_speckle(rng, side):
    errors = []
    for _ in range(12):
        level = _texture(rng, side)
        true = rng.uniform(-2.5, 2.5, 2)
        found = estimate_shift(_reference(rng, level), _speckled(rng, apply_shift(level, tuple(true))))
        assert found.measurable and found.accepted
        assert found.correlation_after > found.correlation_before
        errors.append([found.dy - true[0], found.dx - true[1]])
    assert np.sqrt(np.mean(np.square(errors))) < 0.1
    assert np.abs(np.mean(errors, axis=0)).max() < 0.05


def test_sign_of_the_shift(rng):
    level = _texture(rng, 64)
    found = estimate_shift(level, np.roll(level, (2, -3), axis=(0, 1)))
    assert (found.dy, found.dx) == pytest.approx((2, -3), abs=0.05)


def test_pure_speckle_never_has_a_shift(rng):
    flat = np.zeros((64, 64))
    for _ in range(200):
        found = estimate_shift(_speckled(rng, flat), _speckled(rng, flat))
        assert not found.measurable and not found.accepted
        assert found.dy == found.dx == 0


@pytest.mark.parametrize("shape", [(40, 100), (100, 40)])
def test_speckle_in_a_slim_frame_has_no_shift(rng, shape):
    for _ in range(50):
        a, b = (_speckled(rng, np.zeros(shape)) for _ in range(2))
        assert not estimate_shift(a, b).measurable


def test_level_trend_and_constant_images_have_no_shift(rng):
    ramp = np.add.outer(np.linspace(0, 6, 64), np.linspace(0, 3, 64))
    assert not estimate_shift(_speckled(rng, ramp), _speckled(rng, ramp + 4)).measurable
    assert not estimate_shift(np.zeros((64, 64)), np.zeros((64, 64))).measurable


def test_a_shift_beyond_the_search_is_not_made_up(rng):
    level = _texture(rng, 128)
    found = estimate_shift(level, np.roll(level, 20, axis=0), max_px=8)
    assert not found.measurable


def test_invalid_pixels_do_not_count(rng):
    level = _texture(rng, 96)
    reference, moving = _reference(rng, level), _speckled(rng, apply_shift(level, (1.0, -0.5)))
    valid = np.ones((96, 96), bool)
    valid[:, :24] = False
    clean = estimate_shift(reference, moving, valid)
    moving[~valid], reference[~valid] = 1e3, -1e3
    assert estimate_shift(reference, moving, valid) == clean
    assert (clean.dy, clean.dx) == pytest.approx((1.0, -0.5), abs=0.15)


def test_a_local_event_does_not_move_the_frame(rng):
    level = _texture(rng, 96)
    after = level.copy()
    after[20:60, 20:60] += 8
    found = estimate_shift(_reference(rng, level), _speckled(rng, after))
    assert found.size_px < 0.15


def test_too_small_or_mostly_invalid_is_not_measurable(rng):
    level = _texture(rng, 64)
    assert not estimate_shift(level[:16], level[:16]).measurable
    assert not estimate_shift(level, level, np.arange(64 * 64).reshape(64, 64) > 2500).measurable
    with pytest.raises(ShapeError):
        estimate_shift(level, level[:-1])


@pytest.mark.parametrize("event_db", [-10.0, -3.0, -1.0, 1.0, 3.0, 10.0])
def test_gain_ignores_an_event_over_40_percent_of_the_frame(rng, event_db):
    for _ in range(10):
        level = _texture(rng, 25)
        reference = level + rng.normal(0, 0.3, level.shape)
        moving = level + 1.0 + rng.normal(0, 0.4, level.shape)
        moving[:10] += event_db
        found = estimate_gain_db(reference, moving, np.ones(level.shape, bool))
        assert found.measurable
        assert found.value_db == pytest.approx(1.0, abs=0.1)


def test_gain_of_valid_cells_only_and_not_of_a_handful(rng):
    level = _texture(rng, 25)
    valid = rng.uniform(size=level.shape) < 0.6
    moving = np.where(valid, level + 0.5, 99.0)
    assert estimate_gain_db(level, moving, valid).value_db == pytest.approx(0.5, abs=1e-6)
    few = np.zeros(level.shape, bool)
    few[0, :15] = True
    assert not estimate_gain_db(level, moving, few).measurable
