"""The linear forecaster: plain ridge regression, context mean at an endless ridge, skill where it is due."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sarcast.detectors.linear_ar import LinearAR
from sarcast.values import Split

DATES, HISTORY = 30, 22


def split_at(dates=DATES, history=HISTORY) -> Split:
    fit = np.arange(dates) < history
    return Split(fit=fit, judge=~fit)


def autoregressive(make_features, rng, rho):
    """Every cell and feature swings by itself: next = rho * last + noise."""
    features = make_features(rng, dates=DATES, dim=2)
    values = rng.normal(size=features.values.shape).astype(np.float32)
    for t in range(1, DATES):
        values[t] = rho * values[t - 1] + np.sqrt(1 - rho**2) * values[t]
    return replace(features, values=values)


def fit(features, **told):
    return LinearAR(**{"neighbours": 0, **told}).fit(features, split_at(), rng=np.random.default_rng(0))


def windows(features, normal, dates, context):
    """Slow reference: (date, cell, inputs (dim, context + 1), value (dim,), context mean (dim,))."""
    cells, dim = normal.mean.shape
    for t in dates:
        for c in range(cells):
            before = [s for s in range(t) if features.valid[s].ravel()[c]][::-1][:context]
            if len(before) < min(3, context) or not features.valid[t].ravel()[c]:
                continue
            value = [
                (features.values[s].reshape(cells, dim)[c] - normal.mean[c]) / normal.scale[c]
                for s in (*before, t)
            ]
            mean = np.mean(value[:-1], axis=0)
            inputs = np.zeros((dim, context + 1))
            for k, lag in enumerate(value[:-1]):
                inputs[:, k] = lag - mean
            inputs[:, -1] = mean
            yield t, c, inputs, value[-1], mean


@pytest.fixture
def gappy(make_features, rng):
    features = autoregressive(make_features, rng, 0.7)
    return replace(features, valid=rng.random(features.valid.shape) > 0.3)


@pytest.mark.parametrize("context", [2, 5])
def test_weights_and_scores_equal_plain_least_squares(gappy, context):
    ridge = 0.3
    scorer = fit(gappy, ridge=ridge, context=context, today=0)
    rows: dict[int, list] = {0: [], 1: []}
    for f, normal in enumerate(scorer.normals[1:]):
        for _, c, inputs, value, mean in windows(
            gappy, normal, np.flatnonzero(scorer.history_fold == f), context
        ):
            rows[int(scorer.halves[c])].append((inputs, value - mean))
    for number, some in enumerate((rows[0], rows[1], rows[0] + rows[1])):
        for d in range(2):
            x = np.array([inputs[d] for inputs, _ in some])
            y = np.array([missed[d] for _, missed in some])
            penalty = np.sqrt(ridge * len(x)) * np.eye(context + 1)
            whole = np.linalg.lstsq(
                np.concatenate([x, penalty]), np.concatenate([y, np.zeros(context + 1)]), rcond=None
            )[0]
            np.testing.assert_allclose(scorer.weights[number, d], whole, atol=1e-5)
    scores = scorer.score(gappy)
    t = DATES - 1
    expected = np.zeros(scores.values[t].size)
    for _, c, inputs, value, mean in windows(gappy, scorer.normals[0], [t], context):
        error = (value - mean - (inputs * scorer.weights[2]).sum(1)) / scorer.noise
        expected[c] = np.sqrt((error**2).mean())
    np.testing.assert_allclose(scores.values[t].ravel(), expected, atol=1e-4)


def test_an_endless_ridge_is_the_context_mean(gappy):
    scorer = fit(gappy, ridge=1e12)
    without = replace(scorer, weights=np.zeros_like(scorer.weights))
    np.testing.assert_allclose(scorer.score(gappy).values, without.score(gappy).values, atol=1e-5)
    assert scorer.skill == pytest.approx((0, 0), abs=1e-9)


@pytest.mark.parametrize("rho", [0.95, -0.8])
@pytest.mark.parametrize("neighbours", [0, 20])
def test_a_planted_linear_dynamic_is_forecast(make_features, rng, rho, neighbours):
    scorer = fit(autoregressive(make_features, rng, rho), neighbours=neighbours)
    assert min(scorer.skill) > 0.3
    assert max(scorer.ridge) <= 0.1


def test_nothing_to_forecast_means_hardly_more_than_a_shrunk_mean(make_features, rng):
    scorer = fit(autoregressive(make_features, rng, 0.0))
    assert all(0 <= skill < 0.25 for skill in scorer.skill)
    assert np.abs(scorer.weights[..., :-1]).max() < 0.15


def test_history_is_forecast_by_the_other_half(gappy):
    """What a half's own model says of its history is not used: breaking it changes nothing there."""
    scorer = fit(gappy)
    broken = scorer.weights.copy()
    broken[0] += 5
    before = scorer.score(gappy).values.reshape(DATES, -1)
    after = replace(scorer, weights=broken).score(gappy).values.reshape(DATES, -1)
    own, other = scorer.halves == 0, scorer.halves == 1
    np.testing.assert_array_equal(before[:HISTORY, own], after[:HISTORY, own])
    assert (before[:HISTORY, other] != after[:HISTORY, other]).any()
    np.testing.assert_array_equal(before[HISTORY:], after[HISTORY:])


def test_a_date_of_history_did_not_normalise_itself(gappy):
    values = gappy.values.copy()
    values[9] += 50
    a, b = fit(gappy), fit(replace(gappy, values=values))
    held = 1 + int(a.history_fold[9])
    np.testing.assert_array_equal(a.normals[held].mean, b.normals[held].mean)
    assert not np.array_equal(a.normals[0].mean, b.normals[0].mean)
