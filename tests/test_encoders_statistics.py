"""Statistics: level in power, spread, quantiles and texture against a slow reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sarcast.encoders.statistics import Statistics
from sarcast.runtime.settings import build


def column(features, name):
    return features.values[..., features.names.index(name)]


def test_a_cell_8_db_brighter_moves_its_mean_by_8_db_and_no_other(make_stack, rng):
    stack = make_stack(rng)
    amplitude = stack.amplitude.copy()
    amplitude[1, :, 16:24, 24:32] *= 10 ** (8 / 20)
    before = Statistics(patch=8).encode(stack)
    after = Statistics(patch=8).encode(replace(stack, amplitude=amplitude))
    for band in ("vh", "vv"):
        moved = column(after, f"{band}_mean") - column(before, f"{band}_mean")
        assert moved[1, 2, 3] == pytest.approx(8, abs=1e-3)
        moved[1, 2, 3] = 0
        assert (moved == 0).all()
        spread = column(after, f"{band}_spread") - column(before, f"{band}_spread")
        np.testing.assert_allclose(spread, 0, atol=1e-3)


def test_every_statistic_against_a_slow_reference(make_stack, rng):
    stack = make_stack(rng, (20, 20), dates=1, bands=("VV",))
    valid = rng.random((1, 20, 20)) > 0.05
    stack = replace(stack, valid=valid)
    features = Statistics(patch=8, quantiles=(0.1, 0.5, 0.9), min_valid=0.5).encode(stack)
    for row, top in enumerate(features.grid.tops):
        for col, left in enumerate(features.grid.lefts):
            window = np.s_[top : top + 8, left : left + 8]
            power = stack.amplitude[0, 0][window].astype(float)[valid[0][window]] ** 2
            db = 10 * np.log10(power)
            expected = {
                "vv_mean": 10 * np.log10(power.mean()),
                "vv_spread": 10 * np.log10(db.var()),
                **{f"vv_q{q}": np.quantile(db, q / 100) for q in (10, 50, 90)},
            }
            for name, value in expected.items():
                assert column(features, name)[0, row, col] == pytest.approx(value, abs=2e-3), name


def test_texture_without_change_of_level_shows(make_stack, rng):
    """Half the pixels 3 dB up, half 3 dB down: the level in power stays, texture and spread move."""
    flat = make_stack(rng, (64, 64), dates=1, bands=("VV",), looks=50)
    flat = replace(flat, amplitude=np.full_like(flat.amplitude, 0.3))
    pattern = np.indices((64, 64)).sum(0) % 2
    rough = np.sqrt(np.where(pattern, 0.5, 1.5)) * flat.amplitude
    a = Statistics(patch=16).encode(flat)
    b = Statistics(patch=16).encode(replace(flat, amplitude=rough.astype(np.float32)))
    np.testing.assert_allclose(column(a, "vv_mean"), column(b, "vv_mean"), atol=1e-3)
    assert (column(b, "vv_spread") - column(a, "vv_spread") > 10).all()
    assert (column(b, "vv_texture_1px") - column(a, "vv_texture_1px") > 10).all()


def test_the_mean_is_of_power_not_of_db(make_stack, rng):
    stack = make_stack(rng, (64, 64), dates=1, bands=("VV",), looks=1)
    speckle = np.sqrt(rng.gamma(1, 1, (1, 1, 64, 64))).astype(np.float32)
    features = Statistics(patch=16).encode(replace(stack, amplitude=speckle))
    assert abs(column(features, "vv_mean").mean()) < 0.3
    assert column(features, "vv_q10").mean() < -8


@pytest.mark.parametrize("how", ["boxcar", "lee", "total_variation"])
def test_despeckling_lowers_the_spread_and_keeps_the_level(make_stack, rng, how):
    stack = make_stack(rng, (64, 64), dates=1, bands=("VV",), looks=2)
    plain = Statistics(patch=16).encode(stack)
    clean = Statistics(patch=16, despeckle=how, looks=2).encode(stack)
    assert (column(plain, "vv_spread") - column(clean, "vv_spread")).min() > 1
    assert abs((column(plain, "vv_mean") - column(clean, "vv_mean")).mean()) < 0.3


@pytest.mark.parametrize(
    "told", [{"patch": 1}, {"patch": 2.5}, {"min_valid": 0}, {"groups": ["colour"]}, {"size": 1}, {"x": 1}]
)
def test_wrong_options_are_one_line(told):
    from sarcast.errors import SettingsError

    with pytest.raises(SettingsError):
        build(Statistics, told, where="the test")


@pytest.mark.parametrize(
    "told", [{"quantiles": [1.5]}, {"quantiles": [-0.1]}, {"size": 4}, {"groups": []}, {"quantiles": []}]
)
def test_options_that_cannot_work_are_refused_or_work(make_stack, rng, told):
    from sarcast.errors import SarcastError

    stack = make_stack(rng, (16, 16), dates=1)
    try:
        features = build(Statistics, {"patch": 8, "despeckle": "boxcar", **told}, where="x").encode(stack)
    except SarcastError:
        return
    assert features.values.shape[-1] == len(set(features.names)) > 0
    assert np.isfinite(features.values).all()
