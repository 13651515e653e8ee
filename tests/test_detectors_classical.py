"""log_ratio, mahalanobis, cusum, coefficient_of_variation: equal to a slow one, and what each is for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import gamma

from sarcast.detectors import DETECTORS
from sarcast.detectors.coefficient_of_variation import (
    CoefficientOfVariation,
    coefficient,
    speckle_coefficient,
)
from sarcast.detectors.cusum import Cusum
from sarcast.detectors.log_ratio import LogRatio
from sarcast.detectors.mahalanobis import Mahalanobis
from sarcast.errors import DataError
from sarcast.steps.bench_rows import LEVELS, grid_of
from sarcast.values import Split

HISTORY, DATES = 12, 20
FIT = np.arange(DATES) < HISTORY
SPLIT = Split(fit=FIT, judge=~FIT)


@pytest.fixture
def features(make_features, rng):
    """Two levels and a feature that is none, a fifth not seen, each date with a gain of its own."""
    features = make_features(rng, dates=DATES, cells=(5, 8), dim=3)
    gain = rng.normal(0, 3, (DATES, 1, 1, 3)).astype(np.float32)
    valid = rng.random(features.valid.shape) > 0.2
    valid[:, 0, 0] = False
    return replace(
        features, values=features.values + gain, valid=valid, names=("vv_mean", "vh_mean", "vv_spread")
    )


def scored(detector, features, times=None):
    fit = np.arange(len(features.times)) < HISTORY
    split = Split(fit=fit, judge=~fit)
    return detector.fit(features, split, rng=np.random.default_rng(7)).score(features, times)


def away(features, dates, t, *, bands=2):
    """Deviation (cell, band) of date t from the mean over `dates`, less the frame's median; NaN not seen."""
    flat = features.values.reshape(DATES, 40, -1)[..., :bands].astype(float)
    seen = features.valid.reshape(DATES, 40)
    known = seen[dates].sum(0) >= max(3, len(dates) // 2)
    flat[~(seen & known)] = np.nan
    mean = np.full(flat.shape[1:], np.nan)
    mean[known] = np.nanmean(flat[dates][:, known], axis=0)
    found: np.ndarray = flat[t] - mean
    return found - np.nanmedian(found, axis=0)


def others(t):
    """History's dates outside of the date's fold; all of them for a later date."""
    fold = np.arange(HISTORY) * 4 // HISTORY
    return [s for s in range(HISTORY) if t >= HISTORY or fold[s] != fold[t]]


def same(scores, expected):
    seen = ~np.isnan(expected)
    np.testing.assert_array_equal(scores.valid[0].ravel(), seen)
    np.testing.assert_allclose(scores.values[0].ravel()[seen], expected[seen], rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("t", [1, 7, 12, 19])
def test_log_ratio_to_history(features, t):
    d = away(features, others(t), t)
    same(scored(LogRatio(neighbours=0), features, [t]), np.sqrt((d**2).mean(1)))


@pytest.mark.parametrize("t", [1, 7, 12, 19])
def test_log_ratio_to_the_last_dates(features, t):
    window = [away(features, others(t), s) for s in range(max(0, t - 5), t)]
    count = (~np.isnan(np.stack(window)[..., 0])).sum(0)
    usual = np.nansum(np.stack(window), axis=0) / np.maximum(count, 1)[:, None]
    d = away(features, others(t), t) - usual
    expected = np.where(2 * count >= 5, np.sqrt((d**2).mean(1)), np.nan)
    same(scored(LogRatio(neighbours=0, reference="last", context=5), features, [t]), expected)


@pytest.mark.parametrize("pooled", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("t", [7, 19])
def test_mahalanobis_by_the_inverse_of_every_cell(features, t, pooled):
    dates = others(t)
    past = np.stack([away(features, dates, s) for s in dates])
    n = (~np.isnan(past[..., 0])).sum(0)
    filled = np.nan_to_num(past)
    own = np.einsum("tci,tcj->cij", filled, filled) * ((n + 1) / np.maximum(n * (n - 1), 1))[:, None, None]
    every = own[n > 0].mean(0)
    d = away(features, dates, t)
    inverse = [np.linalg.inv(pooled * every + (1 - pooled) * c + 1e-6 * np.eye(2)) for c in own]
    expected = np.sqrt(np.einsum("ci,cij,cj->c", d, np.array(inverse), d) / 2)
    same(scored(Mahalanobis(neighbours=0, pooled=pooled), features, [t]), expected)


def test_mahalanobis_sees_one_polarisation_move_alone(make_features, rng):
    features = make_features(rng, dates=DATES, dim=2)
    both = rng.normal(size=(*features.valid.shape, 1))
    values = (both + 0.2 * rng.normal(size=features.values.shape)).astype(np.float32)
    values[14, 3, 3], values[14, 8, 8] = (1.5, -1.5), (1.5, 1.5)
    features = replace(features, values=values, names=("vv_mean", "vh_mean"))
    at = scored(Mahalanobis(neighbours=0), features, [14]).values[0]
    assert at[3, 3] == at.max() and at[3, 3] > 3 * at[8, 8]


def test_cusum_by_a_loop_over_dates(features):
    """Each date against the mean of all before it, freed of the frame; two sums a feature."""
    found = scored(Cusum(neighbours=0, drift=0.5, pooled=0.0), features)
    scorer = Cusum(neighbours=0, drift=0.5, pooled=0.0).fit(features, SPLIT, rng=np.random.default_rng(7))
    flat, seen = features.values.reshape(DATES, 40, 3).astype(float), features.valid.reshape(DATES, 40)
    up, down = np.zeros((40, 3)), np.zeros((40, 3))
    for t in range(DATES):
        model = scorer.models[0 if t >= HISTORY else 1 + t * 4 // HISTORY]
        cells = [c for c in range(40) if seen[t, c] and model.known[c]]
        before = {c: [s for s in range(t) if seen[s, c] and model.known[c]] for c in cells}
        cells = [c for c in cells if before[c]]
        if cells:
            d = np.array([flat[t, c] - flat[before[c], c].mean(0) for c in cells])
            d -= np.median(d, axis=0)
        for c, one in zip(cells, d if cells else [], strict=True):
            n = len(before[c])
            r = one / model.scale[c] * np.sqrt(n / (n + 1))
            up[c], down[c] = np.maximum(0, up[c] + r - 0.5), np.maximum(0, down[c] - r - 0.5)
            assert found.valid[t].ravel()[c] == (n + 1 > 5)
            if n + 1 > 5:
                expected = np.sqrt((np.maximum(up[c], down[c]) ** 2).mean())
                assert found.values[t].ravel()[c] == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_cusum_adds_up_a_small_change_that_lasts(make_features, rng):
    features = make_features(rng, dates=DATES + 10, cells=(20, 20), dim=1)
    values = features.values.copy()
    values[14:, 8:12, 8:12] += 2.5
    features = replace(features, values=values)
    scores = scored(Cusum(), features).values
    inside = scores[:, 8:12, 8:12].mean((1, 2))
    assert inside[24] > 2.5 * inside[14] and inside[24] > np.quantile(scores[24], 0.95)
    once = scored(Cusum(reset=4.0), features).values[:, 8:12, 8:12].mean((1, 2))
    assert once[14] > 0.7 * inside[14] and once[24] < 0.5 * inside[24]


def test_cusum_does_not_drift_away_where_nothing_changes(make_features, rng):
    features = make_features(rng, dates=HISTORY + 40, cells=(40, 40), dim=2)
    mean = scored(Cusum(neighbours=20), features).values.mean((1, 2))
    assert mean[-10:].mean() < 1.2 * mean[HISTORY : HISTORY + 10].mean()
    assert mean[-10:].mean() < 1.3 * mean[6:HISTORY].mean()


@pytest.mark.parametrize("looks", [None, 6.0])
@pytest.mark.parametrize("t", [7, 19])
def test_coefficient_of_variation_of_history_and_one_more(features, t, looks):
    dates = others(t)
    past = np.stack([away(features, dates, s) for s in dates])
    d = away(features, dates, t)
    n = (~np.isnan(past[..., 0])).sum(0)
    rises = []
    for sign in (1, -1):
        u, new = 10 ** (sign * past / 20), 10 ** (sign * d / 20)

        def squared(values):
            seen = values[~np.isnan(values)]
            return (seen.std(ddof=1) / seen.mean()) ** 2 if len(seen) > 1 else np.nan

        own = np.array([[squared(u[:, c, b]) for b in range(2)] for c in range(40)])
        usual = speckle_coefficient(looks) ** 2 if looks else np.nanmean(own, axis=0)
        after = np.array([[squared(np.append(u[:, c, b], new[c, b])) for b in range(2)] for c in range(40)])
        lowest = np.array(
            [
                [min(squared(np.append(u[:, c, b], x)) for x in np.linspace(0.6, 1.6, 101)) for b in range(2)]
                if n[c]
                else [np.nan] * 2
                for c in range(40)
            ]
        )
        rises.append((n[:, None] + 1) * (after - lowest) / (np.sqrt(0.5 * usual + 0.5 * own) + 1e-6) ** 2)
    expected = np.sqrt(np.maximum(*rises).mean(1))
    expected[np.isnan(d[:, 0])] = np.nan
    found = scored(CoefficientOfVariation(neighbours=0, looks=looks), features, [t])
    seen = ~np.isnan(expected)
    np.testing.assert_array_equal(found.valid[0].ravel(), seen)
    np.testing.assert_allclose(found.values[0].ravel()[seen], expected[seen], rtol=0.02, atol=0.02)


def test_darker_counts_like_brighter(features):
    """In units of dB the score is the same for a series turned upside down."""
    a = scored(CoefficientOfVariation(neighbours=0), features)
    b = scored(CoefficientOfVariation(neighbours=0), replace(features, values=-features.values))
    np.testing.assert_allclose(a.values, b.values, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("looks", [1.0, 4.5, 30.0])
def test_coefficient_of_speckle(rng, looks):
    amplitude = np.sqrt(rng.gamma(looks, 1 / looks, 400_000))
    assert speckle_coefficient(looks) == pytest.approx(amplitude.std() / amplitude.mean(), rel=0.01)
    first = gamma(looks + 0.5) / gamma(looks) / np.sqrt(looks)
    assert speckle_coefficient(looks) == pytest.approx(np.sqrt(1 / first**2 - 1))
    sums = (np.array([[x]]) for x in (amplitude.sum(), (amplitude**2).sum()))
    assert coefficient(*sums, np.array([len(amplitude)]))[0, 0] == pytest.approx(
        amplitude.std() / amplitude.mean(), rel=1e-4
    )


@pytest.mark.parametrize("name", sorted(LEVELS))
def test_needs_levels(make_features, rng, name):
    features = replace(make_features(rng, dates=DATES), names=("a", "b", "c", "d"))
    with pytest.raises(DataError, match=r"expected levels in dB, named \*_mean") as error:
        DETECTORS[name]().fit(features, SPLIT, rng=rng)
    assert "\n" not in str(error.value)


def test_benches_pair_them_with_encoders_that_have_levels():
    names = set(grid_of(quick=False))
    assert {f"statistics, {name}" for name in LEVELS | {"cusum"}} <= names and "gradients, cusum" in names
    assert not names & {f"gradients, {name}" for name in LEVELS}
