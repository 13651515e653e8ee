"""The omnibus test equals the published formulas cell by cell, is uniform on speckle, and dates a change."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from sarcast.errors import SettingsError, ShapeError
from sarcast.sar.omnibus import changes, factors, omnibus, one_more
from sarcast.sar.temporal_looks import looks_of_log_variance


def slow_p(z, f, omega):
    return chi2.sf(z, f) + omega * (chi2.sf(z, f + 4) - chi2.sf(z, f))


def slow_q(series, looks):
    """One cell (date, band): each band is a 1 x 1 covariance; Conradsen et al. (2003), p = 1, summed."""
    k, bands = series.shape
    ln_q = sum(
        looks * (k * np.log(k) + np.log(np.prod(series[:, b])) - k * np.log(sum(series[:, b])))
        for b in range(bands)
    )
    rho = 1 - (k / looks - 1 / (looks * k)) / (6 * (k - 1))
    f = (k - 1) * bands
    z = -2 * rho * ln_q
    return z, slow_p(z, f, -f / 4 * (1 - 1 / rho) ** 2), ln_q


def slow_r(series, looks):
    """The last date of a cell against all before it; Conradsen et al. (2016)."""
    j, bands = series.shape
    ln_r = 0.0
    for x in series.T:
        ln_r += looks * (
            j * np.log(j) - (j - 1) * np.log(j - 1) + (j - 1) * np.log(sum(x[:-1])) + np.log(x[-1])
        )
        ln_r -= looks * j * np.log(sum(x))
    rho = 1 - (1 + 1 / (j * (j - 1))) / (6 * looks)
    z = -2 * rho * ln_r
    return z, slow_p(z, bands, -bands / 4 * (1 - 1 / rho) ** 2), ln_r


@pytest.mark.parametrize("bands", [1, 2, 3])
@pytest.mark.parametrize("looks", [1.0, 4.5, 20.0])
def test_equals_the_formulas_cell_by_cell(rng, looks, bands):
    power = rng.gamma(looks, 3 / looks, (7, 5, bands))
    whole, each = omnibus(power, looks=looks), factors(power, looks=looks)
    for c in range(5):
        z, p, ln_q = slow_q(power[:, c], looks)
        np.testing.assert_allclose([whole.statistic[c], whole.p_value[c]], [z, p], rtol=1e-9)
        ratios = []
        for j in range(2, 8):
            z, p, ln_r = slow_r(power[:j, c], looks)
            np.testing.assert_allclose([each.statistic[j - 2, c], each.p_value[j - 2, c]], [z, p], rtol=1e-9)
            ratios.append(ln_r)
        assert sum(ratios) == pytest.approx(ln_q), "Q is the product of its factors"


def test_dates_that_were_not_seen_do_not_count(rng):
    looks, valid = 4.5, rng.random((9, 30)) > 0.3
    power = np.where(valid[..., None], rng.gamma(looks, 1 / looks, (9, 30, 2)), 1e9)
    whole, each = omnibus(power, looks=looks, valid=valid), factors(power, looks=looks, valid=valid)
    for c in range(30):
        seen = power[valid[:, c], c]
        assert whole.p_value[c] == pytest.approx(slow_q(seen, looks)[1])
        for t in range(1, 9):
            some = power[: t + 1, c][valid[: t + 1, c]]
            one = each.p_value[t - 1, c]
            assert one == (pytest.approx(slow_r(some, looks)[1]) if valid[t, c] and len(some) > 1 else 1)


@pytest.mark.parametrize("bands", [1, 2])
@pytest.mark.parametrize("looks", [4.5, 9.0])
def test_p_values_are_uniform_on_speckle(rng, looks, bands):
    power = rng.gamma(looks, 2 / looks, (6, 100_000, bands))
    every = [omnibus(power, looks=looks).p_value, *factors(power, looks=looks).p_value]
    for p in every:
        assert [(p < level).mean() / level for level in (0.5, 0.1, 0.01)] == pytest.approx([1] * 3, rel=0.12)
        assert 0.6 < (p < 0.001).mean() / 0.001 < 1.5


def test_factors_are_independent_of_each_other(rng):
    p = factors(rng.gamma(4.5, 1, (5, 40_000, 1)), looks=4.5).p_value
    assert np.abs(np.corrcoef(p) - np.eye(4)).max() < 0.02


def test_far_out_the_logarithm_goes_on_falling():
    total, far = np.full((60, 1), 12.0), np.geomspace(2, 1e12, 60)[:, None]
    for power in (far, 1 / far):
        log_p = one_more(total, np.full(60, 12), power, looks=4.5).log_p
        assert np.isfinite(log_p).all() and (np.diff(log_p) < 0).all() and log_p[-1] < -100


def test_units_do_not_matter(rng):
    power = rng.gamma(4.5, 1, (6, 10, 2))
    np.testing.assert_allclose(
        omnibus(1e-3 * power, looks=4.5).statistic, omnibus(power, looks=4.5).statistic, rtol=1e-6
    )


def test_changes_are_dated(rng):
    """Up at date 5 and down again at date 12 in half of the cells."""
    power = rng.gamma(9, 1 / 9, (18, 400, 2))
    power[5:12, :200] *= 10**0.6
    found = changes(power, looks=9, level=1e-3)
    assert found[5, :200].mean() > 0.9 and found[12, :200].mean() > 0.9
    assert found[:, 200:].mean() < 2e-3 and not found[0].any()
    others = np.delete(found[:, :200], [5, 6, 12, 13], axis=0)
    assert others.mean() < 0.01


def test_changes_wait_for_a_date_that_was_seen(rng):
    power, valid = rng.gamma(50, 1 / 50, (8, 3, 1)), np.ones((8, 3), bool)
    power[4:] *= 10
    valid[4, 0], valid[0, 1], valid[:, 2] = False, False, False
    found = changes(power, looks=50, level=1e-4, valid=valid)
    assert np.flatnonzero(found[:, 0]).tolist() == [5]
    assert np.flatnonzero(found[:, 1]).tolist() == [4]
    assert not found[:, 2].any()


def test_looks_from_the_scatter_in_time(rng):
    for looks in (0.5, 1.0, 4.5, 40.0):
        variance = np.log(rng.gamma(looks, 1, 400_000)).var()
        assert looks_of_log_variance(float(variance)) == pytest.approx(looks, rel=0.02)


def test_bad_input_is_one_line():
    with pytest.raises(SettingsError, match=r"at least 0\.5 looks"):
        omnibus(np.ones((3, 2, 1)), looks=0.2)
    with pytest.raises(ShapeError, match="expected power"):
        omnibus(np.ones((3, 2, 1)), looks=4, valid=np.ones((2, 2), bool))
