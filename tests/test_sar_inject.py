"""Planted changes: where they are, how strong, and that texture alone moves no mean."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from sarcast.errors import SettingsError
from sarcast.sar.inject import change_level, ellipses, roughen, smoothen


@pytest.fixture
def power(rng):
    return (rng.gamma(4, 0.25, (2, 100, 100)) * np.array([1.0, 0.1])[:, None, None]).astype(np.float32)


@pytest.mark.parametrize("seed", range(6))
def test_ellipses_cover_their_share_apart_from_each_other_and_the_border(seed):
    events = ellipses((100, 100), rng=np.random.default_rng(seed))
    assert abs((events >= 0).mean() - 0.052) < 0.002
    assert sorted(set(events.ravel())) == [-1, 0, 1, 2, 3, 4]
    inside = events >= 0
    assert not inside[:4].any() and not inside[-4:].any()
    assert not inside[:, :4].any() and not inside[:, -4:].any()
    assert ndimage.label(inside)[1] == 5
    for event in range(5):
        others = inside & (events != event)
        distance = ndimage.distance_transform_cdt(~(events == event), metric="taxicab")
        assert distance[others].min() > 4


def test_the_same_generator_gives_the_same_ellipses():
    first, second = (ellipses((64, 80), rng=np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_what_does_not_fit_is_refused():
    with pytest.raises(SettingsError, match="expected room for 5 ellipses"):
        ellipses((100, 100), share=0.9, rng=np.random.default_rng(0))


@pytest.mark.parametrize("change_db", [-3.0, 1.5])
def test_level_changes_exactly_where_the_labels_say_in_all_bands(power, rng, change_db):
    events = ellipses((100, 100), rng=rng)
    ratio = 10 * np.log10(change_level(power, events, change_db=change_db) / power)
    np.testing.assert_allclose(ratio[:, events >= 0], change_db, atol=1e-4)
    np.testing.assert_array_equal(ratio[:, events < 0], 0)


@pytest.mark.parametrize("kind", ["rougher", "smoother"])
def test_texture_keeps_the_mean_power_of_every_event_and_band(power, rng, kind):
    events = ellipses((100, 100), rng=rng)
    changed = roughen(power, events, rng=rng) if kind == "rougher" else smoothen(power, events)
    np.testing.assert_array_equal(changed[:, events < 0], power[:, events < 0])
    assert changed.dtype == power.dtype and (changed >= 0).all()
    for event in range(5):
        inside = events == event
        before, after = (p[:, inside].astype(float) for p in (power, changed))
        np.testing.assert_allclose(after.mean(1), before.mean(1), rtol=1e-4)
        spread = (after.std(1) / after.mean(1)) / (before.std(1) / before.mean(1))
        assert (spread > 1.15).all() if kind == "rougher" else (spread < 0.6).all()


def test_texture_has_the_variation_asked_for_and_is_the_same_in_all_bands(rng):
    flat = np.ones((2, 200, 200), np.float64)
    everywhere = np.zeros((200, 200), np.int64)
    rough = roughen(flat, everywhere, rng=rng, variation=0.5, correlation_px=1.0)
    np.testing.assert_array_equal(rough[0], rough[1])
    assert abs(rough[0].std() - 0.5) < 0.03
    neighbour = np.corrcoef(rough[0][:, :-1].ravel(), rough[0][:, 1:].ravel())[0, 1]
    far = np.corrcoef(rough[0][:, :-8].ravel(), rough[0][:, 8:].ravel())[0, 1]
    assert neighbour > 0.6 and abs(far) < 0.1
