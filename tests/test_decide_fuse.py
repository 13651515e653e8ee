"""Fusion: surprises on the finest cells, never over what is not valid, and better than either alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from scipy.special import ndtr

from sarcast.decide.calibration import calibrate
from sarcast.decide.fuse import Fusion, learn_fusion, name_of, resample
from sarcast.errors import ShapeError
from sarcast.evaluate.curves import average_precision
from sarcast.values import PatchGrid, Scores

WAYS = ("mean", "max", "cauchy", "stouffer")
SIDE, DATES, HISTORY = 48, 30, 15
FIT = np.arange(DATES) < HISTORY


@pytest.fixture(scope="module")
def make_scores(make_times):
    """Calibrated scores of normal noise on cells of `patch` px; `signal` is added to later dates."""

    def make(rng, patch, *, signal=None, noise=None, valid=None, name="z_score"):
        grid = PatchGrid(image=(SIDE, SIDE), patch=patch, stride=patch)
        values = rng.normal(size=(DATES, *grid.shape)) if noise is None else noise.copy()
        if signal is not None:
            values[~FIT] += signal
        ok = np.ones(values.shape, bool) if valid is None else valid
        return Scores(
            values=np.where(ok, values, 0).astype(np.float32),
            valid=ok,
            times=make_times(DATES),
            grid=grid,
            geobox=GeoBox((SIDE, SIDE), Affine(30, 0, 5e5, 0, -30, 4e6), "EPSG:32611"),
            detector=name,
            encoder="statistics",
            stack="here",
            p_value=np.where(ok, ndtr(-values), 1).astype(np.float32),
            change_db=np.where(ok, values, 0).astype(np.float32),
        )

    return make


def fused(parts, how="stouffer", **told) -> Scores:
    fusion = learn_fusion([take(p, FIT) for p in parts], how=how, **told)
    calibration = calibrate(fusion.fuse([take(p, FIT) for p in parts]), how="tail", local=False)
    return calibration.read(fusion.fuse(parts))


def take(scores: Scores, index) -> Scores:
    names = ("values", "valid", "p_value", "change_db")
    return replace(scores, times=scores.times.take(index), **{n: getattr(scores, n)[index] for n in names})


def slow(values, valid, source, target, row, col):
    """Bilinear interpolation at one place, by hand."""
    y, x = target.tops[row] + target.patch / 2, target.lefts[col] + target.patch / 2
    at = []
    for centres, wanted in ((source.tops + source.patch / 2, y), (source.lefts + source.patch / 2, x)):
        if wanted <= centres[0]:
            at.append([(0, 1.0)])
        elif wanted >= centres[-1]:
            at.append([(len(centres) - 1, 1.0)])
        else:
            k = int(np.flatnonzero(centres <= wanted)[-1])
            share = (wanted - centres[k]) / (centres[k + 1] - centres[k])
            at.append([(k, 1 - share), (k + 1, share)])
    total = weight = 0.0
    for r, a in at[0]:
        for c, b in at[1]:
            if valid[r, c]:
                total, weight = total + a * b * values[r, c], weight + a * b
    return total / weight if weight >= 0.5 - 1e-9 else None


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(9, 30), cols=st.integers(9, 30), patch=st.integers(3, 9), stride=st.integers(2, 9),
    finer=st.integers(1, 4), seed=st.integers(0, 99),
)  # fmt: skip
def test_resampling_is_bilinear_interpolation(rows, cols, patch, stride, finer, seed):
    rng = np.random.default_rng(seed)
    source = PatchGrid(image=(rows, cols), patch=patch, stride=min(stride, patch))
    target = PatchGrid(image=(rows, cols), patch=finer, stride=finer)
    values, valid = rng.normal(size=source.shape), rng.random(source.shape) < 0.8
    found, known = resample(values, valid, source, target)
    for row, col in np.ndindex(target.shape):
        expected = slow(values, valid, source, target, row, col)
        if known[row, col]:
            assert expected is not None and found[row, col] == pytest.approx(expected, abs=1e-9)
        else:
            assert found[row, col] == 0
    whole, everywhere = resample(np.full(source.shape, 7.0), np.ones(source.shape, bool), source, target)
    assert everywhere.all()
    np.testing.assert_allclose(whole, 7.0)


def test_nothing_comes_from_cells_that_are_not_valid(make_scores, rng):
    """In a hole of coarse cells the finer ones speak alone; what lies in the hole reaches none."""
    valid = np.ones((DATES, 6, 6), bool)
    valid[:, 2:4, 2:4] = False
    noise = rng.normal(size=(DATES, 6, 6))
    fine = make_scores(np.random.default_rng(1), 2)
    one = fused([fine, make_scores(rng, 8, noise=noise, valid=valid)])
    inside = np.zeros(one.grid.shape, bool)
    inside[8:16, 8:16] = True
    assert one.valid.all()
    alone, both = -np.log10(fine.p_value), one.values
    np.testing.assert_allclose(both[:, inside], alone[:, inside], rtol=1e-4, atol=1e-6)
    assert not np.isclose(both[:, ~inside], alone[:, ~inside], rtol=1e-4).mean() > 0.2
    noise[:, 2:4, 2:4] = 1e6
    other = fused([fine, make_scores(rng, 8, noise=noise, valid=valid)])
    for name in ("values", "p_value", "valid"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("how", WAYS)
def test_a_missing_part_makes_no_place_more_anomalous(how, make_scores, rng):
    """Half of the coarser part is missing: p-values are right on both halves."""
    valid = np.ones((DATES, 6, 6), bool)
    valid[:, :3] = False
    p = fused([make_scores(rng, 2), make_scores(rng, 8, valid=valid)], how).p_value[~FIT]
    for half in (p[:, :12], p[:, 12:]):
        assert 0.6e-2 < (half < 0.01).mean() < 1.6e-2


def test_what_the_finest_does_not_see_nobody_sees(make_scores, rng):
    valid = rng.random((DATES, 24, 24)) < 0.7
    one = fused([make_scores(rng, 2, valid=valid), make_scores(rng, 8)])
    np.testing.assert_array_equal(one.valid, valid)
    assert (one.p_value[~one.valid] == 1).all() and (one.values[~one.valid] == 0).all()


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("alike", [0.0, 0.8])
def test_p_values_are_right_also_where_parts_depend_on_each_other(how, alike, make_scores):
    rng = np.random.default_rng(2)
    shared = rng.normal(size=(DATES, 24, 24))
    noise = [np.sqrt(alike) * shared + np.sqrt(1 - alike) * rng.normal(size=shared.shape) for _ in range(2)]
    p = fused([make_scores(rng, 2, noise=n) for n in noise], how).p_value[~FIT].ravel()
    assert np.abs(np.sort(p) - np.arange(1, p.size + 1) / p.size).max() < 0.025
    assert 0.5e-2 < (p < 0.01).mean() < 2e-2


@pytest.mark.parametrize("how", WAYS)
def test_two_that_see_a_weak_change_see_it_better_together(how, make_scores, rng):
    truth = np.zeros((24, 24))
    truth[4:8, 4:8] = truth[14:18, 12:16] = 1
    parts = [make_scores(rng, 2, signal=2.0 * truth) for _ in range(2)]
    labels = np.broadcast_to(truth > 0, parts[0].p_value[~FIT].shape).ravel()

    def precision(p):
        return average_precision(-np.log10(p[~FIT].ravel().astype(float)), labels)

    alone = max(precision(part.p_value) for part in parts)
    assert precision(fused(parts, how).p_value) > alone + (0.1 if how in ("mean", "stouffer") else 0.02)


def test_a_monotone_unit_makes_no_difference(make_scores, rng):
    """Surprises are fused: what unit a detector scores in is not looked at."""
    a, b = make_scores(rng, 2), make_scores(rng, 4)
    other = replace(b, values=np.exp(b.values) * 1000)
    np.testing.assert_array_equal(fused([a, b]).values, fused([a, other]).values)


def test_weights(make_scores, rng):
    a, b = make_scores(rng, 2), make_scores(rng, 2)
    for how in ("mean", "stouffer"):
        near = fused([a, b], how, weights=(1, 1e-6)).values
        assert np.corrcoef(near.ravel(), -np.log10(a.p_value.ravel()))[0, 1] > 0.999
        np.testing.assert_allclose(
            fused([a, b], how, weights=(2, 2)).values, fused([a, b], how).values, rtol=1e-5
        )


def test_down_to_one_pixel(make_scores, rng):
    one = fused(
        [make_scores(rng, 4), make_scores(rng, 8)], grid=PatchGrid(image=(SIDE, SIDE), patch=1, stride=1)
    )
    assert one.grid.shape == (SIDE, SIDE) and one.valid.all() and one.change_db.shape == one.values.shape
    assert one.detector == "fused(z_score on statistics, z_score on statistics)"


def test_a_later_date_moves_no_earlier_score(make_scores, rng):
    parts = [make_scores(rng, 2), make_scores(rng, 8)]
    some = np.arange(DATES - 1)
    fusion = learn_fusion([take(p, FIT) for p in parts], how="stouffer")
    whole, fewer = fusion.fuse(parts), fusion.fuse([take(p, some) for p in parts])
    np.testing.assert_array_equal(whole.values[:-1], fewer.values)


@pytest.mark.parametrize("how", WAYS)
def test_extreme_p_values_stay_finite_and_in_order(how):
    told = {"weights": np.array([0.5, 0.5]), "grid": PatchGrid(image=(4, 4), patch=1, stride=1)}
    one = Fusion(how=how, correlation=np.eye(2), **told)
    surprise = np.array([np.linspace(0, 30, 61)] * 2)
    found = one.combine(surprise, np.ones(surprise.shape, bool))
    assert np.isfinite(found).all() and (np.diff(found) >= -1e-9).all() and found[-1] > 25


def test_what_does_not_belong_together(make_scores, rng):
    a, b = make_scores(rng, 2), make_scores(rng, 4)
    fusion = learn_fusion([a, b], how="mean")
    for wrong in ([a], [a, replace(b, stack="there")], [a, replace(b, p_value=None)], [a, take(b, FIT)], []):
        with pytest.raises(ShapeError):
            fusion.fuse(wrong)
    for told in (
        {"weights": (1,)},
        {"weights": (1, -1)},
        {"grid": PatchGrid(image=(9, 9), patch=1, stride=1)},
    ):
        with pytest.raises(ShapeError):
            learn_fusion([a, b], how="mean", **told)
    assert name_of([replace(a, encoder="")]) == "fused(z_score)"
